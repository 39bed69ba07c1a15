"""What the writer is asked to do: plain values, handed from the loop to its thread."""

import sqlite3
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from mta.model.attempt import Try
from mta.spool import tries

if TYPE_CHECKING:
    import asyncio

    from mta.model.message import Content, Envelope, Recipient
    from mta.model.queue_key import QueueKey
    from mta.model.record import Record


T = TypeVar("T")


class Ask(Protocol):
    """Has a question answered by the writer. See `Read` for the rest."""

    def __call__(
        self, question: Callable[[sqlite3.Connection], T], *, is_of_mail: bool = True
    ) -> Coroutine[Any, Any, T]: ...


class LookUp(Protocol):
    """Has a question answered beside the writer."""

    def __call__(self, question: Callable[[sqlite3.Connection], T]) -> Coroutine[Any, Any, T]: ...


class Change(Protocol):
    """Has a change made by the writer; done when the future is. See `Execute` for the rest."""

    def __call__(
        self,
        change: Callable[[sqlite3.Connection], None],
        *,
        about: Collection[int] | None = None,
        accounted: int = -1,
        is_synced: bool = False,
    ) -> "asyncio.Future[None]": ...


Deferral = tuple[float, int, str, int]
"""Of a recipient: due, attempts, last reply and id."""
Staged = tuple[int, int, int]
"""A recipient's id, the parcel it goes in, the shard that owns its queue."""


@dataclass(slots=True, eq=False)
class Accept:
    """A message and its recipients."""

    future: "asyncio.Future[None]"
    envelope: "Envelope"
    content: "Content"
    recipients: "Sequence[Recipient]"
    records: "Sequence[Record]"
    parcel: int = 0
    """If another shard hands it over: what that shard calls it."""
    staged: "Sequence[Staged]" = ()
    """Those of the recipients that another shard owns."""
    receipts: "Sequence[Record]" = ()
    """Of what is staged, all of it for one owner: it may have message and receipts already."""


@dataclass(slots=True, eq=False)
class Settle:
    """Recipients that are done with, and recipients to be tried again.

    Those deferred are as they were when the operation was made.
    """

    future: "asyncio.Future[None]"
    done: list[int]
    deferred: list[Deferral]
    records: "Sequence[Record]"
    tries: "Sequence[tries.Row]" = ()
    """What those deferred were answered."""
    tried: Sequence[int] = ()
    """Those done that had been deferred before, so that there is something to forget."""

    @classmethod
    def of(
        cls,
        future: "asyncio.Future[None]",
        done: "Sequence[Recipient]",
        deferred: "Sequence[Recipient]",
        records: "Sequence[Record]",
        tried: Try | None,
    ) -> "Settle":
        """As the recipients are now; `tried` is the connection of those deferred."""
        settle = cls(future, [r.recipient_id for r in done], [], records)
        settle.tried = [r.recipient_id for r in done if r.attempts]
        if deferred:
            settle.deferred = [(r.due, r.attempts, r.last_reply, r.recipient_id) for r in deferred]
            if tried is not None:
                settle.tries = [
                    tries.row_of(r, tried._replace(reply=r.last_reply)) for r in deferred
                ]
        return settle


@dataclass(slots=True, eq=False)
class Execute:
    """Any other change, in a transaction of the database."""

    future: "asyncio.Future[None]"
    change: "Callable[[sqlite3.Connection], None]"
    about: "Collection[int] | None" = None
    """Ids of the messages it looks at, which have to be in the database; None: any."""
    accounted: int = -1
    """The outbox row up to which it says that records are in their files."""
    is_synced: bool = False
    """Whether it has to outlive the machine whatever `sync-msg-update` says."""


@dataclass(slots=True, eq=False)
class Read:
    """A question, answered after everything asked before it is committed."""

    future: "asyncio.Future[Any]"
    question: "Callable[[sqlite3.Connection], Any]"
    is_of_mail: bool = True
    """Whether it is about messages, recipients or records, which have to be in the database."""


class Counts(NamedTuple):
    """How much waits."""

    messages: int
    recipients: int


@dataclass(slots=True, eq=False)
class QueueState:
    """A queue as the spool knows it at start."""

    key: "QueueKey"
    recipients: int
    octets: int
    paused: bool
    retry_position: int


Operation = Accept | Settle | Execute | Read

ContentPath = Callable[[int], Path]
"""Where the content of a message is, if it is a file."""
