"""Moving queued mail to its new owners, when the number of shards changes at a start.

Nothing runs meanwhile: every spool is locked. A page of recipients is committed with its new
owner before it is deleted from the old one, so a crash between leaves it with both, and the
next start, with whatever number of shards, goes on: the copy has the same id and is made
once. What cold VirtualMTAs took is first counted in the first spool for all, in one commit, and
at last divided: each spool has its part in place of what it had, the first one after all others.
`counter` of the first spool says for how many shards all lies right; while it is being moved,
for none. What recovery of a crash needs is settled before: parcels that were taken are not
handed over again, and what shards that will not run have in their outbox or owe as
notifications is the first's.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from mta import failpoints, ids
from mta.errors import SpoolError
from mta.model.queue_key import QueueKey
from mta.routing import cold
from mta.spool import gathering, moves, recovery
from mta.spool.lock import take_lock
from mta.spool.parcels import take_receipts
from mta.spool.shards import content_path, shard_directory, shards_of

PAGE_RECIPIENTS: Final = 1000
LIES_RIGHT_FOR: Final = "shards"
"""The counter of the first spool that says for how many shards the mail lies right."""
MOVING: Final = -1
"""Also: what the first spool counts of cold VirtualMTAs is what all of them took. Programs that
left these counts alone have 0 for it."""

Owner = Callable[[QueueKey], int]


class _Spool:
    """The database and the content of one shard, with nobody else at them."""

    def __init__(
        self, root: Path, shard: int, stack: ExitStack, log: Callable[[str], None]
    ) -> None:
        self.shard = shard
        self.directory = shard_directory(root, shard)
        stack.callback(os.close, take_lock(self.directory))
        self.connection = recovery.opened(self.directory / "spool.db", log)
        stack.callback(self.connection.close)
        self.columns = [row[1] for row in self.all("PRAGMA table_info(recipient)")]

    def all(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, values).fetchall()

    def counter(self, name: str, default: int) -> int:
        rows = self.all("SELECT value FROM counter WHERE name = ?", name)
        return int(rows[0][0]) if rows else default

    def count(self, name: str, value: int) -> None:
        self.connection.execute(
            "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name)"
            " DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def content(self, message_id: int) -> Path:
        return content_path(self.directory, message_id)


def rehome(root: Path, shards: int, owner: Owner, log: Callable[[str], None]) -> None:
    """Have all queued mail where its owners among so many shards find it. SpoolError."""
    if shards == 1 and not set(shards_of(root)) - {0}:
        return  # there was never another
    with ExitStack() as stack:
        first = _Spool(root, 0, stack, log)
        if first.counter(LIES_RIGHT_FOR, 1) == shards:
            return
        others = sorted({*shards_of(root), *range(shards)} - {0})
        spools = [first, *(_Spool(root, shard, stack, log) for shard in others)]
        try:
            if first.counter(LIES_RIGHT_FOR, 1) != MOVING:
                _merge_cold(spools)
            _drop_gathered(spools)
            _keep_numbers(spools)
            _resolve_parcels(spools)
            for spool in spools[shards:]:
                _take_outbox(spool, first)
                _take_reports(spool, first)
            moved = sum(_move(spool, spools, owner) for spool in spools)
            _divide_cold(spools, shards)
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(
                f"queued mail could not be moved to its workers: {error}; nothing is lost, and "
                "the next start goes on"
            ) from error
        if moved:
            log(f"{moved} queued recipients moved to the workers that own them now")


def _merge_cold(spools: list[_Spool]) -> None:
    """From here on the first spool counts for all, whatever the others still have."""
    connection = spools[0].connection
    counts = [count for spool in spools for count in moves.cold_counts(spool.connection)]
    connection.execute("BEGIN IMMEDIATE")
    moves.replace_cold(connection, cold.merged(counts))
    spools[0].count(LIES_RIGHT_FOR, MOVING)
    connection.execute("COMMIT")
    failpoints.reach("rehome.cold-merged")


def _divide_cold(spools: list[_Spool], shards: int) -> None:
    """Each spool has its part of what was merged, and one that will not run has none.

    With the part of the first everything lies right, in one commit.
    """
    first = spools[0]
    counts = moves.cold_counts(first.connection)
    for place in reversed(range(len(spools))):
        spool = spools[place]
        spool.connection.execute("BEGIN IMMEDIATE")
        parts = (
            count._replace(messages=cold.part(count.messages, place, shards)) for count in counts
        )
        moves.replace_cold(spool.connection, parts if place < shards else ())
        if spool is first:
            spool.count(LIES_RIGHT_FOR, shards)
        spool.connection.execute("COMMIT")
        failpoints.reach("rehome.cold-divided")


def _drop_gathered(spools: list[_Spool]) -> None:
    """What was gathered and never let go was never accepted, and has no owner."""
    for spool in spools:
        for message_id in gathering.drop(spool.connection):
            spool.content(message_id).unlink(missing_ok=True)


def _keep_numbers(spools: list[_Spool]) -> None:
    """The first spool remembers how far the others numbered, should one be removed and return."""
    first, *others = spools
    written = dict(first.all("SELECT shard, upto FROM written"))
    for spool in others:
        for name, known in (("message", 1), ("record", written.get(spool.shard, 0))):
            kept = f"{name}-{spool.shard}"
            number = max(spool.counter(name, known), first.counter(kept, known), known)
            spool.count(name, number)
            first.count(kept, number)


def _resolve_parcels(spools: list[_Spool]) -> None:
    """What an owner has taken is deleted from its sender; the rest is mail like any other."""
    # Each owner of a message that has several takes a parcel of the same number.
    taken = {
        (spool.shard, number)
        for spool in spools
        for (number,) in spool.all("SELECT parcel FROM taken")
    }
    for spool in spools:
        take_receipts(spool.connection, taken)
        staged = spool.all("SELECT recipient, owner, parcel FROM staged")
        _delete(spool, [recipient for recipient, *parcel in staged if tuple(parcel) in taken])
    for spool in spools:
        spool.connection.execute("DELETE FROM staged")
    # Only now: while a staged recipient is left, this is what says that it was taken.
    for spool in spools:
        spool.connection.execute("DELETE FROM taken")


def _take_outbox(spool: _Spool, first: _Spool) -> None:
    """Records of a shard that will not run go through the outbox of the first."""
    written = dict(first.all("SELECT shard, upto FROM written")).get(spool.shard, 0)
    rows = spool.all("SELECT id, body FROM record WHERE id > ? ORDER BY id", written)
    if not rows:
        return
    upto = rows[-1][0]
    ((last,),) = first.all(
        "SELECT MAX(COALESCE(MAX(id), 0), ?) FROM record", first.counter("record", 0)
    )
    first.connection.execute("BEGIN IMMEDIATE")
    first.connection.executemany(
        "INSERT INTO record VALUES (?, ?)",
        [(last + place, body) for place, (_, body) in enumerate(rows, 1)],
    )
    first.connection.execute(
        "INSERT INTO written VALUES (?, ?) ON CONFLICT (shard) DO UPDATE SET upto = excluded.upto",
        (spool.shard, upto),
    )
    first.connection.execute("COMMIT")
    failpoints.reach("rehome.outbox-taken")
    spool.connection.execute("BEGIN IMMEDIATE")
    spool.count("record", max(upto, spool.counter("record", 0)))
    spool.connection.execute("DELETE FROM record")
    spool.connection.execute("COMMIT")


def _take_reports(spool: _Spool, first: _Spool) -> None:
    """What a shard that will not run owes the first one tells; a crash between tells it twice."""
    # One by one: a copy that is owed has the whole message.
    for (number,) in spool.all("SELECT id FROM report ORDER BY id"):
        rows = spool.all("SELECT body, content FROM report WHERE id = ?", number)
        first.connection.execute("BEGIN IMMEDIATE")
        first.connection.executemany("INSERT INTO report (body, content) VALUES (?, ?)", rows)
        first.connection.execute("COMMIT")
        failpoints.reach("rehome.reports-taken")
        spool.connection.execute("DELETE FROM report WHERE id = ?", (number,))


def _move(source: _Spool, spools: list[_Spool], owner: Owner) -> int:
    """Everything of a spool that belongs elsewhere; how many recipients that were."""
    by_shard = {spool.shard: spool for spool in spools}
    moved = 0
    for number, domain, vmta, paused, position in source.all(
        "SELECT id, domain, vmta, paused, retry_position FROM queue"
    ):
        target = by_shard[owner(QueueKey(domain, vmta))]
        if target is source:
            continue
        if paused or position:
            target.connection.execute(
                "INSERT INTO queue (domain, vmta, paused, retry_position) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (domain, vmta) DO UPDATE SET paused = excluded.paused,"
                " retry_position = excluded.retry_position",
                (domain, vmta, paused, position),
            )
        while rows := source.all(
            f"SELECT {', '.join(source.columns)} FROM recipient"  # noqa: S608 - from the schema
            " WHERE queue = ? ORDER BY id LIMIT ?",
            number,
            PAGE_RECIPIENTS,
        ):
            _copy(source, target, rows, (domain, vmta))
            failpoints.reach("rehome.copied")
            _delete(source, [row[source.columns.index("id")] for row in rows])
            failpoints.reach("rehome.deleted")
            moved += len(rows)
        source.connection.execute("DELETE FROM queue WHERE id = ?", (number,))
    return moved


def _copy(
    source: _Spool, target: _Spool, rows: list[tuple[Any, ...]], key: tuple[str, str]
) -> None:
    """Commit recipients of one queue, and their messages, with their new owner."""
    place, queue = source.columns.index("id"), source.columns.index("queue")
    into = target.connection
    into.execute("BEGIN IMMEDIATE")
    ((number,),) = into.execute(
        "INSERT INTO queue (domain, vmta) VALUES (?, ?)"
        " ON CONFLICT (domain, vmta) DO UPDATE SET domain = domain RETURNING id",
        key,
    ).fetchall()
    for message_id in dict.fromkeys(ids.message_of(row[place]) for row in rows):
        message = source.all("SELECT id, envelope, content FROM message WHERE id = ?", message_id)
        into.executemany("INSERT OR IGNORE INTO message VALUES (?, ?, ?)", message)
        if source.content(message_id).exists():
            _link(source.content(message_id), target.content(message_id))
    marks = ", ".join("?" * len(source.columns))
    into.executemany(
        f"INSERT OR IGNORE INTO recipient ({', '.join(source.columns)})"  # noqa: S608 - the same
        f" VALUES ({marks})",
        [(*row[:queue], number, *row[queue + 1 :]) for row in rows],
    )
    into.execute("COMMIT")


def _link(path: Path, other: Path) -> None:
    """A second name of a content file, on disk before the message that has it."""
    other.parent.mkdir(parents=True, exist_ok=True)
    if not other.exists():
        other.hardlink_to(path)
    for directory in (other.parent, other.parent.parent):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _delete(spool: _Spool, recipients: list[int]) -> None:
    """Recipients, and messages that have no other here."""
    connection = spool.connection
    gone = []
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("DELETE FROM recipient WHERE id = ?", [(one,) for one in recipients])
    for message_id in {ids.message_of(recipient) for recipient in recipients}:
        first = ids.recipient_id(message_id, 0)
        left = connection.execute(
            "SELECT 1 FROM recipient WHERE id BETWEEN ? AND ? LIMIT 1",
            (first, first + ids.RECIPIENTS_MAX - 1),
        ).fetchone()
        if left is None:
            connection.execute("DELETE FROM message WHERE id = ?", (message_id,))
            gone.append(message_id)
    connection.execute("COMMIT")
    for message_id in gone:
        spool.content(message_id).unlink(missing_ok=True)
