"""Puts many messages on disk, all of them or none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Sequence

    from mta.daemon.handover import Handover
    from mta.model.message import Content, Envelope, Recipient
    from mta.model.record import Record
    from mta.spool.store import Spool


class Together:
    """Of one shard; what others own goes to them once all of it is on this disk."""

    def __init__(self, spool: "Spool", handover: "Handover | None") -> None:
        self._spool = spool
        self._handover = handover

    def begin(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> "asyncio.Future[None]":
        """Those begun in one turn of the loop are on disk together, also after a crash."""
        if self._handover is None:
            return self._spool.begin_accept(envelope, content, recipients, records)
        return self._handover.begin_together(envelope, content, recipients, records)

    def gather(
        self, envelope: "Envelope", content: "Content", recipients: "Sequence[Recipient]"
    ) -> "asyncio.Future[None]":
        """Store a message out of sight; it counts when it is let go, and a crash forgets it."""
        return self._spool.begin_gathered(envelope, content, recipients)

    async def let_go(self, recipients: "Sequence[Recipient]") -> "Collection[int]":
        """What was gathered counts from now on; ids of those that were there still."""
        if self._handover is None:
            return await self._spool.let_go(recipients, ())
        return await self._handover.let_go(recipients)

    def note(self, records: "Sequence[Record]") -> "asyncio.Future[None]":
        """Records of what was let go; on disk when the future is done."""
        return self._spool.settle((), (), records)

    def forget(self, recipients: "Sequence[Recipient]") -> None:
        """What was gathered or begun, and is in no queue yet, does not count."""
        settled = self._spool.settle(recipients, (), ())
        settled.add_done_callback(_look_away)
        if self._handover is not None:
            self._spool.parcels.unstage(recipients).add_done_callback(_look_away)

    def release(self) -> None:
        """What was begun may go to its owners."""
        if self._handover is not None:
            self._handover.release()


def _look_away(done: "asyncio.Future[None]") -> None:
    """The next start looks for what could not be written."""
    done.exception()
