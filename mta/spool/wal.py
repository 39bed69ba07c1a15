"""The write-ahead log of a spool database, looked at before SQLite forgets what is in it.

SQLite reads the log up to the first frame whose checksum is wrong and drops the rest without
a word, as it must after a power failure: the last transaction may be half there. A damaged
octet in the middle looks the same to it, and all mail committed behind it would be gone.
The two can be told apart, because every commit is synced before the next one begins: more
than one whole commit behind the break means that the break is damage.

Such a log is mended: the checksums are computed anew over what is there, so that SQLite reads
all of it. What was damaged is then one page, and whoever reads a row of it finds out.
Layout: https://www.sqlite.org/fileformat2.html#the_write_ahead_log.
"""

import struct
from pathlib import Path
from typing import Final, NamedTuple

HEADER_OCTETS: Final = 32
FRAME_HEADER_OCTETS: Final = 24
_HEADER: Final = struct.Struct(">8I")
"""Magic, version, page size, checkpoint, two salts, two checksums."""
_FRAME: Final = struct.Struct(">6I")
"""Page, pages of the database after a commit or 0, two salts, two checksums."""
_MAGIC_LITTLE: Final = 0x377F0682
_MAGIC_BIG: Final = 0x377F0683
_MASK: Final = 0xFFFFFFFF

Sums = tuple[int, int]


class Frame(NamedTuple):
    """The head of one frame of this generation of the log."""

    at: int
    """Where it begins in the file, octets."""
    is_commit: bool
    sums: Sums


class Log(NamedTuple):
    """What a log holds, by its own account."""

    page_octets: int
    order: str
    frames: list[Frame]
    """Up to the last frame of this generation; those of an earlier one follow it."""


def read(path: Path) -> Log | None:
    """The frames of a log; None if there is no log or its head cannot be read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEADER_OCTETS)
            if len(head) < HEADER_OCTETS:
                return None
            magic, _, page_octets, _, salt1, salt2, _, _ = _HEADER.unpack(head)
            if magic not in (_MAGIC_LITTLE, _MAGIC_BIG) or not 512 <= page_octets <= 65536:
                return None
            frames = []
            step = FRAME_HEADER_OCTETS + page_octets
            for at in range(HEADER_OCTETS, size - step + 1, step):
                file.seek(at)
                _, commit, *salts, sum1, sum2 = _FRAME.unpack(file.read(FRAME_HEADER_OCTETS))
                if salts == [salt1, salt2]:
                    frames.append(Frame(at, commit != 0, (sum1, sum2)))
                elif not frames or frames[-1].at != at - step:
                    # A frame of another generation follows one: here this one ends. One alone
                    # in the middle may be damage.
                    break
    except FileNotFoundError:
        return None
    return Log(page_octets, "<" if magic == _MAGIC_LITTLE else ">", frames)


def commits_behind(log: Log, frames_read: int) -> int:
    """How many whole commits stand behind the frames that SQLite has read."""
    end = HEADER_OCTETS + frames_read * (FRAME_HEADER_OCTETS + log.page_octets)
    return sum(frame.is_commit for frame in log.frames if frame.at >= end)


def mend(path: Path, log: Log) -> int:
    """Give a log right checksums; how many frames had wrong ones.

    The file is written in place: keep a copy of it first.
    """
    wrong = 0
    with path.open("r+b") as file:
        head = file.read(HEADER_OCTETS)
        was = now = checksum(head[: _HEADER.size - 8], log.order, (0, 0))
        file.seek(_HEADER.size - 8)
        file.write(struct.pack(">2I", *now))
        salts = head[16:24]
        step = FRAME_HEADER_OCTETS + log.page_octets
        last = log.frames[-1].at if log.frames else 0
        for at in range(HEADER_OCTETS, last + 1, step):
            file.seek(at)
            frame = file.read(step)
            covered = frame[:8] + frame[FRAME_HEADER_OCTETS:]
            stored: Sums = struct.unpack(">2I", frame[16:24])
            found = checksum(covered, log.order, was)
            wrong += found != stored
            now = found if was == now else checksum(covered, log.order, now)
            file.seek(at + 8)
            file.write(salts + struct.pack(">2I", *now))
            was = stored
    return wrong


def checksum(octets: bytes, order: str, sums: Sums) -> Sums:
    """SQLite's checksum over octets, a multiple of eight, going on from sums."""
    first, second = sums
    words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = first + one + second & _MASK
        second = second + other + first & _MASK
    return first, second
