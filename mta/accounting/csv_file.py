"""One accounting file on disk: its dated and numbered pieces. Used by one thread at a time.

`acct.csv` is written as `acct-2026-11-24-0000.csv`; a new piece begins with the day, when
one is as long as it may be, or when told. Guide: acct-file.
"""

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mta.units import UNLIMITED

DAY_S = 86400


class FileSettings(Protocol):
    """What of an accounting file decides its pieces."""

    @property
    def path(self) -> str: ...
    @property
    def move_to(self) -> str: ...
    @property
    def move_interval(self) -> int: ...
    @property
    def max_size(self) -> int: ...
    @property
    def delete_after(self) -> int | None: ...
    @property
    def world_readable(self) -> bool: ...


class CsvFile:
    """Appends to the current piece. OSError where the disk does not take it."""

    def __init__(self, settings: FileSettings, header: bytes, log: Callable[[str], None]) -> None:
        self.settings = settings
        self.piece: Path | None = None
        self.octets = 0
        """How much of the current piece is good."""
        self.begun = 0.0
        """When the current piece began."""
        self._header = header
        self._log = log
        path = Path(settings.path)
        self._directory = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        self._name = re.compile(
            rf"{re.escape(self._stem)}-(\d{{4}}-\d\d-\d\d)-(\d{{4,}}){re.escape(self._suffix)}"
        )
        self._descriptor = -1
        self._day = ""
        self._header_octets = len(header)
        """Of the current piece, which may be of other columns than the next."""
        self._last = ("", -1)
        """Day and number of the last piece: whoever took it away must not meet its name again."""
        self._is_rotation_due = False

    @property
    def move_to(self) -> Path | None:
        """Where complete pieces go, if they do not stay where they are."""
        target = Path(self.settings.move_to) if self.settings.move_to else None
        return None if target == self._directory else target

    @property
    def last_piece(self) -> Path | None:
        """The last that began, wherever it is now."""
        day, number = self._last
        return self._path(day, number) if number >= 0 else None

    @property
    def has_rows(self) -> bool:
        """Whether the current piece has any."""
        return self.piece is not None and self.octets > self._header_octets

    def owns(self, piece: Path) -> bool:
        """Whether that is a piece of this file, by its name."""
        return piece.parent == self._directory and self._name.fullmatch(piece.name) is not None

    def remember(self, piece: Path) -> None:
        """There was such a piece; its number is not used again that day."""
        match = self._name.fullmatch(piece.name)
        if match:
            self._last = max(self._last, (match[1], int(match[2])))

    def resume(self, piece: str, octets: int, begun: float | None = None) -> None:
        """Go on with the piece written last; what is beyond its good octets is cut off."""
        path = Path(piece)
        self.remember(path)
        if not piece or not path.exists():
            return
        match = self._name.fullmatch(path.name)
        self._descriptor = os.open(path, os.O_RDWR)
        state = os.fstat(self._descriptor)
        if state.st_size < octets:
            self._log(f"{path} is shorter than it was; its lost rows cannot be written again")
            octets = state.st_size
        self.piece, self.octets = path, octets
        found = os.pread(self._descriptor, len(self._header), 0)
        self._header_octets = len(self._header)
        if found != self._header:
            self._is_rotation_due = True
            self._header_octets = os.pread(self._descriptor, 1 << 16, 0).find(b"\n") + 1
        os.ftruncate(self._descriptor, octets)
        self._day = match[1] if match else ""
        self.begun = state.st_mtime if begun is None else begun

    def follow(self, settings: FileSettings, header: bytes) -> None:
        """Settings of the same file changed."""
        self._is_rotation_due = self._is_rotation_due or header != self._header
        self.settings, self._header = settings, header

    def is_due(self, now: float) -> bool:
        """Whether a new piece has to begin before the next row."""
        return self._descriptor < 0 or self._is_over(now) or self._is_taken_away()

    def is_complete(self, now: float) -> bool:
        """Whether the current piece has rows and will get no more."""
        return self.has_rows and self._is_over(now)

    def complete_at(self) -> float | None:
        """When the current piece will be complete, if no row comes."""
        if not self.has_rows:
            return None
        at = _day_after(self.begun)
        return at if self.move_to is None else min(at, self.begun + self.settings.move_interval)

    def rotate(self) -> None:
        """The current piece is complete, if it has rows."""
        self._is_rotation_due = self.has_rows or self._is_rotation_due

    def _path(self, day: str, number: int) -> Path:
        return self._directory / f"{self._stem}-{day}-{number:04d}{self._suffix}"

    def _is_over(self, now: float) -> bool:
        settings = self.settings
        return (
            self._is_rotation_due
            or self._day != _day_of(now)
            or self.octets >= settings.max_size
            or (self.move_to is not None and now - self.begun >= settings.move_interval)
        )

    def _is_taken_away(self) -> bool:
        """Whether somebody moved, removed, replaced or emptied the current piece."""
        assert self.piece is not None
        try:
            there = self.piece.stat()
        except FileNotFoundError:
            return True
        ours = os.fstat(self._descriptor)
        return (
            (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)
            or ours.st_size < self.octets
        )  # fmt: skip

    def finish_piece(self) -> Path | None:
        """The current piece gets no more rows; the piece, if it is there and has any.

        Nobody comes back to cut off what is not good, so it is done here.
        """
        piece, has_rows = self.piece, self.has_rows
        if piece is None:
            return None
        if self._descriptor >= 0:
            is_taken_away = self._is_taken_away()
            if os.fstat(self._descriptor).st_size > self.octets:
                os.ftruncate(self._descriptor, self.octets)
                os.fsync(self._descriptor)
            self.close()
            if is_taken_away:
                self._log(f"{piece} was taken away or emptied; a new piece begins")
                piece = None
            elif not has_rows:
                piece.unlink(missing_ok=True)
        self.piece, self.octets = None, 0
        self._is_rotation_due = False
        return piece if has_rows else None

    def begin_piece(self, now: float) -> None:
        """Make the next piece, empty but for its header line."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._day = _day_of(now)
        taken = [
            int(match[2])
            for directory in {self._directory, Path(self.settings.move_to or self._directory)}
            if directory.is_dir()
            for path in directory.iterdir()
            if (match := self._name.fullmatch(path.name)) and match[1] == self._day
        ]
        if self._last[0] == self._day:
            taken.append(self._last[1])
        number = max(taken, default=-1) + 1
        path = self._path(self._day, number)
        mode = 0o644 if self.settings.world_readable else 0o640
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        self.piece, self.octets = path, 0
        self._last = (self._day, number)
        os.fchmod(self._descriptor, mode)
        sync_directory(self._directory)
        self.begun = now
        self._is_rotation_due = False
        self.append(self._header)
        self._header_octets = self.octets

    def abandon_piece(self) -> None:
        """The piece just begun does not count; another has to begin before the next row."""
        self.close()
        if self.piece is not None:
            with suppress(OSError):
                self.piece.unlink()
                day, number = self._last
                self._last = (day, number - 1)
        self.piece, self.octets = None, 0

    def append(self, lines: bytes) -> None:
        """Write lines behind what is good; after an error the piece is as it was."""
        view = memoryview(lines)
        at = self.octets
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                at += written
                view = view[written:]
            if os.fstat(self._descriptor).st_size > at:  # More than that failed before.
                os.ftruncate(self._descriptor, at)
        except OSError:
            os.ftruncate(self._descriptor, self.octets)
            raise
        self.octets = at

    def sync(self) -> None:
        """Have what was written on disk."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)

    def delete_old(self, now: float) -> None:
        """Remove pieces older than `delete-after`, where pieces are not moved away."""
        keep = self.settings.delete_after
        if self.move_to is not None or keep in (None, UNLIMITED) or not self._directory.is_dir():
            return
        assert keep is not None
        for path in self._directory.iterdir():
            if (
                self._name.fullmatch(path.name)
                and path != self.piece
                and path.stat().st_mtime < now - keep
            ):
                path.unlink()
                self._log(f"deleted {path} (delete-after)")

    def close(self) -> None:
        """Done with the file; it can be resumed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def finish_stranded(piece: Path, octets: int) -> None:
    """Have only the good octets of a piece that nobody goes on with; without rows it goes."""
    if not piece.exists():
        return
    with piece.open("r+b") as file:
        if piece.stat().st_size > octets:
            file.truncate(octets)
            os.fsync(file.fileno())
        if not file.readline() or not file.read(1):
            piece.unlink()


def sync_directory(path: Path) -> None:
    """What came and went there is so on disk, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _day_of(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(now))


def _day_after(now: float) -> float:
    """The midnight that comes next, also where a day has 23 hours."""
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday + 1, 0, 0, 0, 0, 0, -1))
