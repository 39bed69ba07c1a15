"""At most N in any M seconds, exactly: a window that slides, not a bucket that fills.

A token bucket lets nearly twice its rate through some window; a provider counts and blocks.
So what was taken is remembered until it has left the window. Takes are kept as *chunks*, a
count with the times of its first and its last take, and a chunk leaves as a whole when its
last take does: late by at most the time the chunk spans, never early.

    limit ≤ 1024    a chunk is one moment: the window is exact, with at most `limit` chunks
    limit > 1024    a chunk spans at most a 1024th of the window: at most a tenth of a
                    percent of the rate is lost, and memory does not grow with the limit

Windows are half open: what was taken at t counts until just before t + M.
"""

from collections import deque
from typing import Final

from mta.units import UNLIMITED, Rate

CHUNKS_MAX: Final = 1024
"""Most parts a window is divided into: 1/1024 of precision for about 100 KB."""
CLOCK_STEP_S: Final = 60
"""A clock found set back by more than this is taken to have stood still meanwhile.

Less than that is waited out. A step forward can't be told from time that passed.
"""


class _Chunk:
    __slots__ = ("count", "first", "last")

    def __init__(self, at: float, count: int) -> None:
        self.first = at
        self.last = at
        self.count = count


class RollingRate:
    """A limiter for one rate; None is unlimited and costs nothing."""

    __slots__ = ("_behind", "_chunks", "_limit", "_now", "_span", "_used", "_window")

    def __init__(self, rate: Rate | None) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._used = 0
        self._now = 0.0
        self._behind = 0
        self._set(rate)

    def available(self, now: float) -> int:
        """How many may be taken now."""
        if self._limit == UNLIMITED:
            return UNLIMITED
        if self._chunks:
            self._forget(self._advance(now))
        return max(self._limit - self._used, 0)

    def take(self, count: int, now: float) -> None:
        """Take some of what is available now; there is no `await` since it was asked for."""
        if self._limit == UNLIMITED or not count:
            return
        at = self._advance(now)
        self._forget(at)
        assert 0 < count <= self._limit - self._used
        chunks = self._chunks
        if chunks and at - chunks[-1].first <= self._span:
            newest = chunks[-1]
            newest.last = at
            newest.count += count
        else:
            chunks.append(_Chunk(at, count))
        self._used += count

    def until(self, now: float) -> float:
        """When at least one is available if nothing is taken before: now, or later."""
        if self.available(now) > 0:
            return now
        excess = self._used - self._limit
        for chunk in self._chunks:
            excess -= chunk.count
            if excess < 0:
                return chunk.last + self._window - self._behind
        raise AssertionError("a limit is at least one")

    def resize(self, rate: Rate | None, now: float) -> None:
        """Follow a new rate; what is remembered of the old window counts in the new one."""
        if self._chunks:
            self._forget(self._advance(now))
        self._set(rate)
        if self._limit == UNLIMITED:
            self._chunks.clear()
            self._used = 0

    def _set(self, rate: Rate | None) -> None:
        self._limit = UNLIMITED if rate is None else rate.limit
        self._window = 0 if rate is None else rate.per_s
        self._span = self._window / CHUNKS_MAX if self._limit > CHUNKS_MAX else 0.0

    def _advance(self, now: float) -> float:
        """The limiter's own time, which never goes back."""
        own = now + self._behind
        if own >= self._now:
            self._now = own
        elif self._now - own > CLOCK_STEP_S:
            # Whole seconds, rounded down: sums with them are exact, and time seems to
            # have passed less than it has.
            self._behind += int(self._now - own)
        return self._now

    def _forget(self, own: float) -> None:
        chunks = self._chunks
        while chunks and chunks[0].last + self._window <= own:
            self._used -= chunks.popleft().count
