"""`mta fmt`: configuration files in their canonical layout."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mta.config.layout import laid_out


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What goes to standard output, and what could not be done."""

    text: str
    problems: tuple[str, ...]


def lay_out(files: Sequence[str], *, writes: bool) -> LaidOut:
    """Lay each file out; with `writes` in its place, and the text names those that changed."""
    texts: list[str] = []
    problems: list[str] = []
    for file in files:
        try:
            before = Path(file).read_bytes().decode()
            after = laid_out(before)
            if not writes:
                texts.append(after)
            elif after != before:
                _replace(Path(file), after)
                texts.append(f"{file}\n")
        except UnicodeDecodeError:
            problems.append(f"{file}: not UTF-8; left as it is")
        except OSError as error:
            problems.append(f"{file}: {error.strerror or error}")
    return LaidOut("".join(texts), tuple(problems))


def _replace(path: Path, text: str) -> None:
    """All of the new text or all of the old stands there, whatever happens."""
    target = path.resolve()
    new = target.with_name(f".{target.name}.new")
    status = target.stat()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IMODE(status.st_mode))
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
            if os.geteuid() == 0:
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
