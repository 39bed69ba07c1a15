"""What an intake asks of the disk and of the queues."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from mta.model.message import Content, Envelope, Recipient
    from mta.model.record import Record


class Keep(Protocol):
    """What puts a message on disk; it is there when this returns. SpoolFullError, SpoolError."""

    async def __call__(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> None: ...


class Begin(Protocol):
    """As `Keep` for content in memory, done when the future is."""

    def __call__(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> "asyncio.Future[None]": ...


class Inbox(Protocol):
    """Where committed recipients go: the scheduler of this shard."""

    def __call__(self, recipients: "Sequence[Recipient]", now: float) -> None: ...
