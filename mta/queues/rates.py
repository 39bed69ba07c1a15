"""At most N in any M seconds, exactly: a window that slides, not a bucket that fills.

A token bucket lets nearly twice its rate through some window; a provider counts and blocks.
So what was taken is remembered until it has left the window. Takes are kept as *chunks*, a
count with the times of its first and its last take, and a chunk leaves as a whole when its
last take does: late by at most the time the chunk spans, never early.

    limit ≤ 1024    a chunk is one moment: the window is exact, with at most `limit` chunks
    limit > 1024    a chunk spans at most a 1024th of the window: at most a tenth of a
                    percent of the rate is lost, and memory does not grow with the limit

Windows are half open: what was taken at t counts until just before t + M.

What is not certain yet is *reserved* before and settled after: octets count when they are
delivered, at that time, and until then nobody else may have them. So no window holds more
than the limit whichever way a delivery ends. An amount larger than the limit itself, such as
a message of 5 MB under 1M/min, may go when nothing else counts, and then counts for as many
windows as it fills: the limit holds on the average.
"""

from collections import deque
from typing import Final

from mta.units import UNLIMITED, DataRate, Rate

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
    """A limiter for one rate; None is unlimited and costs nothing.

    A limit of 0 is a lease of nothing: what waits for it waits for another lease.
    """

    __slots__ = ("_behind", "_chunks", "_limit", "_now", "_reserved", "_span", "_used", "_window")

    def __init__(self, rate: Rate | DataRate | None) -> None:
        self._chunks: deque[_Chunk] | None = None
        """Made when something is taken: most queues have rates that nothing counts in."""
        self._used = 0
        self._reserved = 0
        self._now = 0.0
        self._behind = 0
        self._set(rate)

    def available(self, now: float) -> int:
        """How many may be taken now."""
        if self._limit == UNLIMITED:
            return UNLIMITED
        if self._chunks:
            self._forget(self._advance(now))
        return max(self._limit - self._used - self._reserved, 0)

    def used(self, now: float) -> int:
        """How much counts now, what is reserved included."""
        if self._chunks:
            self._forget(self._advance(now))
        return self._used + self._reserved

    def fits(self, amount: int, now: float, *, alone: bool = True) -> bool:
        """Whether that much may be reserved now.

        `alone` is false if others are about to; an amount above the limit has to wait then.
        """
        if amount <= self.available(now):
            return True
        return alone and not (self._used or self._reserved) and self._limit > 0

    def reserve(self, amount: int) -> None:
        """Keep an amount that fits for somebody who will `settle` it."""
        self._reserved += amount

    def settle(self, amount: int, now: float, *, is_used: bool) -> None:
        """What was reserved is used, and counts from now on; or it was not needed."""
        assert 0 <= amount <= self._reserved
        self._reserved -= amount
        if is_used and amount and self._limit != UNLIMITED:
            self._count(amount, now)

    def take(self, count: int, now: float) -> None:
        """Take some of what is available now; there is no `await` since it was asked for."""
        if self._limit == UNLIMITED or not count:
            return
        assert 0 < count <= self.available(now)
        self._count(count, now)

    def _count(self, count: int, now: float) -> None:
        at = self._advance(now)
        self._forget(at)
        chunks = self._chunks
        if chunks is None:
            chunks = self._chunks = deque()
        self._used += count
        if count > self._limit > 0:
            at += self._window * ((count - 1) // self._limit)
        if chunks and at - chunks[-1].first <= self._span:
            newest = chunks[-1]
            newest.last = max(newest.last, at)
            newest.count += count
        else:
            chunks.append(_Chunk(at, count))

    def until(self, now: float, amount: int = 1) -> float | None:
        """When that much fits if nothing is taken before: now, or later.

        None if that hangs on what is reserved.
        """
        if self.fits(amount, now):
            return now
        excess = self._used + self._reserved + min(amount, self._limit) - self._limit
        for chunk in self._chunks or ():
            excess -= chunk.count
            if excess <= 0:
                return chunk.last + self._window - self._behind
        return None

    def resize(self, rate: Rate | DataRate | None, now: float) -> None:
        """Follow a new rate; what is remembered of the old window counts in the new one."""
        if self._chunks:
            self._forget(self._advance(now))
        self._set(rate)
        if self._limit == UNLIMITED:
            self._chunks = None
            self._used = 0

    def _set(self, rate: Rate | DataRate | None) -> None:
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
