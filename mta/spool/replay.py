"""What a stop or a crash left in the journal comes to the database, before anything else does."""

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mta import failpoints, ids
from mta.errors import SpoolError
from mta.spool import counters, journal
from mta.spool.damage import DIRECTORY, place_aside
from mta.spool.journal import Applied, Journal
from mta.spool.pending import JOURNAL, JOURNAL_FRAMES, Pending, is_whole
from mta.spool.tables import Tables

MARK: Final = "journal-mark"
"""The counter that is the mark of the journal."""
ALL_FRAMES: Final = 1 << 62

Log = Callable[[str], None]


def replay(directory: Path, connection: sqlite3.Connection, log: Log) -> None:
    """Have the database hold all that the journal beside it has.

    What is damaged is said, and the journal kept. SpoolError if it cannot be read;
    sqlite3.Error if the database does not take it.
    """
    path = directory / journal.NAME
    labelled = journal.mark_of(path)
    known = counters.value(connection, MARK)
    mark = labelled or known or secrets.randbits(journal.MARK_BITS) | 1
    if mark != known:
        counters.put(connection, MARK, mark)
    try:
        found = journal.read(path, mark, _applied(connection))
    except OSError as error:
        raise SpoolError(f"{path} cannot be read: {error.strerror}") from error
    frames = found.frames
    is_cut = found.is_cut
    if frames and not is_whole(frames[-1]):
        del frames[-1]
        is_cut = True
    is_unlabelled = path.exists() and labelled is None
    is_damaged = bool(found.missing) or is_unlabelled
    if is_damaged:
        if not _is_kept(path):
            with suppress(OSError):  # a file system without links
                os.link(path, place_aside(directory, path.name))
        log(
            f"the journal of the spool is damaged, {found.missing} commits cannot be read; what "
            f"can be read is carried on with, and the journal kept in {directory / DIRECTORY}"
        )
    if frames:
        try:
            pending = Pending.of_frames(frames)
        except (ValueError, TypeError) as error:
            raise SpoolError(f"{path} was written by another version of the program") from error
        connection.execute("BEGIN IMMEDIATE")
        try:
            pending.write(Tables(connection))
            counters.raise_to(connection, JOURNAL, found.generation)
            counters.put(connection, JOURNAL_FRAMES, frames[-1].number + 1)
            highest = pending.highest_message >> ids.SHARD_BITS
            counters.raise_to(connection, "message", highest + 1)
            failpoints.reach("apply.before-commit")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a disk that is full has ended it
                connection.execute("ROLLBACK")
            raise
        failpoints.reach("apply.after-commit")
    if is_cut:
        log("the last write to the journal of the spool was cut short; nobody was answered yet")
    if _is_kept(path):
        path.unlink()  # what comes next is not to be written over it
    elif is_damaged:
        path.rename(place_aside(directory, path.name))


def _is_kept(path: Path) -> bool:
    """Whether a journal is in `damaged/`, too."""
    return path.exists() and path.stat().st_nlink > 1


def _applied(connection: sqlite3.Connection) -> Applied:
    """What of the journal is in the database."""
    row = connection.execute(
        "SELECT value FROM counter WHERE name = ?", (JOURNAL_FRAMES,)
    ).fetchone()
    # A program that did not count them left none behind.
    frames = int(row[0]) if row else ALL_FRAMES
    return Applied(counters.value(connection, JOURNAL), frames)


def opened(directory: Path, connection: sqlite3.Connection) -> Journal:
    """The journal of a database that has everything in it, for what comes next.

    SpoolError if it cannot be opened.
    """
    path = directory / journal.NAME
    generation = counters.value(connection, JOURNAL) + 1
    try:
        return Journal(path, counters.value(connection, MARK), generation)
    except OSError as error:
        raise SpoolError(f"{path} cannot be used: {error.strerror}") from error
