"""What one message or one task does wrong costs no other message anything, nor the daemon."""

import asyncio
import random

import pytest

from mta import clock
from mta.daemon.heads import Heads
from mta.errors import LocalProtocolError, SpoolDamagedError
from mta.queues.actions import Close
from mta.queues.connection import Connection
from mta.sim.loop import until
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from mta.sim.zone import Zone
from mta.smtp.client import Client

LISTENER = ("10.0.0.1", 25)
HOST = "198.51.100.1"


class Site:
    """A daemon of which a test breaks a part, and the host its mail goes to."""

    def __init__(self, node, provider, said):
        self.node = node
        self.provider = provider
        self.said = said

    async def send(self, *senders):
        """One message from each."""
        letters = [
            Letter(test_id=str(n), mail_from=sender, rcpts=(f"u{n}@dest.example",))
            for n, sender in enumerate(senders)
        ]
        assert await submit(LISTENER, letters) == letters

    async def delivered(self, *senders):
        """Wait for mail of exactly these."""
        await until(lambda: len(self.provider.journal) >= len(senders), step_s=1, within_s=3600)
        assert sorted(one.mail_from for one in self.provider.journal) == sorted(senders)

    def has_said(self, text):
        return [line for line in self.said if text in line]


@pytest.fixture
async def site(tmp_path):
    loop = asyncio.get_running_loop()
    dice = random.Random(1)
    network = loop.wiring = Network(loop, dice)
    zone = Zone(dice)
    zone.add("dest.example", "MX", "10 mx.dest.example.")
    zone.add("mx.dest.example", "A", HOST)
    said = []
    node = Node(tmp_path, network, zone, own=frozenset({"10.0.0.1"}), say=said.append)
    async with Provider(host=HOST, port=25) as provider:
        await node.start(
            "host-name mta.sender.example\npostmaster pm@sender.example\n"
            f"<spool {tmp_path}/spool>\n</spool>\n<acct-file {tmp_path}/acct.csv>\n</acct-file>\n"
            "<smtp-listener 10.0.0.1:25>\n</smtp-listener>\n"
            "<source 10.1.0.1>\nalways-allow-relaying yes\n</source>\n"
            "<domain sender.example>\nsmtp-hosts 192.0.2.1\n</domain>\n"
            "<domain dest.example>\nmax-smtp-out 1\nmax-data-volume-rate 10m/h\n</domain>\n"
        )
        yield Site(node, provider, said)
        await node.stop()


async def test_a_message_that_cannot_be_rendered_waits_and_the_rest_of_its_queue_goes(
    site, monkeypatch
):
    rendered = Heads.render

    def defect(self, rules, envelope, *more):
        if envelope.mail_from.startswith("bad@"):
            raise AssertionError("a defect")
        return rendered(self, rules, envelope, *more)

    with monkeypatch.context() as patched:
        patched.setattr(Heads, "render", defect)
        await site.send("a@sender.example", "bad@sender.example", "b@sender.example")
        await site.delivered("a@sender.example", "b@sender.example")
        assert site.has_said("AssertionError: a defect")
    await site.delivered("a@sender.example", "b@sender.example", "bad@sender.example")


async def test_what_one_action_does_wrong_loses_none_of_those_decided_with_it(site, monkeypatch):
    await site.send("a@sender.example")
    await site.delivered("a@sender.example")
    shard = site.node.shard
    (queue,) = shard.scheduler.queues.values()
    with monkeypatch.context() as patched:

        def defect(*_, **__):
            raise AssertionError("a defect")

        patched.setattr(shard.spool, "save_queue", defect)
        assert shard.scheduler.pause(queue, paused=True)
        assert shard.scheduler.pause(queue, paused=False)
        await site.send("b@sender.example")
        await site.delivered("a@sender.example", "b@sender.example")
    assert site.has_said("internal error: SaveQueue: AssertionError: a defect")
    assert site.has_said("in defect")


async def test_a_connection_that_its_peer_closed_first_need_not_be_closed(site):
    await site.send("a@sender.example")
    await site.delivered("a@sender.example")
    (queue,) = site.node.shard.scheduler.queues.values()
    assert await until(lambda: not queue.connections, step_s=1, within_s=60)
    gone = Connection(queue, 1, queue.sources[0], clock.now())
    site.node.shard.scheduler._agenda.do(Close(gone, "another queue waits"))
    await site.send("b@sender.example")
    await site.delivered("a@sender.example", "b@sender.example")
    assert not site.has_said("internal error")


async def test_a_damaged_message_uses_nothing_of_a_data_volume_rate(site, monkeypatch):
    await site.send("a@sender.example")
    await site.delivered("a@sender.example")
    shard = site.node.shard
    (queue,) = shard.scheduler.queues.values()
    shard.scheduler.pause(queue, paused=True)
    await site.send("bad@sender.example", "b@sender.example")
    read = shard.spool.content

    async def damaged_once(_):
        monkeypatch.setattr(shard.spool, "content", read)
        raise SpoolDamagedError("its content is not what was written")

    monkeypatch.setattr(shard.spool, "content", damaged_once)
    shard.scheduler.pause(queue, paused=False)
    shard.delivery.kick()
    await site.delivered("a@sender.example", "b@sender.example")
    assert site.has_said("is damaged")
    assert await until(lambda: not queue.connections, step_s=1, within_s=60)
    assert queue.data_limit.rate.used(clock.now() + 2 * 3600) == 0


async def test_a_message_that_cannot_be_said_waits_and_the_rest_of_its_queue_goes(
    site, monkeypatch
):
    begun = Client.begin

    def defect(self, transaction):
        if transaction.sender.startswith("bad@"):
            raise LocalProtocolError("a defect")
        return begun(self, transaction)

    with monkeypatch.context() as patched:
        patched.setattr(Client, "begin", defect)
        await site.send("a@sender.example", "bad@sender.example", "b@sender.example")
        await site.delivered("a@sender.example", "b@sender.example")
        assert site.has_said("LocalProtocolError: a defect")
        (queue,) = site.node.shard.scheduler.queues.values()
        assert not queue.ladder.position
    await site.delivered("a@sender.example", "b@sender.example", "bad@sender.example")


@pytest.mark.parametrize("name", ["due", "priorities"])
async def test_a_queue_is_read_again_after_a_reading_that_failed_by_a_defect(
    site, monkeypatch, name
):
    spool = site.node.shard.spool
    with monkeypatch.context() as patched:

        async def defect(*_):
            raise AssertionError("a defect")

        patched.setattr(spool, name, defect)
        await site.send("a@sender.example")
        (queue,) = site.node.shard.scheduler.queues.values()
        site.node.shard.scheduler.reread(queue)
        site.node.shard.delivery.kick()
        assert await until(lambda: site.has_said("AssertionError: a defect"), step_s=1, within_s=60)
    await site.delivered("a@sender.example")


async def test_a_look_for_delays_that_fails_by_a_defect_is_made_again(site, monkeypatch):
    with monkeypatch.context() as patched:

        async def defect(*_):
            raise AssertionError("a defect")

        patched.setattr(site.node.shard.spool.reports.delays, "waiting", defect)
        assert await until(lambda: site.has_said("delay wait"), step_s=60, within_s=3600)
    await site.send("a@sender.example")
    await site.delivered("a@sender.example")
