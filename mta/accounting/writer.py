"""Moves records from the spool's outbox to the accounting files, each exactly once.

A round: append what is in the outbox to the files, sync them, then in one transaction of
the spool note how far each file is good and delete the records. A crash before that
transaction leaves rows beyond the good part; they are cut off at the next start, and written
again from the outbox. A new piece of a file is noted, empty, before its first row.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mta import clock, failpoints
from mta.accounting.csv_file import CsvFile, FileSettings
from mta.accounting.layout import Layout, LayoutSettings
from mta.errors import SpoolError

if TYPE_CHECKING:
    from mta.model.record import Record

ROUND_S = 0.2
"""How long a row waits for others; people and programs tail these files."""
RETRY_S = 5.0
"""When a file that could not be written is tried again; its rows wait in the outbox."""
TIDY_S = 3600
"""How often pieces that are too old are looked for."""


class Outbox(Protocol):
    """What of the spool accounting depends on."""

    on_records: Callable[[int, Sequence["Record"]], None] | None
    """Called with each row of records the moment it is on disk."""

    async def positions(self) -> dict[str, tuple[str, int]]: ...

    async def pending(self) -> Sequence[tuple[int, Sequence["Record"]]]: ...

    async def written(self) -> dict[int, int]: ...

    def save_positions(
        self,
        upto: int,
        positions: dict[str, tuple[str, int]],
        elsewhere: dict[int, int] | None = None,
    ) -> Awaitable[None]: ...


class _Row(NamedTuple):
    """A row of an outbox: of our own spool, or of another shard's."""

    number: int
    records: Sequence["Record"]
    shard: int | None = None


class AcctFileSettings(LayoutSettings, FileSettings, Protocol):
    """One `<acct-file>`."""


class _File:
    """An accounting file with its layout."""

    def __init__(self, settings: AcctFileSettings, log: Callable[[str], None]) -> None:
        self.name = settings.path
        self.settings = settings
        self.layout = Layout(settings)
        self.csv = CsvFile(settings, self.layout.header, log)


