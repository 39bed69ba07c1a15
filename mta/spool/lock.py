"""One process for each spool."""

import fcntl
import os
from pathlib import Path

from mta.errors import SpoolError


def take_lock(directory: Path) -> int:
    """A descriptor that owns the spool until it is closed; SpoolError if another process does.

    The directory is made if there is none.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SpoolError(
            f"the spool directory {directory} cannot be made: {error.strerror}"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise SpoolError(
            f"the spool {directory} is in use by process {holder or 'unknown'}; "
            "stop that one first, or give this one a spool of its own"
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
