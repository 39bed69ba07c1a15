"""Who waits for something that queues share, in the order of their turns."""

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.queues.queue import Queue

Rank = tuple[int, int]


class Line:
    """Queues that wait for one limit: by priority, then by age.

    `by_failures` puts those with fewer failures in a row first, among equals in priority.
    """

    __slots__ = ("_by_failures", "_by_rank", "places", "wake_at")

    def __init__(self, *, by_failures: bool = False) -> None:
        self._by_failures = by_failures
        self._by_rank: dict[Rank, OrderedDict[Queue, int]] = {}
        self.places: dict[Queue, Rank] = {}
        """Who waits, with the rank it joined with."""
        self.wake_at = float("inf")

    def join(self, queue: "Queue", amount: int = 1) -> None:
        """Wait for an amount; a queue that waits already keeps its place."""
        rank = self._rank(queue)
        if self.places.get(queue, rank) != rank:
            self.leave(queue)
        self.places[queue] = rank
        self._by_rank.setdefault(rank, OrderedDict())[queue] = amount

    def leave(self, queue: "Queue") -> None:
        """Wait no longer."""
        rank = self.places.pop(queue, None)
        if rank is not None:
            equals = self._by_rank[rank]
            del equals[queue]
            if not equals:
                del self._by_rank[rank]

    def first(self) -> "Queue | None":
        """Whose turn it is."""
        return next(iter(self._by_rank[max(self._by_rank)])) if self.places else None

    def first_amount(self) -> int:
        """What the first waits for."""
        return next(iter(self._by_rank[max(self._by_rank)].values()), 1)

    def lets(self, queue: "Queue") -> bool:
        """Whether nobody is before the queue."""
        if not self.places:
            return True
        highest = max(self._by_rank)
        if self._rank(queue) > highest:
            return True
        return next(iter(self._by_rank[highest])) is queue

    def _rank(self, queue: "Queue") -> Rank:
        return queue.settings.queue_priority, -queue.failures if self._by_failures else 0
