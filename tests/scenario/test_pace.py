"""A queue with a backlog reaches 98 % of its rate over hours, and never more than all of it."""

import asyncio
import random
from collections import deque

import pytest

from mta import clock
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.policy import Pace, Policy, QueueRules, VmtaRules
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.zone import Zone
from mta.units import Rate

HOUR = 3600
PROMPT = Profile()
DOMAINS = ("d0.example", "d1.example", "d2.example")


async def arrive(node, domain, count):
    """A backlog, put where the listener would put it."""
    spool = node.shard.spool
    content = b"Subject: x\r\n\r\nhello\r\n"
    for number in range(count):
        message_id = spool.next_message_id()
        envelope = Envelope(
            message_id=message_id,
            mail_from="a@b.example",
            time_queued=clock.now(),
            size=len(content),
            head_size=14,
        )
        key = QueueKey(domain, "vmta1")
        recipient = Recipient(message_id << 16, envelope, f"u{number}@{domain}", key, clock.now())
        await spool.accept(envelope, content, [recipient])
        node.shard.delivery.arrive([recipient], clock.now())


async def delivered_in(directory, policy, backlog, hours, profile=PROMPT):
    """When each recipient of a backlog was taken, in hours that begin with the first."""
    loop = asyncio.get_running_loop()
    dice = random.Random(1)
    network = loop.wiring = Network(loop, dice)
    zone = Zone(dice)
    ip = "198.51.100.1"
    zone.add("mx.example", "A", ip)
    for domain in backlog:
        zone.add(domain, "MX", "10 mx.example.")
    node = Node(directory, network, zone, own=policy.own, say=lambda _: None)
    async with Provider({"*": profile}, host=ip, port=25) as provider:
        await node.start(policy.text(str(directory)))
        for domain, count in backlog.items():
            await arrive(node, domain, count)
        over = loop.create_future()
        loop.call_later(hours * HOUR, over.set_result, None)
        await over
        await node.stop()
    return [received.time for received in provider.journal]


def most_in_a_window(times, seconds):
    window, most = deque(), 0
    for time in times:
        window.append(time)
        while window[0] <= time - seconds + 0.001:
            window.popleft()
        most = max(most, len(window))
    return most


@pytest.mark.parametrize(
    ("rate", "hours"), [(Rate(400, HOUR), 3), (Rate(10, 60), 2), (Rate(1, 4), 1)]
)
async def test_a_queue_reaches_its_own_rate(tmp_path, rate, hours):
    rules = QueueRules(normal=Pace(connections=5, msg_rate=rate))
    policy = Policy(vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={DOMAINS[0]: rules})
    permitted = rate.limit * hours * HOUR // rate.per_s
    times = await delivered_in(tmp_path, policy, {DOMAINS[0]: permitted + 100}, hours)
    assert len(times) >= 0.98 * permitted
    assert most_in_a_window(times, rate.per_s) <= rate.limit


async def test_queues_that_share_a_rate_reach_it_together(tmp_path):
    rate = Rate(20, 60)
    policy = Policy(
        vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",), msg_rate=rate)},
        domains={domain: QueueRules(normal=Pace(connections=2)) for domain in DOMAINS},
    )
    times = await delivered_in(tmp_path, policy, dict.fromkeys(DOMAINS, 500), 1)
    assert len(times) >= 0.98 * 20 * 60
    assert most_in_a_window(times, rate.per_s) <= rate.limit


async def test_a_slow_provider_does_not_keep_a_queue_from_its_rate(tmp_path):
    """What one connection cannot do, several do: five commands of two seconds a message."""
    rate = Rate(10, 60)
    pace = Pace(connections=20, msg_rate=rate)
    rules = QueueRules(normal=pace, connection_idle_timeout=120)  # EHLO once, not each minute
    policy = Policy(vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={DOMAINS[0]: rules})
    slow = Profile(delay_s=2.0)
    times = await delivered_in(tmp_path, policy, {DOMAINS[0]: 2000}, 3, slow)
    assert len(times) >= 0.98 * 10 * 180
