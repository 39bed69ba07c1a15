"""What the scheduler looks at next, when it looks again, and what it has decided so far.

Waking too early does no harm: a queue's entry on the heap is replaced only by an earlier
one. What is passed over stays until its time, or until there is as much of it as of what counts.
"""

from heapq import heapify, heappop, heappush
from itertools import count, islice
from typing import TYPE_CHECKING

from mta.queues.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mta.model.queue_key import QueueKey
    from mta.queues.actions import Action
    from mta.queues.queue import Queue

FOREVER = float("inf")
LOOKED_AT_MAX = 250
"""Queues of one run, some milliseconds; nothing else of the process runs meanwhile."""
HEAP_MIN = 1000
"""Wake times below which nothing is tidied."""
FOLLOWERS_MAX = 50
"""Queues that follow a new configuration in one run; each may have to be resolved anew."""


class Agenda:
    """Queues something happened to, one heap of wake times, and the actions decided."""

    __slots__ = ("_actions", "_behind", "_heap", "_heap_max", "_order", "_touched")

    def __init__(self) -> None:
        self._touched: dict[Queue, None] = {}
        self._behind: dict[QueueKey, Queue] = {}
        self._heap: list[tuple[float, int, Queue | Line]] = []
        self._heap_max = HEAP_MIN
        self._order = count()
        self._actions: list[Action] = []

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look at now and nothing to do."""
        return not (self._touched or self._behind or self._actions)

    def touch(self, queue: "Queue") -> None:
        """Something happened to the queue: look at it in the next run."""
        self._touched[queue] = None

    def touch_all(self, queues: "Iterable[Queue]") -> None:
        self._touched.update(dict.fromkeys(queues))

    def follow_all(self, queues: "dict[QueueKey, Queue]") -> None:
        """Look at all of them, some in each run, behind those that something happened to."""
        self._behind = queues.copy()

    @property
    def are_behind(self) -> bool:
        """Whether some queues of `follow_all` are still to be looked at."""
        return bool(self._behind)

    def forget(self, queue: "Queue") -> None:
        """The queue is no more; its entry on the heap is left to be passed over."""
        queue.wake_at = FOREVER
        self._touched.pop(queue, None)
        self._behind.pop(queue.key, None)

    def wake_at(self, sleeper: "Queue | Line", at: float) -> None:
        """Look at the queue again at that time, or before; of a line, at the first in it."""
        if at < sleeper.wake_at:
            sleeper.wake_at = at
            heappush(self._heap, (at, next(self._order), sleeper))
            if len(self._heap) > self._heap_max:
                self._tidy()

    def _tidy(self) -> None:
        """Let go of entries that will be passed over."""
        live: dict[int, tuple[float, int, Queue | Line]] = {}
        for entry in self._heap:
            if entry[2].wake_at == entry[0]:
                live.setdefault(id(entry[2]), entry)
        self._heap[:] = live.values()
        heapify(self._heap)
        self._heap_max = 2 * len(self._heap) + HEAP_MIN

    def next_wake(self) -> float | None:
        """When the first queue wakes if nothing happens before."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> "Iterator[Queue]":
        """The queues to look at, those touched meanwhile included, each once for a touch.

        What is left after `LOOKED_AT_MAX` waits for the next run.
        """
        heap = self._heap
        while heap and heap[0][0] <= now and len(self._touched) < LOOKED_AT_MAX:
            at, _, sleeper = heappop(heap)
            if sleeper.wake_at != at:
                continue
            sleeper.wake_at = FOREVER
            woken = sleeper.first() if isinstance(sleeper, Line) else sleeper
            if woken is not None:
                self._touched[woken] = None
        left = LOOKED_AT_MAX
        while self._touched and left > 0:
            # In slices: the first key of a dict takes the longer, the more were removed.
            for queue in list(islice(self._touched, left)):
                left -= 1
                del self._touched[queue]
                yield queue
        if not self._touched:
            self._touched.clear()  # It would go on as large as it ever was, and slow to look into.
        for _ in range(min(len(self._behind), FOLLOWERS_MAX)):
            yield self._behind.popitem()[1]

    def do(self, action: "Action") -> None:
        """Have the shell do that when the run is over."""
        self._actions.append(action)

    def take_actions(self) -> "list[Action]":
        """What is to be done, in order; the agenda forgets it."""
        decided, self._actions = self._actions, []
        return decided
