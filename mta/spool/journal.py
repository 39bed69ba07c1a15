"""The journal: what was accepted and settled, on disk with one write and one sync.

The database is the spool; the journal stands before it. What is in it and not yet in the
database the writer also has in memory (`spool/pending.py`). Most mail is delivered within
milliseconds, so most of it never comes to the database at all.

    label    MAGIC, the mark of this file, a checksum: written once
    frame    head (HEAD, little-endian), text, contents
    text     a line of JSON for each operation: see `pending.py`
    contents of the messages among them, one after the other; each is covered by a checksum
             in the text, and the text by one in the head

The file is written over and over: frames of one *generation* follow each other from its start,
numbered from 0. Once all of them are in the database, which notes the generation and how many they
were with the same transaction (`counter` `journal`, `journal-frames`), the next one begins at the
start again. A crash leaves frames of the last generation, and behind them what an older one wrote,
which its number tells apart. Where that transaction fails the generation goes on; the disk may
have it all the same, and a crash brings it back: the frames after those it counted come then.

Where a frame is damaged the next is looked for by the mark, which nobody who sends mail can know:
content cannot pass for a frame. The database has the mark, too (`counter` `journal-mark`).
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from mta.spool.sync import sync

NAME: Final = "spool.journal"
MAGIC: Final = b"PtrlJrn1"
LABEL: Final = struct.Struct("<8sQI")
"""MAGIC, the mark, the checksum of both."""
HEAD: Final = struct.Struct("<QQIIQI")
"""The mark, generation, number, octets of the text, octets of the contents, checksum."""
OCTETS_MAX: Final = 32 << 20
"""A generation ends before its next frame once it is that long."""
BUFFERS_MAX: Final = 1000
"""In one call of the kernel; it takes 1024."""
MARK_BITS: Final = 63


class Frame(NamedTuple):
    """One commit, as read back."""

    number: int
    text: bytes
    contents: bytes


class Applied(NamedTuple):
    """What of a journal is in the database."""

    generation: int
    frames: int
    """Of that generation; of those before it all."""


class Found(NamedTuple):
    """What a journal holds that is not in the database, all of it of one generation."""

    generation: int
    """0 if it holds nothing that is whole."""
    frames: list[Frame]
    missing: int
    """Frames that are damaged, though later ones are whole."""
    is_cut: bool
    """Whether a frame that is not whole comes last: a crash came while it was written."""


class Journal:
    """The file, open for the frames of a generation; used by one thread at a time."""

    def __init__(self, path: Path, mark: int, generation: int) -> None:
        """Open it, or make it; OSError if that cannot be done."""
        self._mark = mark
        is_new = not path.exists()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if is_new:
            os.pwrite(self._file, _label(mark), 0)
            os.fsync(self._file)
            sync(path.parent)
        self.begin(generation)

    def begin(self, generation: int) -> None:
        """All of the generation before is in the database: write over it."""
        self.generation = generation
        self.octets = LABEL.size
        self.frames = 0
        """Of this generation, so far."""

    @property
    def is_long(self) -> bool:
        """Whether it is time for another generation."""
        return self.octets >= OCTETS_MAX

    def append(self, text: bytes, contents: Sequence[bytes], *, is_synced: bool) -> None:
        """Add a frame; it is on disk when this returns, if it is to be synced.

        OSError if it is not: the next frame takes its place.
        """
        length = sum(map(len, contents))
        head = _head(self._mark, self.generation, self.frames, text, length)
        try:
            self._write([head, text, *contents], self.octets)
            if is_synced:
                os.fdatasync(self._file)
        except OSError:
            self._blot_out()
            raise
        self.frames += 1
        self.octets += HEAD.size + len(text) + length

    def sync(self) -> None:
        """Return when all frames are on disk. OSError."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _write(self, buffers: list[bytes], at: int) -> None:
        for start in range(0, len(buffers), BUFFERS_MAX):
            some = buffers[start : start + BUFFERS_MAX]
            wanted = sum(map(len, some))
            written = os.pwritev(self._file, some, at)
            if written < wanted:
                rest = memoryview(b"".join(some))
                while written < wanted:
                    written += os.pwrite(self._file, rest[written:], at + written)
            at += wanted

    def _blot_out(self) -> None:
        """What was refused must not come back after a crash, if the disk allows."""
        with suppress(OSError):
            os.pwrite(self._file, bytes(HEAD.size), self.octets)


def mark_of(path: Path) -> int | None:
    """The mark a journal has on its label; None if there is none that can be read."""
    with suppress(OSError, struct.error):
        with path.open("rb") as file:
            magic, mark, _ = LABEL.unpack(label := file.read(LABEL.size))
        if magic == MAGIC and label == _label(mark):
            return int(mark)
    return None


def read(path: Path, mark: int, applied: Applied) -> Found:
    """What a journal holds that comes after what is `applied`. OSError."""
    octets = path.read_bytes() if path.exists() else b""
    next_frame: tuple[int, int] = applied
    generation = at = missing = 0
    frames: list[Frame] = []
    is_cut = False
    for start in _places(octets, mark):
        _, of, number, text, contents, _ = HEAD.unpack_from(octets, start)
        if start < at or (of, number) < next_frame or of != (generation or of):
            continue
        end = start + HEAD.size + text + contents
        begin = start + HEAD.size
        frame = Frame(number, octets[begin : begin + text], octets[end - contents : end])
        wanted = _head(mark, of, number, frame.text, contents)
        is_cut = end > len(octets) or octets[start : start + HEAD.size] != wanted
        if is_cut:
            continue
        frames.append(frame)
        missing += number - (next_frame[1] if of == next_frame[0] else 0)
        generation, next_frame, at = of, (of, number + 1), end
    return Found(generation, frames, missing, is_cut)


def _places(octets: bytes, mark: int) -> Iterator[int]:
    """Where a frame may begin."""
    wanted = mark.to_bytes(8, "little")
    at = octets.find(wanted, LABEL.size)
    while at >= 0 and at + HEAD.size <= len(octets):
        yield at
        at = octets.find(wanted, at + 1)


def _label(mark: int) -> bytes:
    bare = LABEL.pack(MAGIC, mark, 0)
    return LABEL.pack(MAGIC, mark, crc32(bare))


def _head(mark: int, generation: int, number: int, text: bytes, length: int) -> bytes:
    bare = HEAD.pack(mark, generation, number, len(text), length, 0)
    return HEAD.pack(mark, generation, number, len(text), length, crc32(text, crc32(bare)))
