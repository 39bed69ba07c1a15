"""The supervisor's side of the limits that workers obey together: it lends, and counts.

One lessor for each limit that any worker speaks of. What a worker had is free again when its
process is gone, and not before. A limit that is first spoken of while a reload reaches one worker
after another may be new: it is lent once all have the configuration.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from itertools import count
from typing import TYPE_CHECKING, Final

from mta.queues.leases import Lease, Lessor

if TYPE_CHECKING:
    from mta.queues.shares import LimitReport, News

Leases = dict[Hashable, list[tuple[int, Lease]]]
"""By worker: the limits, as that worker calls them, whose leases change."""
RANK_SHIFT: Final = 64
"""A holder's number is its worker's rank, then a count that never comes to that."""


class Lending:
    """All limits above the queues. A worker is whatever stands for one life of its process."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lessors: dict[tuple[str, str, int], Lessor] = {}
        self._numbers = count(1)
        self._holders: dict[tuple[Hashable, int], tuple[int, tuple[str, str, int]]] = {}
        """By worker and birth: the holder's number, and the limit."""
        self._ranks: dict[Hashable, int] = {}
        """Of workers, in the order in which they were first heard."""
        self._names: dict[int, tuple[Hashable, int]] = {}
        self._behind: set[Hashable] = set()
        """Workers that have not taken the configuration in force yet."""
        self._resting: list[Lessor] = []
        """What is not lent until they have, or are gone."""

    def reloads(self, workers: Iterable[Hashable]) -> None:
        """These run with a configuration that another takes the place of from now on."""
        self._behind.update(workers)

    def hear(self, worker: Hashable, news: "News", now: float) -> Leases:
        """What a worker says; the leases that change by it."""
        leases: Leases = defaultdict(list)
        for birth, used in news.returned:
            self._end(worker, birth, leases, now, returned=used)
        for one in news.reports:
            self._hear_one(worker, one, leases, now)
        if news.is_taken:
            self._caught_up(worker, leases, now)
        return leases

    def gone(self, worker: Hashable, now: float) -> Leases:
        """The process of a worker is gone; the leases that change by it."""
        leases: Leases = defaultdict(list)
        for whose, birth in list(self._holders):
            if whose is worker:
                self._end(worker, birth, leases, now)
        self._ranks.pop(worker, None)
        self._caught_up(worker, leases, now)
        return leases

    def _hear_one(
        self,
        worker: Hashable,
        one: "LimitReport",
        leases: Leases,
        now: float,
    ) -> None:
        key = (one.directive, one.scope, one.window_s)
        number, known = self._holders.get((worker, one.birth), (0, key))
        assert known == key  # A rate of another window is another limit, of another birth.
        if not number:
            # By worker first: it has its turn at all limits at once, or who needs two of them
            # would never have both.
            rank = self._ranks.get(worker) or self._ranks.setdefault(worker, next(self._numbers))
            number = (rank << RANK_SHIFT) + next(self._numbers)
            self._holders[worker, one.birth] = number, key
            self._names[number] = worker, one.birth
        lessor = self._lessors.get(key)
        if lessor is None:
            lessor = self._lessors[key] = Lessor(self._workers, one.window_s)
        if self._behind and not lessor.is_resting and lessor.is_new:
            lessor.is_resting = True
            self._resting.append(lessor)
        self._tell(lessor.hear(number, one.report, now), leases)

    def _caught_up(self, worker: Hashable, leases: Leases, now: float) -> None:
        """No worker uses anything any more that this one might not have told of."""
        self._behind.discard(worker)
        if self._behind:
            return
        resting, self._resting = self._resting, []
        for lessor in resting:
            lessor.is_resting = False
            self._tell(lessor.decide(now), leases)

    def _end(
        self,
        worker: Hashable,
        birth: int,
        leases: Leases,
        now: float,
        *,
        returned: int | None = None,
    ) -> None:
        """A worker has done with a limit: it returned it with so much used, or is gone."""
        number, key = self._holders.pop((worker, birth), (0, None))
        if key is None:
            return
        del self._names[number]
        lessor = self._lessors[key]
        if returned is None:
            self._tell(lessor.gone(number, now), leases)
        else:
            self._tell(lessor.returned(number, returned, now), leases)
        if lessor.is_idle:
            del self._lessors[key]

    def _tell(
        self,
        changed: dict[int, Lease],
        leases: Leases,
    ) -> None:
        for number, lease in changed.items():
            worker, birth = self._names[number]
            leases[worker].append((birth, lease))
