"""What the scheduler looks at next, when it looks again, and what it has decided so far.

Waking too early does no harm: a queue's entry on the heap is replaced only by an earlier
one, so the heap needs no deletions.
"""

from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mta.queues.actions import Action
    from mta.queues.queue import Queue

FOREVER = float("inf")


class Agenda:
    """Queues something happened to, one heap of wake times, and the actions decided."""

    __slots__ = ("_actions", "_heap", "_order", "_touched")

    def __init__(self) -> None:
        self._touched: dict[Queue, None] = {}
        self._heap: list[tuple[float, int, Queue]] = []
        self._order = count()
        self._actions: list[Action] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look at now and nothing to do."""
        return not (self._touched or self._actions)

    def touch(self, queue: "Queue") -> None:
        """Something happened to the queue: look at it in the next run."""
        self._touched[queue] = None

    def touch_all(self, queues: "Iterable[Queue]") -> None:
        self._touched.update(dict.fromkeys(queues))

    def wake_at(self, queue: "Queue", at: float) -> None:
        """Look at the queue again at that time, or before."""
        if at < queue.wake_at:
            queue.wake_at = at
            heappush(self._heap, (at, next(self._order), queue))

    def next_wake(self) -> float | None:
        """When the first queue wakes if nothing happens before."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> "Iterator[Queue]":
        """The queues to look at, those touched meanwhile included, each once for a touch."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, queue = heappop(heap)
            if queue.wake_at == at:
                queue.wake_at = FOREVER
                self._touched[queue] = None
        while self._touched:
            queue = next(iter(self._touched))
            del self._touched[queue]
            yield queue

    def do(self, action: "Action") -> None:
        """Have the shell do that when the run is over."""
        self._actions.append(action)

    def take_actions(self) -> "list[Action]":
        """What is to be done, in order; the agenda forgets it."""
        decided, self._actions = self._actions, []
        return decided
