"""Where the control socket is, and how a path too long for a socket is reached."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NAME: Final = "control"
"""The socket's name in the first spool directory."""

SOCKET_PATH_OCTETS_MAX: Final = 107
"""`sun_path` has 108 octets, one of them the NUL at its end (unix(7))."""


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A spelling of path that bind and connect accept, valid within the context.

    A long path is reached through a descriptor of its directory. OSError if the
    directory cannot be opened.
    """
    if len(os.fsencode(path)) <= SOCKET_PATH_OCTETS_MAX:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
