"""Messages that count only together and are too many for one frame: gathered, then let go.

While they are gathered their recipients stand in a queue that nobody has, so that no page of
any queue holds one of them. One transaction puts all of them into their queues. What a crash
left gathered was never accepted, and a start removes it, also where damage took the name of
that queue: its number is always the same.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from mta.model.message import Recipient
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.spool import moves
from mta.spool.operations import Staged

GATHERING: Final = QueueKey("{gathering}", DEFAULT_VMTA)
"""No domain has this name."""
NUMBER: Final = 0
"""Of that queue in the table; SQLite numbers others from 1. Earlier programs let it number
this one, too."""


def let_go(
    connection: sqlite3.Connection, recipients: Sequence[Recipient], staged: Sequence[Staged]
) -> set[int]:
    """Put gathered recipients into their queues; ids of those that were there still."""
    targets: dict[QueueKey, list[int]] = defaultdict(list)
    for recipient in recipients:
        targets[recipient.queue].append(recipient.recipient_id)
    owners = {row[0]: row for row in staged}
    gone: set[int] = set()
    for target, numbers in targets.items():
        rows = [owners[number] for number in numbers if number in owners]
        gone.update(moves.move(connection, numbers, GATHERING, target, "", rows))
    return gone


def drop(connection: sqlite3.Connection) -> set[int]:
    """Remove what was never let go; ids of the messages."""
    connection.execute("BEGIN IMMEDIATE")
    dropped = remove(connection)
    connection.execute("COMMIT")
    return dropped


def remove(connection: sqlite3.Connection) -> set[int]:
    """As `drop`, within a transaction."""
    rows = connection.execute(
        "DELETE FROM recipient WHERE queue IN"
        " (SELECT ? UNION SELECT id FROM queue WHERE domain = ? AND vmta = ?)"
        " RETURNING id >> 16",
        (NUMBER, *GATHERING),
    ).fetchall()
    # The next that is gathered makes it again: with its number and, were that damaged, its name.
    connection.execute(
        "DELETE FROM queue WHERE id = ? OR domain = ? AND vmta = ?", (NUMBER, *GATHERING)
    )
    dropped = {number for (number,) in rows}
    connection.executemany(
        "DELETE FROM message WHERE id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM recipient WHERE id >> 16 = ?1 AND id >= ?1 << 16"
        " AND id < (?1 + 1) << 16)",
        [(number,) for number in dropped],
    )
    return dropped
