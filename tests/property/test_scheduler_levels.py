"""No level exceeds its limit in any window, nothing sleeps that could move, all mail gets through.

Whatever hosts do meanwhile: connections that do not come about, refusals, broken transactions.
"""

import random
from bisect import bisect_left
from collections import Counter
from heapq import heappop, heappush
from itertools import count

import pytest

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Assign, Close, Expire, Interrupt, Open, ReadPage
from mta.queues.scheduler import Scheduler
from tests.queue_runs import OWN, SOURCES
from tests.texts import HEAD, configured

START = 1_000_000.0
HOUR = 3600.0


class World:
    """Hosts, the shell and the clock around a scheduler, all from one seed.

    A connection takes a moment to come about, some never do; a transaction takes a moment,
    some are refused, and some connections break.
    """

    def __init__(self, text, seed, *, faults=0.0, latency=0.2, checks=1.0):
        self.scheduler = Scheduler(configured(HEAD + text), OWN)
        self.random = random.Random(seed)
        self.faults = faults
        self.checks = checks
        """How often everything is looked at: a share of the steps."""
        self.latency = latency
        self.now = START
        self.events = []
        self.order = count()
        self.numbers = count(1)
        self.alive = {}
        self.stored = {}
        self.waiting = Counter()
        self.tried = {}
        self.delivered = {}
        self.opened = {}
        self.peak = Counter()

    def at(self, delay, do, *arguments):
        heappush(self.events, (self.now + delay, next(self.order), do, arguments))

    def soon(self):
        return self.random.uniform(0.5, 1.5) * self.latency

    def fails(self):
        return self.random.random() < self.faults

    def mail(self, key, number=1, size=1000):
        mail = []
        for _ in range(number):
            one = next(self.numbers)
            envelope = Envelope(
                message_id=one << 6, mail_from="", time_queued=self.now, size=size, head_size=10
            )
            mail.append(Recipient(one << 22, envelope, f"r@{key.domain}", key, self.now))
        self.waiting[key] += number
        self.stored.setdefault(key, []).extend((r.due, r.recipient_id, r) for r in mail)
        self.scheduler.arrive(mail, self.now)

    # The shell

    def act(self):
        scheduler = self.scheduler
        while scheduler.has_decisions or (scheduler.next_wake() or self.now + 1) <= self.now:
            for action in scheduler.run(self.now):
                match action:
                    case Open(connection):
                        self.alive[connection] = "opening"
                        self.at(self.soon(), self.connect, connection, ["mx1.test", "mx2.test"])
                    case Assign(connection, batch):
                        self.transact(connection, batch)
                    case Close(connection):
                        self.close(connection)
                    case Interrupt(connection):
                        self.interrupt(connection)
                    case ReadPage(queue, lane, after, limit):
                        self.read(queue, lane, after, limit)
                    case Expire():
                        raise AssertionError("nothing is that old here")
        if self.random.random() < self.checks:
            self.check()

    def read(self, queue, lane, after, limit):
        """A page of a queue whose mail is delivered in the order it came."""
        stored = self.stored[queue.key]
        first = bisect_left(stored, after, key=lambda entry: entry[:2]) + 1
        page = [recipient for _, _, recipient in stored[first : first + limit]]
        is_last = first + limit >= len(stored)
        self.scheduler.page_read(queue, lane, page, is_last=is_last, now=self.now)

    def connect(self, connection, hosts):
        if connection not in self.alive:
            return
        scheduler, ip = self.scheduler, connection.source.ip
        while hosts:
            host = hosts.pop(self.random.randrange(len(hosts)))
            if not scheduler.connecting(connection, host, f"198.51.100.{host[2]}", self.now):
                continue
            self.count(self.opened, connection, ip, host)
            if self.fails():
                continue
            self.alive[connection] = "up"
            scheduler.connected(connection, host, self.now)
            self.go_on(connection)
            return
        del self.alive[connection]
        if connection.crowded_by:
            scheduler.crowded(connection, self.now)
        else:
            scheduler.failed(connection, "ETIMEDOUT", self.now)

    def go_on(self, connection):
        step = self.scheduler.next_batch(connection, self.now)
        if isinstance(step, Close):
            self.close(connection)
        elif step:
            self.transact(connection, step)

    def transact(self, connection, batch):
        self.count(self.tried, connection, connection.source.ip, amount=len(batch))
        self.at(self.soon(), self.end, connection, batch)

    def end(self, connection, batch):
        if connection not in self.alive:
            return
        key = connection.queue.key
        if self.fails():
            breaks = self.random.random() < 0.3
            for recipient in batch:
                recipient.due = self.now + 30
            connection.recipients_failed += len(batch)
            self.scheduler.finish(connection, done=(), deferred=batch, untried=(), now=self.now)
            if breaks:
                del self.alive[connection]
                self.scheduler.closed(connection, self.now, failure="EDISCON")
                return
        else:
            size = batch[0].envelope.size
            self.count(self.delivered, connection, connection.source.ip, amount=size)
            self.waiting[key] -= len(batch)
            self.scheduler.finish(
                connection,
                done=batch,
                deferred=(),
                untried=(),
                now=self.now,
                delivered=len(batch),
            )
            self.scheduler.delivered(connection.queue, self.now)
        self.go_on(connection)

    def close(self, connection):
        del self.alive[connection]
        self.scheduler.closed(connection, self.now)

    def interrupt(self, connection):
        batch = connection.batch
        del self.alive[connection]
        self.scheduler.finish(connection, done=(), deferred=(), untried=batch, now=self.now)
        self.scheduler.closed(connection, self.now)

    def run(self, until, *, each=None):
        """Let time pass to that moment."""
        self.act()
        while True:
            wake = self.scheduler.next_wake()
            times = [t for t in (wake, self.events[0][0] if self.events else None) if t is not None]
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, *[min(times)])
            while self.events and self.events[0][0] <= self.now:
                _, _, do, arguments = heappop(self.events)
                do(*arguments)
            self.act()
            if each is not None:
                each()

    # What must hold

    def count(self, book, connection, ip, host=None, amount=1):
        key = connection.queue.key
        for level in (key, key.vmta, (key, ip)):
            book.setdefault(level, []).append((self.now, amount))

    def check(self):
        scheduler = self.scheduler
        levels = Counter()
        for connection in self.alive:
            levels["total"] += 1
            levels[connection.queue.key.vmta] += 1
            levels[connection.queue.key] += 1
            levels[connection.queue.key, connection.source.ip] += 1
            for slots in connection.host_slots:
                levels[slots.directive, slots.scope] += 1
        for level, number in levels.items():
            self.peak[level] = max(self.peak[level], number)
        assert scheduler.gate.total.used == len(self.alive)
        for queue in scheduler.queues.values():
            self.check_awake(queue)

    def check_awake(self, queue):
        """It moves, or somebody says why not and will wake it."""
        waiting = queue.backlog.ready(self.now)
        if not waiting or queue.is_resting or queue.opening or queue.in_flight:
            return
        assert queue.blocked_by is not None, queue.key
        assert queue.wake_at < float("inf") or queue.line is not None or queue.crowded
        if queue.line is not None and hasattr(queue.line, "used"):
            assert queue.line.is_exhausted or not queue.line.line.lets(queue), queue.blocked_by


