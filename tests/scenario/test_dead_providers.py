"""However many dead providers have mail waiting, mail to the living does not wait behind them.

The whole shard after a start, in virtual time: thousands of queues whose hosts never answer, which
hold a connection for two minutes each, and ten connections in all.
"""

import contextlib

import pytest

from mta import clock
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.sim.disk import LoopHand
from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from mta.spool.store import Spool
from tests.scenario.small_world import IP, small_world

DEAD = 3000
LISTENER = ("10.0.0.1", 25)
GRAVE = "198.51.100.66"
SILENCE_S = 120
RECOVERED, NEW = "recovered.example", "new.example"


def text(directory):
    return f"""
host-name mta.sender.example
postmaster pm@sender.example
total-max-smtp-out 10
sync-msg-create no
sync-msg-update no
<spool {directory}/spool>
</spool>
<smtp-listener 10.0.0.1:25>
</smtp-listener>
<source 10.1.0.1>
always-allow-relaying yes
</source>
<domain *>
retry-after 10m
connect-timeout {SILENCE_S}s
</domain>
"""


async def fill(directory, now, failures):
    """One recipient for each domain; how often its queue has failed in a row."""
    spool = Spool.open(directory / "spool", take_up=lambda writer: LoopHand(writer, lambda: 0.0))
    content = b"Subject: waits\r\n\r\nhello\r\n"
    for domain, times in failures.items():
        key = QueueKey(domain, DEFAULT_VMTA)
        number = spool.next_message_id()
        envelope = Envelope(
            message_id=number, mail_from="s@b.example", time_queued=now, size=len(content),
            head_size=16,
        )  # fmt: skip
        await spool.accept(
            envelope, content, [Recipient(number << 16, envelope, f"u@{domain}", key, now)]
        )
        await spool.save_queue(key, paused=False, retry_position=times)
    await spool.close()


@contextlib.asynccontextmanager
async def started(directory, count=DEAD):
    """The node on a spool of dead queues, one that failed once, and none for the new domain."""
    network, zone = small_world(RECOVERED, NEW)
    zone.add("grave.example", "A", GRAVE)
    network.conditions(GRAVE).is_silent = True
    dead = [f"d{number}.example" for number in range(count)]
    for domain in dead:
        zone.add(domain, "MX", "10 grave.example.")
    (directory / "spool").mkdir()
    await fill(directory, clock.now(), {**dict.fromkeys(dead, 4), RECOVERED: 1})
    node = Node(directory, network, zone, own=frozenset({LISTENER[0]}), say=lambda _: None)
    async with Provider({"*": Profile()}, host=IP, port=25) as provider:
        await node.start(text(directory))
        yield node, provider
        await node.stop()


@pytest.fixture
async def world(tmp_path):
    async with started(tmp_path) as (node, provider):
        yield node, provider


async def passes(seconds):
    """Let so much time pass."""
    assert not await until(lambda: False, step_s=seconds, within_s=seconds)


def domains(provider):
    return [one.rcpt.rpartition("@")[2] for one in provider.journal]


async def test_what_failed_once_goes_before_thousands_that_failed_often(world):
    _, provider = world
    assert await until(lambda: RECOVERED in domains(provider), step_s=1, within_s=SILENCE_S + 10)


async def test_new_mail_goes_at_once(world):
    node, provider = world
    await passes(SILENCE_S / 2)
    gate = node.shard.scheduler.gate
    assert gate.total.used == 5
    letter = Letter(test_id="1", mail_from="s@b.example", rcpts=(f"u@{NEW}",), vmta="")
    assert await submit(LISTENER, [letter]) == [letter]
    assert await until(lambda: NEW in domains(provider), step_s=1, within_s=5)


async def test_every_dead_queue_is_tried_in_its_turn(tmp_path):
    count = 200
    async with started(tmp_path, count) as (node, _):
        queues = node.shard.scheduler.queues.values()
        await passes(count / 5 * (SILENCE_S + 1))
        assert all(queue.failures > 4 for queue in queues if queue.key.domain != RECOVERED)
