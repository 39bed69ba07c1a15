"""How long a queue that failed waits. Guide: retry-after, backoff-retry-after.

The k-th failure in a row waits the k-th interval of the list and the last interval
repeats; a delivery starts the list again. A switch between normal and backoff mode changes
the list but not the position in it.
"""

from collections.abc import Sequence
from typing import Final

POSITION_MAX: Final = 30
"""Guide: retry-after. A list has up to 30 intervals, so a higher position says no more."""


class RetryLadder:
    """Where a queue stands in its list: `position` failures in a row so far."""

    __slots__ = ("position",)

    def __init__(self, position: int = 0) -> None:
        self.position = min(max(position, 0), POSITION_MAX)

    def next(self, intervals: Sequence[int]) -> int:
        """Count a failure; the seconds to wait after it."""
        wait = intervals[min(self.position, len(intervals) - 1)]
        self.position = min(self.position + 1, POSITION_MAX)
        return wait

    def reset(self) -> None:
        """A recipient was delivered."""
        self.position = 0
