"""What recipients that wait were answered: the last tries of each, for people to read.

Only a try that deferred is noted, with the transaction that says so. So mail that is delivered
at once never comes here, and of a recipient that was deferred the tries go when it does. Each
has TRIES_KEPT places that are used in turn.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mta import ids
from mta.model.attempt import Try
from mta.model.message import Recipient

if TYPE_CHECKING:
    from mta.spool.operations import LookUp

TRIES_KEPT: Final = 20
"""Of each recipient. With `retry-after 10m` that is the last three hours, about 5 KB."""
REPLY_CHARACTERS_MAX: Final = 500
"""Of each reply; what says why stands at its beginning."""

TABLE: Final = """
CREATE TABLE IF NOT EXISTS try (
    recipient INTEGER NOT NULL, place INTEGER NOT NULL, time REAL NOT NULL,
    source_ip TEXT NOT NULL, host TEXT NOT NULL, reply TEXT NOT NULL,
    PRIMARY KEY (recipient, place)
) WITHOUT ROWID;
"""

Row = tuple[int, int, float, str, str, str]


def row_of(recipient: Recipient, one: Try) -> Row:
    """The row of a recipient's last try."""
    place = recipient.attempts % TRIES_KEPT
    reply = one.reply[:REPLY_CHARACTERS_MAX]
    return recipient.recipient_id, place, one.time, one.source_ip, one.host, reply


def note(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Remember tries, each in the place of the oldest of its recipient."""
    connection.executemany("INSERT OR REPLACE INTO try VALUES (?, ?, ?, ?, ?, ?)", rows)


def forget(connection: sqlite3.Connection, recipients: Sequence[int]) -> None:
    """Recipients no longer wait."""
    connection.execute(
        "DELETE FROM try WHERE recipient IN (SELECT value FROM json_each(?))",
        (json.dumps(recipients),),
    )


def forget_strays(connection: sqlite3.Connection) -> None:
    """What belongs to recipients that are not here (any more)."""
    connection.execute("DELETE FROM try WHERE recipient NOT IN (SELECT id FROM recipient)")


class Tries:
    """What of the tries a spool tells, read beside its writer."""

    def __init__(self, look: "LookUp") -> None:
        self._look = look

    async def of(self, message_id: int) -> dict[int, list[Try]]:
        """What the recipients of a message that wait were answered, oldest first, by id."""
        first = ids.recipient_id(message_id, 0)
        last = ids.recipient_id(message_id, ids.RECIPIENTS_MAX - 1)
        return await self._look(lambda connection: _between(connection, first, last))

    async def before(self, recipient: Recipient, most: int) -> int:
        """How many recipients of its queue are delivered before one; `most` if there are more."""
        return await self._look(lambda connection: _before(connection, recipient, most))


def _between(connection: sqlite3.Connection, first: int, last: int) -> dict[int, list[Try]]:
    """The tries of recipients with ids from first to last, oldest first."""
    found: dict[int, list[Try]] = {}
    for recipient, *values in connection.execute(
        "SELECT recipient, time, source_ip, host, reply FROM try"
        " WHERE recipient BETWEEN ? AND ? ORDER BY recipient, time",
        (first, last),
    ):
        found.setdefault(recipient, []).append(Try(*values))
    return found


def _before(connection: sqlite3.Connection, recipient: Recipient, most: int) -> int:
    """How many recipients of its queue come before one, in the order they are delivered in.

    Each priority is a range of the index, so that no more rows are read than are counted.
    """
    found = connection.execute(
        "SELECT id FROM queue WHERE domain = ? AND vmta = ?", tuple(recipient.queue)
    ).fetchone()
    if found is None:
        return 0
    (queue,) = found
    earlier = "queue = ? AND priority = ? AND due < ?"
    count = _counted(connection, earlier, (queue, recipient.priority, recipient.due), most)
    # A row value would be a range of `due` alone, and very many may be due at one time.
    together = "queue = ? AND priority = ? AND due = ? AND id < ?"
    place = (queue, recipient.priority, recipient.due, recipient.recipient_id)
    count += _counted(connection, together, place, most - count)
    priority = recipient.priority
    while count < most:
        (above,) = connection.execute(
            "SELECT MIN(priority) FROM recipient INDEXED BY recipient_due"
            " WHERE queue = ? AND priority > ?",
            (queue, priority),
        ).fetchone()
        if above is None:
            break
        higher = "queue = ? AND priority = ? AND due <= ?"
        count += _counted(connection, higher, (queue, above, recipient.due), most - count)
        priority = above
    return count


def _counted(
    connection: sqlite3.Connection, where: str, values: Sequence[object], most: int
) -> int:
    """How many rows there are, or `most` if there are more."""
    (count,) = connection.execute(
        "SELECT COUNT(*) FROM (SELECT 1 FROM recipient INDEXED BY recipient_due"  # noqa: S608 - ours
        f" WHERE {where} LIMIT ?)",
        (*values, most),
    ).fetchone()
    return int(count)
