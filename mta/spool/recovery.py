"""Opening a spool after whatever happened to its files.

A crash needs nothing of this: SQLite's log takes care of it. This is for files that were
damaged: truncated, or with wrong octets in them. Nothing that is damaged is thrown away: it
is moved to `damaged/` beside the database, and what can be read is carried on with.

    the log is broken in its middle    mended, so that what follows is not dropped (wal.py)
    a table or index cannot be read    every row that can be is copied into a new database
    a row is not what was written      found when it is read (`schema.check`)
"""

import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from mta import clock, ids
from mta.address import domain_of
from mta.errors import SpoolError
from mta.model.queue_key import DEFAULT_VMTA
from mta.spool import counters, gathering, replay, schema, wal
from mta.spool.damage import DIRECTORY, is_damage, place_aside
from mta.spool.sync import sync

SALVAGE_WANTED: Final = "salvage-wanted"
"""A file beside the database: it turned out to be damaged while it was in use."""
PAGE_ROWS: Final = 200
"""Rows read at once while all is well."""
HEAD_OCTETS: Final = 100
_NUMBERS_SKIPPED: Final = 100_000
"""How far behind the highest message number it found a salvage goes on: none is used twice."""

Log = Callable[[str], None]


def opened(path: Path, log: Log) -> sqlite3.Connection:
    """The database at path, usable; SpoolError if it cannot be opened for another reason."""
    if not path.with_name(SALVAGE_WANTED).exists():
        try:
            connection = schema.connect(str(path))
            try:
                connection = _with_whole_log(path, connection, log)
                _probe(connection)
                replay.replay(path.parent, connection, log)
            except BaseException:
                connection.close()
                raise
            return connection
        except (SpoolError, sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not _keeps_shut(error):
                raise
            log(f"the spool database {path} is damaged: {error}")
            want_salvage(path)
    _salvage(path, log)
    connection = schema.connect(str(path))
    replay.replay(path.parent, connection, log)
    return connection


def _keeps_shut(error: BaseException) -> bool:
    """Whether a database that says this when it is opened is damaged."""
    cause = error.__cause__ or error
    # Its description of the tables may be damaged, too: no such table, no such letter.
    code = getattr(cause, "sqlite_errorcode", None)
    return is_damage(cause) or isinstance(cause, UnicodeDecodeError) or code == sqlite3.SQLITE_ERROR


def set_aside(
    connection: sqlite3.Connection, directory: Path, message_id: int, content_path: Path
) -> None:
    """Write what the rows of a message hold into `damaged/`, as it is."""
    found = connection.execute(
        "SELECT CAST(envelope AS BLOB), CAST(content AS BLOB) FROM message WHERE id = ?",
        (message_id,),
    ).fetchone()
    envelope, content = found if found is not None else (b"", None)
    put_aside(directory, message_id, envelope, content, content_path)


def put_aside(
    directory: Path, message_id: int, envelope: bytes, content: bytes | None, content_path: Path
) -> None:
    """Write a message into `damaged/`; its content may be a file."""
    place_aside(directory, f"{ids.printed(message_id)}.envelope").write_bytes(envelope)
    copy = place_aside(directory, f"{ids.printed(message_id)}.eml")
    if content is not None:
        copy.write_bytes(content)
    elif content_path.exists():
        shutil.copyfile(content_path, copy)


def set_report_aside(connection: sqlite3.Connection, directory: Path, number: int) -> None:
    """Move a notification that is owed from its row into `damaged/`, as it is."""
    found = connection.execute(
        "SELECT CAST(body AS BLOB), CAST(content AS BLOB) FROM report WHERE id = ?", (number,)
    ).fetchone()
    if found is not None:
        body, content = found
        place_aside(directory, f"report{number}.json").write_bytes(body)
        place_aside(directory, f"report{number}.eml").write_bytes(content)
        connection.execute("DELETE FROM report WHERE id = ?", (number,))


def want_salvage(path: Path) -> None:
    """Have the next `opened` salvage the database at path, whatever it looks like then."""
    with suppress(OSError):
        path.with_name(SALVAGE_WANTED).touch()


def _with_whole_log(path: Path, connection: sqlite3.Connection, log: Log) -> sqlite3.Connection:
    """The connection, or another one after the log was mended."""
    wal_path = path.with_name(f"{path.name}-wal")
    found = wal.read(wal_path)
    if found is None:
        return connection
    _, frames_read, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if wal.commits_behind(found, max(frames_read, 0)) < 2:
        return connection
    kept = _keep(wal_path, log)
    connection.close()
    shutil.copyfile(kept, wal_path)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    wrong = wal.mend(wal_path, found)
    log(f"the log of {path} was damaged in {wrong} of {len(found.frames)} frames and is mended")
    connection = schema.connect(str(path))
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        connection.close()
        error = sqlite3.DatabaseError(answer)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error
    return connection


def _probe(connection: sqlite3.Connection) -> None:
    """Go through what a start reads, so that damage shows before mail is served."""
    connection.execute("SELECT COUNT(*), MAX(id) FROM record").fetchone()
    connection.execute("SELECT COUNT(*) FROM queue").fetchone()
    connection.execute(
        "SELECT queue, COUNT(*), SUM(size) FROM recipient INDEXED BY recipient_due GROUP BY queue"
    ).fetchall()


def _keep(file: Path, log: Log) -> Path:
    """A copy of a damaged file, for whoever wants to look at it."""
    copy = place_aside(file.parent, file.name)
    shutil.copyfile(file, copy)
    log(f"kept {file} as {copy}")
    return copy


def _salvage(path: Path, log: Log) -> None:
    """Replace a database by a new one with every row of it that can be read.

    A crash meanwhile costs nothing: the damaged files are moved, not changed, and the next
    start goes on where `SALVAGE_WANTED` says.
    """
    marker = path.with_name(SALVAGE_WANTED)
    name = marker.read_text().strip()
    if not name:
        # What was salvaged within the same second is no sign that this is.
        seconds = itertools.count(int(clock.now()))
        name = next(str(s) for s in seconds if not (path.parent / DIRECTORY / str(s)).exists())
        marker.write_text(name)
        sync(marker)
    kept = path.parent / DIRECTORY / name
    kept.mkdir(exist_ok=True, mode=0o700, parents=True)
    if not (kept / path.name).exists():
        for end in ("-wal", ""):
            file = path.with_name(f"{path.name}{end}")
            if file.exists():
                file.rename(kept / file.name)
        sync(kept)
        sync(path.parent)
    if not path.exists():
        fresh = _salvaged(kept / path.name, path.with_name(f"{path.name}.salvage"), log)
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
        fresh.replace(path)
    marker.unlink()
    sync(path.parent)


def _salvaged(damaged: Path, fresh: Path, log: Log) -> Path:
    """A new database at fresh with what can be read of a damaged one, which stays as it is."""
    with tempfile.TemporaryDirectory(dir=damaged.parent) as work:
        copy = Path(work) / damaged.name
        for end in ("", "-wal"):
            file = damaged.with_name(f"{damaged.name}{end}")
            if file.exists():
                shutil.copyfile(file, copy.with_name(file.name))
        for end in ("", "-wal", "-shm"):
            fresh.with_name(f"{fresh.name}{end}").unlink(missing_ok=True)
        target = schema.connect(str(fresh))
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        target.execute("BEGIN")
        _mend_head(copy, fresh)
        counts = _copied(copy, target)
        if not any(counts.values()):
            # The description of the tables is gone; those of a new database begin alike.
            _replace_description(copy, fresh)
            counts = _copied(copy, target)
        if not any(counts.values()):
            target.close()
            fresh.unlink()
            raise SpoolError(
                f"the spool database cannot be opened: nothing of it can be read. It is kept as "
                f"{damaged}; remove {SALVAGE_WANTED} to begin with an empty spool"
            )
        _skip_numbers(target)
        _drop_gathered(target, log)
        orphans = _drop_orphans(target, log)
        _name_queues(target, log)
        target.execute("COMMIT")
        target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        target.close()
    log(
        f"salvaged {counts['message']} messages, {counts['recipient'] - orphans} recipients and "
        f"{counts['record']} commits of accounting records; {orphans} recipients have lost their "
        f"message; the damaged database is kept as {damaged}"
    )
    return fresh


def _copied(damaged: Path, target: sqlite3.Connection) -> dict[str, int]:
    """Copy what can be read of every table; how many rows of each."""
    source = sqlite3.connect(damaged, isolation_level=None)
    source.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
    with closing(source):
        return {table: _copy(source, target, table) for table in schema.table_names(target)}


def _mend_head(path: Path, fresh: Path) -> None:
    """Put right what keeps SQLite from reading any of a database: its head.

    It is that of a new one. How many pages there are is left to the length of the file, which
    may be cut short; free pages are of no interest.
    """
    head = bytearray(fresh.read_bytes()[:HEAD_OCTETS])
    head[28:40] = bytes(12)
    with path.open("r+b") as file:
        file.write(head)


def _replace_description(path: Path, fresh: Path) -> None:
    """Give a database the first page, behind the head, of a new one."""
    with fresh.open("rb") as new, path.open("r+b") as file:
        page = new.read(schema.PAGE_OCTETS)
        file.seek(HEAD_OCTETS)
        file.write(page[HEAD_OCTETS:])


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    """Copy the rows of a table that can be read; how many."""
    wanted = [name for _, name, *_ in target.execute(f"PRAGMA table_info({table})")]
    try:
        there = {name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")}
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return 0
    columns = [name for name in wanted if name in there]
    if not columns:
        return 0
    insert = (
        f"INSERT OR IGNORE INTO {table} ({', '.join(columns)})"  # noqa: S608 - names of ours
        f" VALUES ({', '.join('?' * len(columns))})"
    )
    count = 0
    for row in _rows(source, f"SELECT rowid, {', '.join(columns)} FROM {table}"):  # noqa: S608
        try:
            count += target.execute(insert, row).rowcount
        except (sqlite3.IntegrityError, UnicodeEncodeError):
            continue  # Octets that cannot have been written: the row is damaged.
    return count


def _rows(source: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in the order of their numbers, around those that cannot be read."""
    number: int | None = -(1 << 63)
    limit = PAGE_ROWS
    while number is not None:
        page = _page(source, select, number, limit)
        if page is None and limit > 1:
            limit = 1
        elif page is None:
            number = _next_readable(source, select, number)
        else:
            for row in page:
                yield row[1:]
            number = page[-1][0] + 1 if len(page) == limit else None
            limit = min(limit * 2, PAGE_ROWS)


def _page(
    source: sqlite3.Connection, select: str, number: int, limit: int
) -> list[tuple[Any, ...]] | None:
    """Up to limit rows from a number on; None where they cannot be read.

    A damaged tree may also give rows out of order, and again and again.
    """
    try:
        page = source.execute(
            f"{select} WHERE rowid >= ? ORDER BY rowid LIMIT ?", (number, limit)
        ).fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None
    numbers = [number - 1, *(row[0] for row in page)]
    is_ordered = all(one < next_one for one, next_one in itertools.pairwise(numbers))
    return page if is_ordered else None


def _next_readable(source: sqlite3.Connection, select: str, number: int) -> int | None:
    """A number further on at which a table can be read again; None if it never can."""

    def is_readable(at: int) -> bool:
        return bool(_page(source, select, at, 1))

    start = max(number, 0)
    step = 1
    while not is_readable(start + step):
        step *= 2
        if start + step >= 1 << 62:
            return None
    low, high = start + step // 2, start + step
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_readable(middle) else (middle, high)
    return high


def _skip_numbers(target: sqlite3.Connection) -> None:
    """See to it that no number of a message or of an outbox row is used again."""
    (highest,) = target.execute("SELECT MAX(id) FROM message").fetchone()
    (used,) = target.execute("SELECT MAX(id) FROM recipient").fetchone()
    last = max(highest or 0, ids.message_of(used or 0)) >> ids.SHARD_BITS
    (row,) = target.execute("SELECT COALESCE(MAX(id), 0) FROM record").fetchone()
    counters.raise_to(target, "message", last + _NUMBERS_SKIPPED)
    counters.raise_to(target, "record", row + _NUMBERS_SKIPPED)


def _drop_gathered(target: sqlite3.Connection, log: Log) -> None:
    """Mail merges that nobody was told are taken; the number of their queue says which."""
    dropped = gathering.remove(target)
    if dropped:
        log(f"{len(dropped)} messages of mail merges that were not accepted yet are removed")


def _name_queues(target: sqlite3.Connection, log: Log) -> None:
    """Recipients whose queue has lost its name go by their domain, through `{default}`."""
    lost = target.execute(
        "SELECT id, address FROM recipient WHERE queue NOT IN (SELECT id FROM queue)"
    ).fetchall()
    for number, address in lost:
        domain = domain_of(address)
        target.execute(
            "INSERT OR IGNORE INTO queue (domain, vmta) VALUES (?, ?)", (domain, DEFAULT_VMTA)
        )
        target.execute(
            "UPDATE recipient SET queue = (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"
            " WHERE id = ?",
            (domain, DEFAULT_VMTA, number),
        )
    if lost:
        log(f"{len(lost)} recipients have lost their VirtualMTA and go through {DEFAULT_VMTA}")


def _drop_orphans(target: sqlite3.Connection, log: Log) -> int:
    """Recipients whose message is gone cannot be delivered: each is said."""
    orphans = target.execute(
        "SELECT id, address FROM recipient WHERE id >> ? NOT IN (SELECT id FROM message)",
        (ids.RECIPIENT_BITS,),
    ).fetchall()
    for number, address in orphans:
        message = ids.printed(ids.message_of(number))
        log(f"lost with the damaged part of the spool: message {message} to {address}")
    target.executemany("DELETE FROM recipient WHERE id = ?", [(number,) for number, _ in orphans])
    return len(orphans)
