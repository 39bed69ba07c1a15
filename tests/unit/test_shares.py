"""A shard's side of the limits that several obey: what it says, and how it follows a lease."""

import pytest

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.net.slots import Slots as Clients
from mta.queues.actions import Open
from mta.queues.leases import Lease
from mta.queues.scheduler import Scheduler
from mta.queues.shares import Shares
from mta.units import UNLIMITED
from tests.queue_runs import HOST, NOW, OWN
from tests.texts import HEAD, configured

KEY = QueueKey("example.net", "v1")
IP = "198.51.100.1"


class Shard:
    """A scheduler whose limits are lent, and what it says of them."""

    def __init__(self, vmta="", top="total-max-smtp-out 10"):
        self.scheduler = Scheduler(self.configured(vmta, top), OWN, is_lent=True)
        self.clients = Clients(100, {}, shards=2)
        self.shares = Shares(self.scheduler.gate, self.clients)
        self.number = 0

    def configured(self, vmta, top):
        return configured(
            f"{HEAD}{top}\n<virtual-mta v1>\n{vmta}\n</virtual-mta>\n<domain *>\n</domain>\n"
        )

    def reload(self, vmta="", top="total-max-smtp-out 10"):
        self.scheduler.reload(self.configured(vmta, top), OWN, NOW)

    def mail(self, count, key=KEY):
        for _ in range(count):
            self.number += 1
            envelope = Envelope(
                message_id=self.number << 6, mail_from="", time_queued=NOW, size=9, head_size=1
            )
            recipient = Recipient(self.number << 22, envelope, "r@example.net", key, NOW)
            self.scheduler.arrive([recipient], NOW)

    def opened(self):
        actions = []
        while self.scheduler.has_decisions:
            actions += self.scheduler.run(NOW)
        return [action.connection for action in actions if isinstance(action, Open)]

    def news(self):
        return {(r.directive, r.scope): r for r in self.shares.news(NOW).reports}

    def lend(self, key, amount, *, turn=1):
        birth = next(r.birth for k, r in self.said.items() if k == key)
        assert self.shares.obey(birth, Lease(turn, amount), NOW)


@pytest.mark.parametrize("directive", ["total-max-smtp-out", "max-smtp-msg-rate"])
def test_nothing_is_used_before_it_is_lent_and_who_waits_is_heard(directive):
    shard = Shard("max-smtp-msg-rate 30/m", top="total-max-smtp-out 10")
    shard.mail(5)
    assert shard.opened() == []
    shard.said = shard.news()
    if directive == "total-max-smtp-out":
        # The rate is looked at first; nobody waits for a connection yet.
        shard.lend(("max-smtp-msg-rate", "v1"), 30)
        assert shard.opened() == []
        shard.said |= shard.news()
        assert shard.said["total-max-smtp-out", "total"].report.is_short
        shard.lend(("total-max-smtp-out", "total"), 3)
        assert len(shard.opened()) == 3
    else:
        assert shard.said["max-smtp-msg-rate", "v1"].report.is_short
        shard.lend(("total-max-smtp-out", "total"), 10)
        shard.lend(("max-smtp-msg-rate", "v1"), 2)
        assert len(shard.opened()) == 2


def test_a_smaller_lease_ends_connections_after_their_transactions():
    shard = Shard()
    shard.mail(6)
    shard.opened()
    shard.said = shard.news()
    total = ("total-max-smtp-out", "total")
    shard.lend(total, 2)
    first, second = shard.opened()
    for connection in (first, second):
        assert shard.scheduler.connecting(connection, HOST, IP, NOW)
        shard.scheduler.connected(connection, HOST, NOW)
        assert shard.scheduler.next_batch(connection, NOW)
    shard.lend(total, 1, turn=2)
    assert shard.news()[total].report[1:3] == (2, 2)
    shard.scheduler.finish(first, done=first.batch, deferred=(), untried=(), now=NOW, delivered=1)
    assert shard.scheduler.next_batch(first, NOW).reason.startswith("total-max-smtp-out")
    shard.scheduler.closed(first, NOW)
    assert shard.news()[total].report.used == 1
    assert shard.scheduler.gate.surplus(second) == ""


def test_clients_are_lent_too_and_each_is_told_of_before_all_is_used():
    shard = Shard()
    assert shard.clients.take("") == "total-max-smtp-in"
    assert shard.clients.may_grow("")
    total = ("total-max-smtp-in", "total")
    shard.said = shard.news()
    assert shard.said[total].report.is_short
    shard.lend(total, 4)
    assert [shard.clients.take("") for _ in range(2)] == ["", ""]
    assert not shard.news()[total].report.is_short
    (places,) = shard.clients.lent
    assert not places.is_near
    assert shard.clients.take("") == ""
    assert places.is_near
    assert shard.news()[total].report.used == 3
    assert shard.clients.take("") == ""
    assert shard.news()[total].report.used == 4, "in the very next round"


def test_what_waits_is_said_at_once_and_then_once_a_second():
    """A thousand rates that are used up are twenty thousand reports a second else."""
    count = 1000
    vmtas = "\n".join(
        f"<virtual-mta m{n}>\nmax-smtp-msg-rate 1/h\n</virtual-mta>" for n in range(count)
    )
    shard = Shard(top=vmtas)
    for number in range(count):
        shard.mail(1, QueueKey("example.net", f"m{number}"))
    shard.opened()
    rounds = [shard.shares.news(NOW + number * 0.05).reports for number in range(101)]
    assert len(rounds[0]) >= count
    assert sum(map(len, rounds[1:])) <= 6 * count
    for tick in range(5):
        repeated = [r.scope for news in rounds[1 + 20 * tick : 21 + 20 * tick] for r in news]
        assert {f"m{number}" for number in range(count)} <= set(repeated)


def test_a_limit_that_limits_nothing_any_more_is_returned_and_not_reported():
    """More limits than one round looks at: the one that waits is looked at in each."""
    vmtas = "\n".join(f"<virtual-mta m{n}>\nmax-smtp-out 1\n</virtual-mta>" for n in range(1000))
    shard = Shard("max-smtp-out 5", top=vmtas)
    for number in range(1000):
        shard.mail(1, QueueKey("example.net", f"m{number}"))
    shard.mail(1)
    shard.opened()
    born = {}
    for _ in range(20):
        born |= {r.scope: r.birth for r in shard.shares.news(NOW).reports}
    shard.shares.news(NOW)
    shard.reload("", top=vmtas)
    news = [shard.shares.news(NOW) for _ in range(20)]
    assert not any(r.report.ceiling == UNLIMITED for one in news for r in one.reports)
    assert [r.birth for one in news for r in one.returned] == [born["v1"]]
    assert not shard.shares.obey(born["v1"], Lease(9, 9), NOW)


def test_a_lease_of_what_a_rate_was_is_not_obeyed():
    shard = Shard("max-smtp-msg-rate 6000/h")
    key = ("max-smtp-msg-rate", "v1")
    shard.mail(1)
    shard.opened()
    before = shard.news()[key].birth
    shard.reload("max-smtp-msg-rate 100/m")
    assert not shard.shares.obey(before, Lease(1, 3000), NOW)
    after = shard.news()[key]
    assert after.birth != before
    assert (after.window_s, after.report.turn) == (60, 0)
