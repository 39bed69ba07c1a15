"""Recipients of whose delays somebody asked to be told, and how far they were looked at.

Somebody is told of a recipient when a whole number of periods since it was queued ends
between two looks. So nothing is kept of the single recipient: it is enough to know since
when, until when and how far the last look was. That is committed with what is owed, so
nobody is told twice of one period.
"""

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from mta.model.message import Recipient
from mta.model.queue_key import QueueKey
from mta.spool import schema

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Change, LookUp

_COUNTERS: Final = ("delays-since", "delays-until", "delays-after")


class Look(NamedTuple):
    """One look through a spool, for periods that end in an interval; epoch seconds."""

    since: int = 0
    until: int = 0
    after: int = 0
    """The last recipient that was looked at."""


class Waiting(NamedTuple):
    """What of a recipient says whether it is time to tell of it."""

    recipient_id: int
    queue: QueueKey
    time_queued: float


class Delays:
    """What a spool tells of recipients whose delays are to be told of."""

    def __init__(self, look: "LookUp", change: "Change") -> None:
        self._look = look
        self._change = change

    async def last(self) -> Look:
        """The last look that is remembered; it is under way still if its interval is not empty."""

        def question(connection: sqlite3.Connection) -> Look:
            values = dict(connection.execute("SELECT name, value FROM counter").fetchall())
            return Look(*(values.get(name, 0) for name in _COUNTERS))

        return await self._look(question)

    async def waiting(self, after: int, limit: int) -> list[Waiting]:
        """The next that asked, in the order of their ids; without those that go to other shards."""

        def question(connection: sqlite3.Connection) -> list[Waiting]:
            rows = connection.execute(
                "SELECT recipient.id, domain, vmta,"  # noqa: S608 - a constant
                " json_extract(envelope, '$.time_queued')"
                " FROM recipient INDEXED BY recipient_delay"
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                f" WHERE {schema.ASKS_OF_DELAY} AND recipient.id > ? AND json_valid(envelope)"
                " AND recipient.id NOT IN (SELECT recipient FROM staged)"
                " ORDER BY recipient.id LIMIT ?",
                (after, limit),
            )
            return [Waiting(number, QueueKey(*key), time) for number, *key, time in rows]

        return await self._look(question)

    async def recipients(self, waiting: Sequence[Waiting]) -> list[Recipient]:
        """Those of them that still wait."""
        numbers = [one.recipient_id for one in waiting]

        def question(connection: sqlite3.Connection) -> list[Recipient]:
            marks = ",".join("?" * len(numbers))
            rows = connection.execute(
                f"SELECT {schema.RECIPIENT_COLUMNS} FROM recipient"  # noqa: S608 - a constant
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                f" WHERE recipient.id IN ({marks})",
                numbers,
            ).fetchall()
            return schema.recipients_of(rows).recipients

        return await self._look(question)

    def looked(self, look: Look) -> "asyncio.Future[None]":
        """Remember a look."""
        return self._change(lambda connection: note(connection, look))


def note(connection: sqlite3.Connection, look: Look) -> None:
    """Remember a look, with what is committed beside it."""
    connection.executemany(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        list(zip(_COUNTERS, look, strict=True)),
    )
