"""The only module that reads a clock; everything else takes `now`.

The clock on the wall may be set while mail waits. Set forward, it is followed at once: that cannot
be told from time that passed. Set back, it would have every retry wait until it had caught up, so
time goes on from where it was, at half its pace, until the clock on the wall is there. It never
goes back.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

PACE: Final = 0.5
"""Of a clock that waits for the one on the wall: an hour is made good in two, and meanwhile retries
and rates take twice as long, which breaks no limit."""


class SteadyClock:
    """Seconds since the epoch, from a clock that may be set and one that only goes forward."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._last = wall()
        self._read_at = steady()

    def now(self) -> float:
        """See the module."""
        steady = self._steady()
        waited = self._last + PACE * (steady - self._read_at)
        wall = self._wall()
        self._read_at = steady
        self._last = last = wall if wall > waited else waited
        return last

    def ahead(self) -> float:
        """How many seconds it is ahead of the clock on the wall, which was set back."""
        return max(0.0, self.now() - self._wall())


_steady = SteadyClock()
_read: Callable[[], float] = _steady.now


def now() -> float:
    """Seconds since the epoch."""
    return _read()


def ahead() -> float:
    """How many seconds `now` is ahead of the clock on the wall, which was set back."""
    return _steady.ahead()


@contextmanager
def told_by(source: Callable[[], float]) -> Iterator[None]:
    """Within, `now` is what source says: the simulator's time passes as it likes."""
    global _read  # noqa: PLW0603 - the one clock of the process is what this module is
    before, _read = _read, source
    try:
        yield
    finally:
        _read = before
