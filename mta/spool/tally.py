"""How many messages and recipients wait, without counting them each time; and of which jobs.

The writer's connection has triggers that count rows as they come and go, in a table that is
in memory and rolled back with everything else. What was there before is counted once, when
first asked for, beside the writer: the snapshot that is counted and the number of rows since
are taken in one go.
"""

import asyncio
import contextlib
import sqlite3
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta.errors import SpoolError
from mta.spool.jobs import JobSum, job_sums
from mta.spool.operations import Counts

if TYPE_CHECKING:
    from mta.spool.operations import Ask

_COUNTING: Final = """
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE tally (messages INTEGER NOT NULL, recipients INTEGER NOT NULL);
INSERT INTO tally VALUES (0, 0);
CREATE TEMP TRIGGER message_came AFTER INSERT ON main.message
    BEGIN UPDATE tally SET messages = messages + 1; END;
CREATE TEMP TRIGGER message_went AFTER DELETE ON main.message
    BEGIN UPDATE tally SET messages = messages - 1; END;
CREATE TEMP TRIGGER recipient_came AFTER INSERT ON main.recipient
    BEGIN UPDATE tally SET recipients = recipients + 1; END;
CREATE TEMP TRIGGER recipient_went AFTER DELETE ON main.recipient
    BEGIN UPDATE tally SET recipients = recipients - 1; END;
"""


def keep_tally(connection: sqlite3.Connection) -> None:
    """Have a connection count from now on."""
    connection.executescript(_COUNTING)


class Tally:
    """What a spool holds; its connection is one that `keep_tally` was called for."""

    def __init__(self, ask: "Ask", path: Path, reader: Executor) -> None:
        self._ask = ask
        self._path = path
        self._reader = reader
        self._before: Counts | None = None
        """What was there when the connection began to count."""

    async def counts(self) -> Counts:
        """Messages and recipients that wait. The first time takes half a second a million."""
        if self._before is None:
            self._before = await self._counted()
        since = await self._ask(_since)
        return _sum(self._before, since)

    async def _counted(self) -> Counts:
        snapshot, since = await self._ask(self._snapshot)

        def count() -> Counts:
            with contextlib.closing(snapshot):
                try:
                    # Of an index: to count messages would be to read all content.
                    counts = "SELECT COUNT(DISTINCT id >> 16), COUNT(*) FROM recipient"
                    return Counts(*snapshot.execute(counts).fetchone())
                except sqlite3.Error as error:
                    raise SpoolError(f"the spool cannot be read: {error}") from error

        all_there = await asyncio.get_running_loop().run_in_executor(self._reader, count)
        return _sum(all_there, Counts(-since.messages, -since.recipients))

    async def jobs(self, sort: str, limit: int) -> tuple[list[JobSum], int]:
        """See `job_sums`. It takes seconds a million, and holds up nothing but other such looks."""
        snapshot, _ = await self._ask(self._snapshot)

        def look() -> tuple[list[JobSum], int]:
            with contextlib.closing(snapshot):
                try:
                    return job_sums(snapshot, sort, limit)
                except sqlite3.Error as error:
                    raise SpoolError(f"the spool cannot be read: {error}") from error

        return await asyncio.get_running_loop().run_in_executor(self._reader, look)

    def _snapshot(self, connection: sqlite3.Connection) -> tuple[sqlite3.Connection, Counts]:
        """The spool as it is now, to be read by another thread; and the rows since the start."""
        snapshot = sqlite3.connect(
            f"file:{self._path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        snapshot.execute("BEGIN")
        snapshot.execute("SELECT 1 FROM recipient LIMIT 1").fetchone()
        return snapshot, _since(connection)


def _since(connection: sqlite3.Connection) -> Counts:
    return Counts(*connection.execute("SELECT messages, recipients FROM tally").fetchone())


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(one.messages + other.messages, one.recipients + other.recipients)