class AccountingWriter:
    """The accounting files of the daemon, and the outboxes they are written from."""

    def __init__(
        self,
        outbox: Outbox,
        settings: Sequence[AcctFileSettings],
        *,
        log: Callable[[str], None],
        now: Callable[[], float] = clock.now,
    ) -> None:
        self._outbox = outbox
        self._log = log
        self._now = now
        self._files = [_File(one, log) for one in settings if not one.path.startswith("|")]
        self._rows: list[_Row] = []
        self._elsewhere: dict[int, int] = {}
        """By other shard: how far its outbox is in the files."""
        self._come: dict[int, int] = {}
        """By other shard: the last row of its outbox that came."""
        self._tell: dict[int, Callable[[int], None]] = {}
        """By other shard: who waits to hear how far its outbox is in the files."""
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._next_files: list[_File] | None = None
        self._tidy_at = 0.0

    async def start(self) -> None:
        """Cut off what a crash left half written, and begin with what waits in the outbox."""
        positions = await self._outbox.positions()
        for file in self._files:
            piece, octets = positions.get(file.name, ("", 0))
            await asyncio.to_thread(file.csv.resume, piece, octets)
        self._elsewhere = await self._outbox.written()
        self._come = dict(self._elsewhere)
        self._rows = [_Row(*row) for row in await self._outbox.pending()]
        if self._rows:
            self._arrived.set()
        self._outbox.on_records = self._take
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write what has come so far, and end."""
        self._stopping.set()
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._outbox.on_records = None
        for file in self._files:
            file.csv.close()

    def rotate(self, name: str = "") -> None:
        """Begin a new piece of each file, or of the one so named. Guide: pmta rotate acct."""
        for file in self._files:
            if name in ("", file.name):
                file.csv.rotate()

    def reload(self, settings: Sequence[AcctFileSettings]) -> None:
        """Follow a new configuration from the next round on.

        A file whose columns changed begins a new piece; the others go on with theirs.
        """
        self._next_files = [_File(one, self._log) for one in settings if one.path[:1] != "|"]
        self._arrived.set()

    def _take(self, row: int, records: Sequence["Record"]) -> None:
        self._rows.append(_Row(row, records))
        self._arrived.set()

    def take_from(
        self,
        shard: int,
        row: int,
        records: Sequence["Record"],
        written: Callable[[int], None],
    ) -> None:
        """A row of another shard's outbox; rows come in order, and again after a break.

        Numbers may be missing: of a row that cannot be read, and where a salvage went on.
        """
        self._tell[shard] = written
        if row <= self._elsewhere.get(shard, 0):
            written(row)
        elif row > self._come.get(shard, 0):
            self._come[shard] = row
            self._rows.append(_Row(row, records, shard))
            self._arrived.set()

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIDY_S):
                    await self._arrived.wait()
            await self._pause(ROUND_S)
            self._arrived.clear()
            self._adopt()
            rows, self._rows = self._rows, []
            if rows and not await self._write(rows):
                self._rows = rows + self._rows
                if self._stopping.is_set():
                    return
                await self._pause(RETRY_S)
                self._arrived.set()
            if self._now() >= self._tidy_at:
                self._tidy_at = self._now() + TIDY_S
                await asyncio.to_thread(self._tidy, self._now())
            if self._stopping.is_set() and not self._rows:
                return

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _adopt(self) -> None:
        """Take over the files of a reload."""
        if self._next_files is None:
            return
        old = {file.name: file for file in self._files}
        self._files, self._next_files = self._next_files, None
        for file in self._files:
            before = old.pop(file.name, None)
            if before is None:
                continue
            file.csv = before.csv
            file.csv.follow(file.settings, file.layout.header)
        for gone in old.values():
            gone.csv.close()

    async def _write(self, rows: list[_Row]) -> bool:
        """One round; False if a disk did not take it and it has to be done again."""
        now = self._now()
        records = [record for row in rows for record in row.records]
        made = [(file, *file.layout.lines(records)) for file in self._files]
        wanted = [(file, lines) for file, lines, count in made if count]
        good: dict[str, int] = {}
        try:
            # All of them before the first row: what is noted then must not count rows.
            for file, _ in wanted:
                if file.csv.is_due(now):
                    await self._begin_piece(file, now)
            good = {file.name: file.csv.octets for file in self._files}
            for file, lines in wanted:
                failpoints.reach("accounting.before-append")
                await asyncio.to_thread(file.csv.append, lines)
                failpoints.reach("accounting.after-append")
            await asyncio.to_thread(self._sync)
            failpoints.reach("accounting.before-position")
            upto = max((row.number for row in rows if row.shard is None), default=-1)
            elsewhere = {row.shard: row.number for row in rows if row.shard is not None}
            await self._outbox.save_positions(upto, self._positions(), elsewhere)
            failpoints.reach("accounting.after-position")
            self._elsewhere |= elsewhere
            for shard, row in elsewhere.items():
                self._tell[shard](row)
        except (OSError, SpoolError) as error:
            self._log(f"accounting cannot be written, its records wait in the spool: {error}")
            for file in self._files:
                # The same rows go to the same place again, so whoever reads them there may go on.
                file.csv.octets = good.get(file.name, file.csv.octets)
            return False
        return True

    async def _begin_piece(self, file: _File, now: float) -> None:
        """A piece that is not noted has no rows: a start would not know where to cut it off."""
        await asyncio.to_thread(file.csv.close_piece)
        try:
            await asyncio.to_thread(file.csv.begin_piece, now)
            await asyncio.to_thread(file.csv.sync)
            await self._outbox.save_positions(-1, self._positions())
        except (OSError, SpoolError):
            await asyncio.to_thread(file.csv.abandon_piece)
            raise

    def _positions(self) -> dict[str, tuple[str, int]]:
        return {
            file.name: (str(file.csv.piece), file.csv.octets)
            for file in self._files
            if file.csv.piece is not None
        }

    def _sync(self) -> None:
        for file in self._files:
            file.csv.sync()

    def _tidy(self, now: float) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.csv.delete_old(now)
