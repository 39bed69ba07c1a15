"""Recipients go to another queue, and what cold VirtualMTAs took: as SQL."""

import json
import sqlite3
from collections.abc import Iterable, Sequence

from mta import failpoints
from mta.model.queue_key import QueueKey
from mta.routing.cold import FORGET_DAYS, Count
from mta.spool.operations import Staged

Moved = dict[int, tuple[float, int, str]]
"""By id: due, attempts and last reply of recipients that went."""


def move(
    connection: sqlite3.Connection,
    numbers: Sequence[int],
    source: QueueKey,
    target: QueueKey,
    pool: str,
    staged: Sequence[Staged] = (),
) -> Moved:
    """Put recipients of source into target.

    Returned are, by id, due, attempts and last reply of those that source still had.
    `pool` replaces the pool they came from, unless it is empty. `staged` are those whose
    target another shard owns.
    """
    connection.execute(
        "INSERT INTO queue (domain, vmta) VALUES (?, ?) ON CONFLICT (domain, vmta) DO NOTHING",
        target,
    )
    rows = connection.execute(
        "UPDATE recipient SET queue = (SELECT id FROM queue WHERE domain = ? AND vmta = ?),"
        " pool = CASE WHEN ? = '' THEN pool ELSE ? END"
        " WHERE id IN (SELECT value FROM json_each(?))"
        # With `+` each is looked up; else SQLite walks over all that source has.
        " AND +queue = (SELECT id FROM queue WHERE domain = ? AND vmta = ?) RETURNING id,"
        " due, attempts, last_reply",
        (*target, pool, pool, json.dumps(list(numbers)), *source),
    )
    moved = {number: (due, attempts, last_reply) for number, due, attempts, last_reply in rows}
    connection.executemany(
        "INSERT INTO staged VALUES (?, ?, ?)", [row for row in staged if row[0] in moved]
    )
    failpoints.reach("move.before-commit")
    return moved


def cold_counts(connection: sqlite3.Connection) -> list[Count]:
    """All counts there are; those not touched for `FORGET_DAYS` are removed."""
    connection.execute(
        "DELETE FROM cold WHERE day < (SELECT MAX(day) FROM cold) - ?", [FORGET_DAYS]
    )
    rows = connection.execute("SELECT warm, cold, domain, day, position, messages FROM cold")
    return [Count(*row) for row in rows]


def save_cold(connection: sqlite3.Connection, count: Count) -> None:
    """Remember a count."""
    connection.execute("INSERT OR REPLACE INTO cold VALUES (?, ?, ?, ?, ?, ?)", count)


def replace_cold(connection: sqlite3.Connection, counts: Iterable[Count]) -> None:
    """Remember these counts and no others."""
    connection.execute("DELETE FROM cold")
    connection.executemany("INSERT INTO cold VALUES (?, ?, ?, ?, ?, ?)", counts)
