"""A connection ends when its time is over, and its slot is another's only when it is closed."""

from contextlib import asynccontextmanager

from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Pace, Policy, QueueRules, VmtaRules
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from tests.scenario.small_world import IP, small_world


class Count:
    """Connections of the daemon that are open, and the most there were."""

    def __init__(self):
        self.open = self.most = self.total = 0

    def dialled(self, link):
        if link.server[0] == IP:
            self.open += 1
            self.total += 1
            self.most = max(self.most, self.open)

    def hung_up(self, link):
        self.open -= link.server[0] == IP

    def sent(self, link, octets): ...

    def heard(self, link, octets): ...


@asynccontextmanager
async def delivering(directory, rules, messages):
    """A daemon and a provider that has taken that many messages."""
    count = Count()
    network, zone = small_world("d.example", observer=count)
    policy = Policy(vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={"d.example": rules})
    node = Node(directory, network, zone, own=policy.own, say=lambda _: None)
    async with Provider(host=IP, port=25) as provider:
        await node.start(policy.text(str(directory)))
        letters = [
            Letter(
                test_id=str(n), mail_from="a@b.example", rcpts=(f"u{n}@d.example",), vmta="vmta1"
            )
            for n in range(messages)
        ]
        assert len(await submit(LISTENER, letters)) == messages
        assert await until(lambda: len(provider.journal) == messages, step_s=0.1, within_s=600)
        yield count
        await node.stop()


async def test_an_idle_connection_is_closed_though_nothing_else_happens(tmp_path):
    rules = QueueRules(connection_idle_timeout=30)
    async with delivering(tmp_path, rules, 1) as count:
        assert count.open == 1
        assert await until(lambda: not count.open, step_s=1, within_s=32)


async def test_no_connection_is_opened_before_another_one_s_quit_is_through(tmp_path):
    rules = QueueRules(normal=Pace(connections=1), max_msg_per_connection=1)
    async with delivering(tmp_path, rules, 5) as count:
        assert (count.total, count.most) == (5, 1)


async def test_an_idle_connection_gives_way_at_once_though_who_asked_goes_on_to_another_host(
    tmp_path,
):
    """The other host does not answer, and nothing else happens that would have it decided."""
    count = Count()
    rules = {"d.example": QueueRules(connection_idle_timeout=300), "e.example": QueueRules()}
    network, zone = small_world(*rules, observer=count)
    zone.add("e.example", "MX", "10 mx.example.", "20 silent.example.")
    zone.add("silent.example", "A", "198.51.100.2")
    network.conditions("198.51.100.2").is_silent = True
    policy = Policy(mx_connections=1, vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains=rules)
    node = Node(tmp_path, network, zone, own=policy.own, say=lambda _: None)
    async with Provider(host=IP, port=25) as provider:
        await node.start(policy.text(str(tmp_path)))
        for domain in rules:
            letter = Letter(
                test_id=domain, mail_from="a@b.example", rcpts=(f"u@{domain}",), vmta="vmta1"
            )
            assert await submit(LISTENER, [letter]) == [letter]
            if domain == "d.example":
                assert await until(lambda: provider.journal, step_s=0.1, within_s=60)
                assert count.open == 1
        assert await until(lambda: not count.open, step_s=0.1, within_s=5)
        await node.stop()
