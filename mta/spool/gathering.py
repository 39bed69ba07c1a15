"""Messages that count only together and are too many for one frame: gathered, then let go.

While they are gathered their recipients stand in a queue that nobody has, so that no page of
any queue holds one of them. One transaction puts all of them into their queues. What a crash
left gathered was never accepted, and a start removes it.
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


def drop(connection: sqlite3.Connection) -> None:
    """Remove what was never let go."""
    connection.execute("BEGIN IMMEDIATE")
    dropped = connection.execute(
        "DELETE FROM recipient WHERE queue IN (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"
        " RETURNING id >> 16",
        GATHERING,
    ).fetchall()
    connection.executemany(
        "DELETE FROM message WHERE id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM recipient WHERE id >> 16 = ?1 AND id >= ?1 << 16"
        " AND id < (?1 + 1) << 16)",
        set(dropped),
    )
    connection.execute("COMMIT")
