"""What a stop or a crash left in the journal comes to the database, before anything else does."""

import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mta import failpoints, ids
from mta.errors import SpoolError
from mta.spool import counters, journal
from mta.spool.damage import place_aside
from mta.spool.journal import Journal
from mta.spool.pending import JOURNAL, Pending, is_whole
from mta.spool.tables import Tables

MARK: Final = "journal-mark"
"""The counter that is the mark of the journal."""

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
        connection.execute("INSERT OR REPLACE INTO counter VALUES (?, ?)", (MARK, mark))
    try:
        found = journal.read(path, mark, counters.value(connection, JOURNAL))
    except OSError as error:
        raise SpoolError(f"{path} cannot be read: {error.strerror}") from error
    frames = found.frames
    is_cut = found.is_cut
    if frames and not is_whole(frames[-1]):
        del frames[-1]
        is_cut = True
    if frames:
        try:
            pending = Pending.of_frames(frames)
        except (ValueError, TypeError) as error:
            raise SpoolError(f"{path} was written by another version of the program") from error
        connection.execute("BEGIN IMMEDIATE")
        try:
            pending.write(Tables(connection))
            counters.raise_to(connection, JOURNAL, found.generation)
            highest = pending.highest_message >> ids.SHARD_BITS
            counters.raise_to(connection, "message", highest + 1)
            failpoints.reach("apply.before-commit")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        failpoints.reach("apply.after-commit")
    if is_cut:
        log("the last write to the journal of the spool was cut short; nobody was answered yet")
    is_unlabelled = path.exists() and labelled is None
    if found.missing or is_unlabelled:
        kept = path.rename(place_aside(directory, path.name))
        log(
            f"the journal of the spool is damaged, {found.missing} commits cannot be read; what "
            f"can be read is carried on with, and the journal kept as {kept}"
        )


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
