"""Who asked is told once of each notify-of-delay-every that mail has waited, over restarts too."""

import asyncio
import random
import sqlite3
from contextlib import asynccontextmanager

import pytest

from mta.sim.loop import EPOCH, until
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from mta.sim.zone import Zone
from mta.spool.delays import Look, note

HOUR = 3600
LATE_S = 400
LISTENER = ("10.0.0.1", 25)
SENDER = "a@sender.example"
HOSTS = {"198.51.100.1": "dest.example", "198.51.100.2": "sender.example"}
"""Where mail waits, and where submitters read theirs."""


def configuration(directory, of_queue="", of_sender=""):
    return f"""
host-name mta.sender.example
postmaster pm@sender.example
<spool {directory}/spool>
</spool>
<acct-file {directory}/acct.csv>
</acct-file>
<smtp-listener 10.0.0.1:25>
</smtp-listener>
<source 10.1.0.1>
always-allow-relaying yes
</source>
<domain sender.example>
{of_sender}
</domain>
<domain dest.example>
retry-recipients-after 30m
bounce-after 15h
{of_queue}
</domain>
"""


async def passes(seconds):
    """Let so much time pass."""
    assert not await until(lambda: False, step_s=seconds, within_s=seconds)


class Site:
    """A daemon, mail hosts that defer what it sends, and the mailbox of the submitter."""

    def __init__(self, directory, node, provider, mailbox):
        self.directory = directory
        self.node = node
        self.provider = provider
        self.mailbox = mailbox

    async def send(self, notify, count=1, mail_from=SENDER):
        letter = Letter(
            test_id="1",
            mail_from=mail_from,
            rcpts=tuple(f"u{n}@dest.example" for n in range(count)),
            notify=notify,
        )
        assert await submit(LISTENER, [letter]) == [letter]

    async def restart(self, down_s, of_queue=""):
        await self.node.stop()
        await passes(down_s)
        await self.node.start(configuration(self.directory, of_queue))

    @property
    def told(self):
        """When each notification arrived, hours from the beginning."""
        return [(received.time - EPOCH) / HOUR for received in self.mailbox.journal]


@pytest.fixture
async def site(tmp_path):
    async with running(tmp_path) as site:
        yield site


@asynccontextmanager
async def running(directory):
    loop = asyncio.get_running_loop()
    dice = random.Random(1)
    network = loop.wiring = Network(loop, dice)
    zone = Zone(dice)
    for ip, domain in HOSTS.items():
        zone.add(domain, "MX", f"10 mx.{domain}.")
        zone.add(f"mx.{domain}", "A", ip)
    deferring, reading = ({"*": one} for one in (Profile(defer=1.0), Profile()))
    node = Node(directory, network, zone, own=frozenset({"10.0.0.1"}), say=lambda _: None)
    async with (
        Provider(deferring, host="198.51.100.1", port=25) as provider,
        Provider(reading, host="198.51.100.2", port=25) as mailbox,
    ):
        await node.start(configuration(directory))
        yield Site(directory, node, provider, mailbox)
        await node.stop()


def are_about(times, hours):
    return len(times) == len(hours) and all(
        0 <= (time - hour) * HOUR <= LATE_S for time, hour in zip(times, hours, strict=True)
    )


async def test_who_asked_is_told_after_each_period(site):
    await site.send("DELAY", count=3)
    await passes(14 * HOUR)
    assert are_about(site.told, [4, 8, 12])
    assert {received.mail_from for received in site.mailbox.journal} == {""}


async def test_who_did_not_ask_is_not_told(site):
    for notify in ("", "FAILURE", "SUCCESS", "NEVER"):
        await site.send(notify)
    await site.send("DELAY", mail_from="")
    await passes(14 * HOUR)
    assert site.told == []


async def test_mail_that_was_given_up_is_told_of_as_a_failure_only(site):
    await site.send("DELAY,FAILURE")
    await passes(30 * HOUR)
    assert are_about(site.told, [4, 8, 12, 15])


@pytest.mark.parametrize(
    ("of_queue", "hours"),
    [("notify-of-delay-every never", []), ("notify-of-delay-every 10h", [10])],
)
async def test_the_period_is_that_of_the_queue(site, of_queue, hours):
    site.node.reload(configuration(site.directory, of_queue))
    await site.send("DELAY")
    await passes(14 * HOUR)
    assert are_about(site.told, hours)


async def test_nobody_is_told_at_a_domain_that_does_not_take_notifications(site):
    site.node.reload(configuration(site.directory, of_sender="deliver-local-dsn no"))
    await site.send("DELAY")
    await passes(10 * HOUR)
    assert site.told == []


async def test_after_a_restart_nobody_is_told_again_of_the_same_period(site):
    await site.send("DELAY")
    await passes(4.5 * HOUR)
    await site.restart(60)
    await passes(5 * HOUR)
    assert are_about(site.told, [4, 8])


async def test_what_ended_while_the_daemon_was_down_is_told_once_when_it_is_up(site):
    await site.send("DELAY")
    await passes(1 * HOUR)
    await site.restart(8 * HOUR)
    await passes(1 * HOUR)
    assert are_about(site.told, [9])


async def test_a_look_that_was_broken_off_goes_on_where_it_was(site):
    await site.send("DELAY", count=2)
    first, _ = await site.node.shard.spool.reports.delays.waiting(0, 2)
    await passes(5 * HOUR)
    await site.node.stop()
    look = Look(int(EPOCH), int(EPOCH) + 9 * HOUR, first.recipient_id)
    with sqlite3.connect(site.directory / "spool" / "spool.db") as connection:
        note(connection, look)
    connection.close()
    await site.node.start(configuration(site.directory))
    await passes(1 * HOUR)
    assert len(site.told) == 2
    assert await site.node.shard.spool.reports.delays.last() == Look(look.until, look.until)


async def test_a_queue_at_rest_is_told_of_too(site):
    await site.send("DELAY")
    (queue,) = [q for q in site.node.shard.scheduler.queues.values() if q.recipients]
    site.node.shard.scheduler.pause(queue, paused=True)
    assert await until(lambda: len(site.told) == 1, step_s=60, within_s=5 * HOUR)
    assert are_about(site.told, [4])
