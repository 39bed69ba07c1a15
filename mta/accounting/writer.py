"""Moves records from the spool's outbox to the accounting files, each exactly once.

A round: append what is in the outbox to the files, sync them, then in one transaction of
the spool note how far each file is good and delete the records. A crash before that
transaction leaves rows beyond the good part; they are cut off at the next start, and written
again from the outbox. A new piece of a file is noted, empty, before its first row.

A piece that is complete goes where `move-to` says without waiting for another row. That it
gets no more rows is noted first, and where it has to go as long as it has to.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mta import clock, failpoints
from mta.accounting.csv_file import CsvFile, FileSettings, finish_stranded
from mta.accounting.departures import Departures
from mta.accounting.layout import Layout, LayoutSettings
from mta.errors import SpoolError

if TYPE_CHECKING:
    from mta.model.record import Record

ROUND_S = 0.2
"""How long a row waits for others; people and programs tail these files."""
RETRY_S = 5.0
"""When a file that could not be written is tried again; its rows wait in the outbox."""
WAKE_S = 60.0
"""The longest wait while a piece has rows, as the clock may be set; then, too, what could not
be moved is tried again."""
WAKE_MIN_S = 1.0
TIDY_S = 3600
"""How often pieces that are too old are looked for."""


class Outbox(Protocol):
    """What of the spool accounting depends on."""

    on_records: Callable[[int, Sequence["Record"]], None] | None
    """Called with each row of records the moment it is on disk."""

    async def positions(self) -> dict[str, tuple[str, int]]: ...

    async def pieces(self) -> dict[str, tuple[str, float]]: ...

    async def pending(self) -> Sequence[tuple[int, Sequence["Record"]]]: ...

    async def written(self) -> dict[int, int]: ...

    def save_positions(
        self,
        upto: int,
        positions: dict[str, tuple[str, int]],
        elsewhere: dict[int, int] | None = None,
        pieces: dict[str, tuple[str, float] | None] | None = None,
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
        self._departures = Departures(log)
        self._move_at = 0.0
        self._noted: dict[str, tuple[str, float]] = {}
        """What the spool says of pieces."""
        self._gone: set[str] = set()
        """Files that are configured no more, until that is noted."""
        self._ending: list[_File] = []
        """Such files, until their piece is ended."""

    async def start(self) -> None:
        """Cut off what a crash left half written, and begin with what waits in the outbox."""
        positions = await self._outbox.positions()
        self._noted = await self._outbox.pieces()
        for file in self._files:
            piece, octets = positions.pop(file.name, ("", 0))
            _, begun = self._noted.get(piece, ("", None))
            await asyncio.to_thread(file.csv.resume, piece, octets, begun)
        await asyncio.to_thread(self._take_stranded, positions)
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
        """End the piece of each file, or of the one so named. Guide: pmta rotate acct."""
        for file in self._files:
            if name in ("", file.name):
                file.csv.rotate()
        self._arrived.set()

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
                async with asyncio.timeout(self._wait()):
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
            await self._end_pieces()
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

    def _wait(self) -> float:
        """How long nothing has to be done if nothing comes."""
        now = self._now()
        ends = [at for file in self._files if (at := file.csv.complete_at()) is not None]
        if self._departures.waiting:
            ends.append(self._move_at)
        return min(WAKE_S, max(WAKE_MIN_S, min(ends) - now)) if ends else TIDY_S

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
        self._ending += old.values()
        for piece, directory in list(self._departures.waiting.items()):
            self._depart(piece, directory)

    def _take_stranded(self, positions: dict[str, tuple[str, int]]) -> None:
        """Pieces that nobody goes on with: of files that are gone, or not moved before a stop."""
        for name, (piece, octets) in positions.items():
            self._gone.add(name)
            if piece:
                try:
                    finish_stranded(Path(piece), octets)
                except OSError as error:
                    self._log(f"{piece} cannot be ended: {error.strerror}")
        for path, (move_to, _) in self._noted.items():
            noted = Path(path)
            for file in self._files:
                if file.csv.owns(noted):
                    file.csv.remember(noted)
            if move_to and all(file.csv.piece != noted for file in self._files):
                self._depart(noted, Path(move_to))

    def _depart(self, piece: Path, directory: Path) -> None:
        """A complete piece has to be moved, by what is configured now if its file still is."""
        self._departures.waiting[piece] = directory
        for file in self._files:
            if file.csv.owns(piece):
                if file.csv.move_to is None:
                    del self._departures.waiting[piece]
                else:
                    self._departures.waiting[piece] = file.csv.move_to
        self._move_at = 0.0

    async def _finish(self, file: _File) -> None:
        """The current piece of a file gets no more rows."""
        piece = await asyncio.to_thread(file.csv.finish_piece)
        if piece is not None and file.csv.move_to is not None:
            self._depart(piece, file.csv.move_to)

    async def _end_pieces(self) -> None:
        """Finish the pieces that are complete, and move what has to be moved."""
        now = self._now()
        try:
            while self._ending:
                await self._finish(self._ending[-1])
                self._gone.add(self._ending.pop().name)
            for file in self._files:
                if file.csv.is_complete(now):
                    await self._finish(file)
            await self._note()
            if self._departures.waiting and now >= self._move_at:
                self._move_at = now + WAKE_S
                await asyncio.to_thread(self._departures.move)
                await self._note()
        except (OSError, SpoolError) as error:
            self._log(f"an accounting file cannot be ended: {error}")
            await self._pause(RETRY_S)

    async def _note(self) -> None:
        """Have the spool know what has become of pieces, if it does not."""
        changes = self._changes()
        if changes or self._gone:
            gone = dict.fromkeys(self._gone, ("", 0))
            await self._save_pieces(gone, changes)
            self._gone.difference_update(gone)

    async def _save_pieces(
        self,
        gone: dict[str, tuple[str, int]],
        changes: dict[str, tuple[str, float] | None],
    ) -> None:
        await self._outbox.save_positions(-1, gone | self._positions(), None, changes)
        for path, piece in changes.items():
            self._noted.pop(path, None)
            if piece is not None:
                self._noted[path] = piece

    def _changes(self) -> dict[str, tuple[str, float] | None]:
        """What the spool does not know of pieces."""
        pieces = {}
        for file in [*self._ending, *self._files]:
            if file.csv.piece is not None:
                pieces[str(file.csv.piece)] = (str(file.csv.move_to or ""), file.csv.begun)
            elif file.csv.last_piece is not None:
                pieces[str(file.csv.last_piece)] = ("", 0.0)
        for piece, directory in self._departures.waiting.items():
            pieces[str(piece)] = (str(directory), 0.0)
        return {
            path: pieces.get(path)
            for path in pieces | self._noted
            if pieces.get(path) != self._noted.get(path)
        }

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
        await self._finish(file)
        try:
            await asyncio.to_thread(file.csv.begin_piece, now)
            await asyncio.to_thread(file.csv.sync)
            await self._save_pieces({}, self._changes())
        except (OSError, SpoolError):
            await asyncio.to_thread(file.csv.abandon_piece)
            raise

    def _positions(self) -> dict[str, tuple[str, int]]:
        return {file.name: (str(file.csv.piece or ""), file.csv.octets) for file in self._files}

    def _sync(self) -> None:
        for file in self._files:
            file.csv.sync()

    def _tidy(self, now: float) -> None:
        for file in self._files:
            with contextlib.suppress(OSError):
                file.csv.delete_old(now)