def most(book, level, window):
    """The most that was counted in any window of that length."""
    entries = book.get(level, [])
    times = [at for at, _ in entries]
    best = 0
    for index, (at, _) in enumerate(entries):
        first = bisect_left(times, at - window + 1e-9)
        best = max(best, sum(amount for _, amount in entries[first : index + 1]))
    return best


EVERY_LEVEL = f"""
total-max-smtp-out 9
mx-connection-limit mx1.* 2
ip-connection-limit 198.51.100/24 5
<virtual-mta v1>
{SOURCES}
max-smtp-out 6
max-smtp-msg-rate 40/m
max-smtp-data-volume-rate 50k/m
</virtual-mta>
<virtual-mta v2>
smtp-source-host 192.0.2.1 c.example
</virtual-mta>
<domain *>
max-smtp-out 4
max-msg-rate 20/m
max-connect-rate 10/m
max-data-volume-rate 30k/m
source-ip-max-smtp-out 0/0 3
source-ip-max-msg-rate 0/0 12/m
source-ip-max-connect-rate 0/0 7/m
source-ip-max-data-volume-rate 0/0 20k/m
max-errors-per-connection 2
max-msg-per-connection 7
connection-idle-timeout 5s
retry-after 20s
</domain>
<domain d1.test>
queue-priority 80
</domain>
<domain d2.test>
queue-priority 20
allow-priority-interruption-during-transfer yes
</domain>
"""


