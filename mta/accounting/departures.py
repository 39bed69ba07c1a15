"""Complete pieces on their way to where `move-to` says. Used by one thread at a time.

A piece that cannot be moved is tried again, and over a restart: the spool has the list.
Guide: move-to.
"""

import errno
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mta.accounting.csv_file import sync_directory

_NUMBERED: Final = re.compile(r"(.*-\d{4}-\d\d-\d\d-)(\d{4,})(\..*)?", re.DOTALL)


class Departures:
    """Pieces that have to be moved."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self.waiting: dict[Path, Path] = {}
        """By piece: the directory it goes to."""
        self._log = log
        self._said: dict[Path, str] = {}
        """By piece: why it could not be moved, which is said once."""

    def move(self) -> list[Path]:
        """Move what can be moved; those that wait no more."""
        done = []
        for piece, directory in list(self.waiting.items()):
            target = directory / piece.name
            try:
                directory.mkdir(parents=True, exist_ok=True)
                target = _free(target)
                piece.rename(target)
            except FileNotFoundError:
                if not _is_gone(piece):
                    self._fail(piece, target, "there is no such directory")
                    continue
            except OSError as error:
                self._fail(piece, target, _reason(error))
                continue
            else:
                self._log(f"moved {piece} to {target}")
                with suppress(OSError):
                    sync_directory(directory)
                    sync_directory(piece.parent)
            self._said.pop(piece, None)
            del self.waiting[piece]
            done.append(piece)
        return done

    def _fail(self, piece: Path, target: Path, reason: str) -> None:
        if self._said.get(piece) != reason:
            self._said[piece] = reason
            self._log(f"cannot move {piece} to {target}, it is tried again: {reason}")


def _free(target: Path) -> Path:
    """The target, or where something is there, the next number: nothing is written over."""
    while target.exists():
        match = _NUMBERED.fullmatch(target.name)
        if match is None:
            raise FileExistsError(errno.EEXIST, "there is a file of that name")
        target = target.with_name(f"{match[1]}{int(match[2]) + 1:04d}{match[3] or ''}")
    return target


def _is_gone(piece: Path) -> bool:
    try:
        return not piece.exists()
    except OSError:
        return False


def _reason(error: OSError) -> str:
    if error.errno == errno.EXDEV:
        return "move-to has to be on the same file system"
    return error.strerror or str(error)
