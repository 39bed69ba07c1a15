"""Where large content goes while it comes in."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from zlib import crc32

from mta.model.message import FileContent

MEMORY_OCTETS_MAX: Final = 256 << 10
"""Content larger than this goes to a file as it comes."""


class Spill:
    """Large content on its way to a file. A full disk is noted, and the rest taken unread."""

    def __init__(self, directory: Path) -> None:
        self.first = b""
        """The first piece, which has the header block."""
        self.is_full = False
        self._crc = 0
        self._directory = directory
        self._file: IO[bytes] | None = None
        self._path: Path | None = None

    @property
    def is_used(self) -> bool:
        return self._path is not None

    def write(self, octets: bytes, *, keep: bool) -> None:
        if self._path is None:
            self._open()
            self.first = octets
        if self._file is None or not keep:
            return
        try:
            self._file.write(octets)
            self._crc = crc32(octets, self._crc)
        except OSError:
            self._close(full=True)

    def content(self, size: int) -> FileContent:
        """The file, complete."""
        assert self._path is not None
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                self.is_full = True
            self._file = None
        return FileContent(self._path, size, self._crc)

    def discard(self) -> None:
        """Remove the file if nobody took it."""
        if self._file is not None:
            self._close(full=False)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        try:
            descriptor, name = tempfile.mkstemp(dir=self._directory)
        except OSError:
            self._path = self._directory / "none"
            self.is_full = True
            return
        self._path = Path(name)
        self._file = os.fdopen(descriptor, "wb", buffering=MEMORY_OCTETS_MAX)

    def _close(self, *, full: bool) -> None:
        file, self._file = self._file, None
        self.is_full = self.is_full or full
        if file is not None:
            with suppress(OSError):
                file.close()
