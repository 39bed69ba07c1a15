"""Shards together never use more of a limit than there is, whoever dies, and none starves."""

import random
from collections import deque

import pytest

from mta.queues.leases import Lease, Lessor, Report
from mta.queues.rates import RollingRate
from mta.units import Rate

STEP_S = 0.05


class Process:
    """One life of a worker: what it uses, and the two ways of its link, which take time."""

    def __init__(self, ceiling, window):
        self.ceiling = ceiling
        self.window = window
        self.lease = self.turn = self.used = 0
        self.rate = None
        self.wants = 0
        self.to_lessor = deque()
        self.from_lessor = deque()
        self.taken = 0

    def obey(self, lease, now):
        self.turn, self.lease = lease
        if self.window and self.lease:
            rate = Rate(self.lease, self.window)
            self.rate = self.rate or RollingRate(rate)
            self.rate.resize(rate, now)

    def use(self, now, rng):
        """Take what is wanted and allowed; slots are given back by and by."""
        if not self.window:
            self.used -= sum(rng.random() < 0.2 for _ in range(self.used))
            room = max(0, min(self.wants - self.used, self.lease - self.used))
            self.used += room
            return room
        room = min(self.wants, self.rate.available(now)) if self.lease else 0
        if room > 0:
            self.rate.take(room, now)
        return room

    def report(self, now):
        used = self.used
        if self.window:
            used = self.rate_used(now)
        is_short = self.wants > (self.lease - used if self.window else self.lease)
        return Report(self.ceiling, self.turn, used, is_short)

    def rate_used(self, now):
        if self.rate is None:
            return 0
        return self.rate.used(now)


class Run:
    """Some steps of time; what was used is checked at each."""

    def __init__(self, seed, *, shards, ceiling, window):
        self.rng = random.Random(seed)
        self.window = window
        self.ceiling = ceiling
        self.lessor = Lessor(shards, window)
        self.now = 1000.0
        self.ids = 0
        self.alive = {}
        self.dying = []
        self.takes = deque()
        for _ in range(shards):
            self.born()

    def born(self):
        self.ids += 1
        self.alive[self.ids] = Process(self.ceiling, self.window)

    def dies(self):
        """The process is gone at once; the lessor reads what it said, then hears of it."""
        number = self.rng.choice(list(self.alive))
        self.dying.append((number, self.alive.pop(number)))

    def step(self):
        self.now += STEP_S
        for number, process in [*self.alive.items(), *self.dying]:
            while process.to_lessor and self.rng.random() < 0.7:
                self.answer(self.lessor.hear(number, process.to_lessor.popleft(), self.now))
        for entry in list(self.dying):
            number, process = entry
            if not process.to_lessor and self.rng.random() < 0.3:
                self.dying.remove(entry)
                self.answer(self.lessor.gone(number, self.now))
                self.born()
        for process in self.alive.values():
            while process.from_lessor and self.rng.random() < 0.7:
                process.obey(process.from_lessor.popleft(), self.now)
            taken = process.use(self.now, self.rng)
            process.taken += taken
            self.takes.append((self.now, taken))
            if self.rng.random() < 0.5:
                process.to_lessor.append(process.report(self.now))
        self.check()

    def answer(self, leases):
        for number, lease in leases.items():
            if number in self.alive:
                self.alive[number].from_lessor.append(lease)

    def check(self):
        assert self.lessor.held <= self.ceiling
        if self.window:
            while self.takes and self.takes[0][0] <= self.now - self.window:
                self.takes.popleft()
            assert sum(count for _, count in self.takes) <= self.ceiling
        else:
            assert sum(process.used for process in self.alive.values()) <= self.ceiling


@pytest.mark.parametrize("window", [0, 2], ids=["slots", "rate"])
@pytest.mark.parametrize("ceiling", [1, 2, 7, 100])
@pytest.mark.parametrize("seed", range(5))
def test_the_sum_of_use_is_never_above_the_limit(seed, ceiling, window):
    run = Run(seed, shards=run_shards(seed), ceiling=ceiling, window=window)
    for _ in range(800):
        if run.rng.random() < 0.02 and len(run.alive) > 1:
            run.dies()
        for process in run.alive.values():
            if run.rng.random() < 0.05:
                process.wants = run.rng.choice([0, 1, 3, 2 * ceiling])
        run.step()


def run_shards(seed):
    return 2 + seed % 4


@pytest.mark.parametrize("window", [0, 2], ids=["slots", "rate"])
@pytest.mark.parametrize("ceiling", [1, 3, 100])
def test_whoever_wants_gets_some_and_one_alone_gets_all(ceiling, window):
    run = Run(1, shards=4, ceiling=ceiling, window=window)
    for process in run.alive.values():
        process.wants = 10 * ceiling
    for _ in range(1200):
        run.step()
    assert all(process.taken for process in run.alive.values())
    last, *others = run.alive.values()
    for process in others:
        process.wants = 0
    for _ in range(300):
        run.step()
    assert last.lease == ceiling


def test_a_rate_of_a_dead_shard_is_lent_again_only_after_its_window():
    lessor = Lessor(2, 60)
    ((_, lease),) = lessor.hear(1, Report(10, 0, 0, is_short=True), 0).items()
    assert lease.amount == 10
    lessor.hear(1, Report(10, lease.turn, 10, is_short=True), 0)
    assert lessor.gone(1, 5) == {}
    assert lessor.hear(2, Report(10, 0, 0, is_short=True), 64) == {}
    assert lessor.hear(2, Report(10, 0, 0, is_short=True), 65)[2].amount == 10


def test_a_lowered_ceiling_calls_in_what_is_beyond_it():
    lessor = Lessor(2)
    lease = lessor.hear(1, Report(10, 0, 0, is_short=True), 0)[1]
    lessor.hear(2, Report(10, 0, 0, is_short=False), 0)
    lowered = lessor.hear(1, Report(4, lease.turn, 8, is_short=False), 1)[1]
    assert lowered.amount == 4
    assert lessor.held == 10
    lessor.hear(1, Report(4, lowered.turn, 3, is_short=False), 2)
    assert lessor.held == 4


def test_what_stays_where_it_is_leaves_all_the_rest_to_be_lent():
    """Clients come to whichever shard: none is refused while others have room they do not need."""
    used = {1: 367, 2: 340, 3: 330}
    ceiling = sum(used.values()) + 9
    lessor = Lessor(len(used))
    leases = dict.fromkeys(used, Lease(0, 0))
    for _ in range(10):
        for shard, lease in leases.items():
            there = min(used[shard], lease.amount)
            report = Report(ceiling, lease.turn, there, is_short=True, stays=True)
            leases = leases | lessor.hear(shard, report, 0)
            assert lessor.held <= ceiling
    assert all(leases[shard].amount >= count for shard, count in used.items())
