"""How a file is known not to be what was written to it, and where what is damaged is kept."""

import sqlite3
from pathlib import Path
from typing import Final
from zlib import crc32

from mta import clock

DIRECTORY: Final = "damaged"
"""Of the spool: for whoever wants to look at it."""

READ_OCTETS: Final = 1 << 20
"""How much of a file is in memory at once while it is compared with its checksum."""

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def is_damage(error: BaseException | None) -> bool:
    """Whether an error says that the database is damaged, not merely full or locked."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGE


def place_aside(directory: Path, name: str) -> Path:
    """Where in `damaged/` of a spool's directory something of that name is kept from now on."""
    aside = directory / DIRECTORY
    aside.mkdir(exist_ok=True, mode=0o700)
    return aside / f"{clock.now():.0f}-{name}"


def file_sum(path: Path) -> int:
    """The CRC-32 of a file's octets."""
    total = 0
    with path.open("rb") as file:
        while octets := file.read(READ_OCTETS):
            total = crc32(octets, total)
    return total
