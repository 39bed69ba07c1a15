"""How many messages clients are sending: a commit may wait for them, so one sync is for all.

A client that stops in the middle, or sends for minutes, would have the messages of all others
wait for it in vain: after a while it is given up. So they are counted by the time they began,
and what is older than two such times counts no more.
"""

from typing import Final

GIVEN_UP_S: Final = 0.02
"""A hundred clients that are busy take as long for a message each. Who takes twice that is slow."""


class Arrivals:
    """Counted where clients are listened to, asked where messages are committed."""

    __slots__ = ("_began_at", "_counts", "number")

    def __init__(self) -> None:
        self.number = 0
        """Of the time that is now."""
        self._began_at = 0.0
        self._counts = (0, 0)
        """Of the time before, and of now."""

    @property
    def expected(self) -> int:
        """Messages that began of late and are not handed over."""
        return sum(self._counts)

    def are_expected(self, now: float) -> bool:
        """Whether there are any, after giving up those of long ago; the loop's time."""
        before, count = self._counts
        if (before or count) and not 0 <= now - self._began_at < GIVEN_UP_S:
            self.number += 1
            self._began_at = now
            self._counts = before, count = count, 0
        return bool(before or count)

    def count(self, number: int, by: int) -> None:
        """One more of a time, or one less."""
        before, count = self._counts
        if number == self.number:
            self._counts = before, count + by
        elif number == self.number - 1:
            self._counts = before + by, count


class Arrival:
    """Whether one client is within a message."""

    __slots__ = ("_arrivals", "_is_expected", "_number")

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._is_expected = False
        self._number = 0

    def expect(self, *, is_expected: bool) -> None:
        """Note that a message has begun, or that it is handed over or will not come."""
        if is_expected is self._is_expected:
            return
        self._is_expected = is_expected
        if is_expected:
            self._number = self._arrivals.number
        self._arrivals.count(self._number, 1 if is_expected else -1)
