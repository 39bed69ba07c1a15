"""The only module that reads a clock; everything else takes `now`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_read: Callable[[], float] = time.time


def now() -> float:
    """Seconds since the epoch."""
    return _read()


@contextmanager
def told_by(source: Callable[[], float]) -> Iterator[None]:
    """Within, `now` is what source says: the simulator's time passes as it likes."""
    global _read  # noqa: PLW0603 - the one clock of the process is what this module is
    before, _read = _read, source
    try:
        yield
    finally:
        _read = before
