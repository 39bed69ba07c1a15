"""A file or directory, made to outlive a power failure."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when what was written to it is on the disk. OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
