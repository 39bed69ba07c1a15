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
        self._header = header
        self._log = log
        path = Path(settings.path)
        self._directory = path.parent
        self._stem, self._suffix = path.stem, path.suffix
        self._name = re.compile(
            rf"{re.escape(self._stem)}-(\d{{4}}-\d\d-\d\d)-(\d{{4}}){re.escape(self._suffix)}"
        )
        self._descriptor = -1
        self._day = ""
        self._begun = 0.0
        self._is_rotation_due = False

    def resume(self, piece: str, octets: int) -> None:
        """Go on with the piece written last; what is beyond its good octets is cut off."""
        path = Path(piece)
        if not piece or not path.exists():
            return
        match = self._name.fullmatch(path.name)
        self._descriptor = os.open(path, os.O_RDWR)
        if os.fstat(self._descriptor).st_size < octets:
            self._log(f"{path} is shorter than it was; its lost rows cannot be written again")
            octets = os.fstat(self._descriptor).st_size
        self.piece, self.octets = path, octets
        self._is_rotation_due = os.pread(self._descriptor, len(self._header), 0) != self._header
        os.ftruncate(self._descriptor, octets)
        self._day = match[1] if match else ""
        self._begun = path.stat().st_mtime

    def follow(self, settings: FileSettings, header: bytes) -> None:
        """Settings of the same file changed; a piece that somebody removed is given up."""
        self._is_rotation_due = self._is_rotation_due or header != self._header
        self.settings, self._header = settings, header
        if self.piece is not None and not self.piece.exists():
            self.close()
            self.piece, self.octets = None, 0

    def is_due(self, now: float) -> bool:
        """Whether a new piece has to begin before the next row."""
        if self._descriptor < 0 or self._is_rotation_due:
            return True
        settings = self.settings
        return (
            self._day != _day_of(now)
            or self.octets >= settings.max_size
            or (bool(settings.move_to) and now - self._begun >= settings.move_interval)
        )

    def rotate(self) -> None:
        """Begin a new piece with the next row."""
        self._is_rotation_due = self.octets > len(self._header) or self._is_rotation_due

    def close_piece(self) -> None:
        """The current piece is complete; it is moved if that is asked for.

        Nobody comes back to cut off what is not good, so it is done here.
        """
        if self._descriptor >= 0:
            if os.fstat(self._descriptor).st_size > self.octets:
                os.ftruncate(self._descriptor, self.octets)
                os.fsync(self._descriptor)
            self.close()
        if self.piece is not None and self.settings.move_to:
            target = Path(self.settings.move_to) / self.piece.name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                self.piece.rename(target)
                self._log(f"moved {self.piece} to {target}")
            except OSError as error:
                self._log(f"cannot move {self.piece} to {target}: {error.strerror}")
        self.piece = None

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
        number = max(taken, default=-1) + 1
        path = self._directory / f"{self._stem}-{self._day}-{number:04d}{self._suffix}"
        mode = 0o644 if self.settings.world_readable else 0o640
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)
        self.piece, self.octets = path, 0
        os.fchmod(self._descriptor, mode)
        _sync_directory(self._directory)
        self._begun = now
        self._is_rotation_due = False
        self.append(self._header)

    def abandon_piece(self) -> None:
        """The piece just begun does not count; another has to begin before the next row."""
        self.close()
        if self.piece is not None:
            with suppress(OSError):
                self.piece.unlink()
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
        if self.settings.move_to or keep in (None, UNLIMITED) or not self._directory.is_dir():
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


def _day_of(now: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(now))


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