EACH_SOURCE = f"""
<virtual-mta v1>
{SOURCES}
</virtual-mta>
<domain *>
source-ip-max-msg-rate 0/0 50/m
</domain>
"""


@pytest.mark.parametrize("seed", range(12))
def test_every_level_holds_and_all_mail_is_through_in_the_end(seed):
    world = World(EVERY_LEVEL, seed, faults=0.1)
    keys = [QueueKey(f"d{n}.test", vmta) for n in range(4) for vmta in ("v1", "v2")]
    for _ in range(60):
        world.mail(world.random.choice(keys), world.random.randint(1, 12), 1500)
        world.run(world.now + world.random.expovariate(1 / 20))
    world.run(world.now + 12 * HOUR)
    assert not +world.waiting, "mail was forgotten"
    assert world.scheduler.gate.total.used == 0
    assert list(world.scheduler.gate.hosts) == []
    for key in keys:
        assert most(world.tried, key, 60) <= 20
        assert most(world.opened, key, 60) <= 20  # a connection may try both hosts
        assert most(world.delivered, key, 60) <= 30 * 1024
        for ip in OWN:
            assert most(world.tried, (key, ip), 60) <= 12
            assert most(world.delivered, (key, ip), 60) <= 20 * 1024
            assert world.peak[key, ip] <= 3
        assert world.peak[key] <= 4
    assert most(world.tried, "v1", 60) <= 40
    assert most(world.delivered, "v1", 60) <= 50 * 1024
    assert world.peak["v1"] <= 6
    assert world.peak["total"] <= 9
    for level, number in world.peak.items():
        if level[0] == "mx-connection-limit":
            assert number <= 2
        elif level[0] == "ip-connection-limit":
            assert number <= 5


@pytest.mark.parametrize(
    ("text", "per_hour"),
    [
        ("<domain *>\nmax-msg-rate 5/s\n</domain>", 18_000),
        ("<domain *>\nmax-msg-rate 100/m\n</domain>", 6_000),
        ("<domain *>\nmax-msg-rate 30/10m\n</domain>", 180),
        ("<domain *>\nmax-msg-rate 1/10s\n</domain>", 360),
        ("<virtual-mta v1>\nmax-smtp-msg-rate 100/m\n</virtual-mta>", 6_000),
        (EACH_SOURCE, 6_000),
        ("<domain *>\nmax-data-volume-rate 100000b/m\n</domain>", 6_000),
        ("<virtual-mta v1>\nmax-smtp-data-volume-rate 100000b/m\n</virtual-mta>", 6_000),
    ],
)  # fmt: skip
def test_a_backlogged_queue_reaches_98_percent_of_its_rate(text, per_hour):
    if "virtual-mta v1" not in text:
        text += "\n<virtual-mta v1>\n</virtual-mta>"
    world = World(text, 1, checks=0.01)
    key = QueueKey("d.test", "v1")
    hours = 1 if per_hour > 1000 else 4
    world.mail(key, per_hour * (hours + 1), 1000)
    world.run(START + hours * HOUR)
    assert sum(amount for _, amount in world.tried[key]) >= 0.98 * per_hour * hours


def test_queues_that_share_a_rate_use_it_whole_and_get_the_same_of_it():
    world = World("<virtual-mta v1>\nmax-smtp-msg-rate 60/m\n</virtual-mta>", 1, checks=0.01)
    keys = [QueueKey(f"d{n}.test", "v1") for n in range(40)]
    for key in keys:
        world.mail(key, 300)
    world.run(START + HOUR)
    counts = [sum(amount for _, amount in world.tried[key]) for key in keys]
    assert sum(counts) >= 0.98 * 3600
    assert min(counts) >= 0.6 * max(counts)
