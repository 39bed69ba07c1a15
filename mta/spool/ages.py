"""How old what a queue holds is, without reading its mail.

Message ids grow with time in each shard that gave them, so the oldest recipients of a queue
are those with the lowest ids, and how old is found by looking at a few messages. Clocks that
were set make that inexact by as much; who is too old is decided by the caller, of each.
"""

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mta import ids
from mta.model.message import Recipient
from mta.model.queue_key import QueueKey
from mta.spool import schema

if TYPE_CHECKING:
    from mta.spool.operations import LookUp

Place = tuple[int, float, int]
"""Where a page ends: priority, due, id."""
Bounds = tuple[tuple[int, int], ...]
"""By shard, the first recipient id that is too young."""
_SHARDS: Final = ids.SHARDS_MAX - 1
_OF_QUEUE: Final = "queue = (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"


class Ages:
    """What a spool tells of ages, read beside its writer."""

    def __init__(self, look: "LookUp") -> None:
        self._look = look

    async def oldest(self, key: QueueKey) -> float | None:
        """When the oldest recipient of a queue was queued; None if it holds none."""

        def question(connection: sqlite3.Connection) -> float | None:
            times = [_time(connection, first >> 16) for first in _firsts(connection, key)]
            return min((time for time in times if time is not None), default=None)

        return await self._look(question)

    async def bounds(self, key: QueueKey, before: float) -> Bounds:
        """Where, in each shard that gave ids of a queue, those end that were given before."""

        def question(connection: sqlite3.Connection) -> Bounds:
            shards = {first >> 16 & _SHARDS for first in _firsts(connection, key)}
            return tuple((shard, _bound(connection, shard, before) << 16) for shard in shards)

        return await self._look(question)

    async def older(
        self, key: QueueKey, bounds: Bounds, after: Place | None, limit: int
    ) -> list[Recipient]:
        """Recipients of a queue within bounds, in the order of priority, due and id.

        Up to limit, behind a place.
        """
        is_old = " OR ".join(
            f"(recipient.id >> 16 & {_SHARDS} = {shard} AND recipient.id < {bound})"
            for shard, bound in bounds
        )

        def question(connection: sqlite3.Connection) -> list[Recipient]:
            rows = connection.execute(
                f"SELECT {schema.RECIPIENT_COLUMNS} FROM recipient"  # noqa: S608 - numbers
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                f" WHERE recipient.{_OF_QUEUE} AND (priority, due, recipient.id) > (?, ?, ?)"
                f" AND ({is_old or 0}) ORDER BY priority, due, recipient.id LIMIT ?",
                (*key, *(after or (-1, -1e300, -1)), limit),
            ).fetchall()
            return schema.recipients_of(rows).recipients

        return await self._look(question)


def _firsts(connection: sqlite3.Connection, key: QueueKey) -> Iterator[int]:
    """The lowest recipient id of each shard that gave any of a queue."""
    rows = connection.execute(
        f"SELECT MIN(id) FROM recipient INDEXED BY recipient_due WHERE {_OF_QUEUE}"  # noqa: S608
        f" GROUP BY id >> 16 & {_SHARDS}",
        key,
    )
    return (first for (first,) in rows.fetchall())


def _bound(connection: sqlite3.Connection, shard: int, before: float) -> int:
    """The id of the first message of a shard that was not queued before a time."""
    (last,) = connection.execute("SELECT MAX(id) FROM message").fetchone()
    low, high = 0, (last or 0) // ids.SHARDS_MAX + 1
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(
            "SELECT id FROM message WHERE id >= ? AND id & ? = ? ORDER BY id LIMIT 1",
            (ids.message_id(middle, shard), _SHARDS, shard),
        ).fetchone()
        time = _time(connection, row[0]) if row is not None else None
        if row is None or (time is not None and time >= before):
            high = middle
        else:
            low = row[0] // ids.SHARDS_MAX + 1
    return ids.message_id(low, shard)


def _time(connection: sqlite3.Connection, message_id: int) -> float | None:
    row = connection.execute(
        "SELECT json_extract(envelope, '$.time_queued') FROM message"
        " WHERE id = ? AND json_valid(envelope)",
        (message_id,),
    ).fetchone()
    return row[0] if row is not None else None
