"""Virtual time never hangs and never waits: one message goes through the whole shard in it."""

import asyncio
import random
import time
from contextlib import asynccontextmanager

import pytest

from mta import clock
from mta.sim.loop import EPOCH, StalledError, VirtualLoop, until
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from mta.sim.zone import Zone

OWN = frozenset({"10.0.0.1", "10.0.0.2"})
DAY = 86400
LISTENER = ("10.0.0.1", 25)


def configuration(directory, domain=""):
    return f"""
host-name mta.sender.example
postmaster pm@sender.example
sync-msg-create no
sync-msg-update no
<spool {directory}/spool>
</spool>
<acct-file {directory}/acct.csv>
records d,b,t
</acct-file>
<smtp-listener 10.0.0.1:25>
</smtp-listener>
<source 10.1.0.1>
always-allow-relaying yes
process-x-virtual-mta yes
</source>
<virtual-mta vmta1>
smtp-source-host 10.0.0.2 out.sender.example
</virtual-mta>
<domain *>
{domain}
</domain>
"""


def accounting(directory):
    (piece,) = directory.glob("acct*.csv")
    return piece.read_text().splitlines()


@asynccontextmanager
async def sending(directory, profile):
    """A daemon that has accepted one message, the provider it is for, and the log."""
    loop = asyncio.get_running_loop()
    dice = random.Random(1)
    network = loop.wiring = Network(loop, dice)
    zone = Zone(dice)
    zone.add("dest.example", "MX", "10 mx.dest.example.")
    zone.add("mx.dest.example", "A", "198.51.100.1")
    said = []
    node = Node(directory, network, zone, own=OWN, say=said.append)
    letter = Letter(test_id="1", mail_from="a@b.example", rcpts=("u@dest.example",), vmta="vmta1")
    async with Provider({"*": profile}, host="198.51.100.1", port=25) as provider:
        await node.start(configuration(directory, "retry-recipients-after 1h"))
        assert await submit(LISTENER, [letter]) == [letter]
        yield provider, said
        await node.stop()


async def test_days_pass_at_once_and_the_clock_follows():
    started = time.monotonic()
    assert clock.now() == EPOCH
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(5 * DAY, done.set_result, None)
    await done
    assert clock.now() == EPOCH + 5 * DAY
    assert time.monotonic() - started < 5


def test_waiting_for_what_can_never_come_is_an_error_and_no_hang():
    with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.raises(StalledError):
        runner.run(asyncio.Event().wait())


@pytest.mark.parametrize("set_by", [-3600, DAY])
async def test_a_clock_that_is_set_delays_a_retry_at_most(tmp_path, set_by):
    async with sending(tmp_path, Profile(greylist_tries=1)) as (provider, _):
        loop = asyncio.get_running_loop()
        loop.set_wall(set_by)
        assert await until(lambda: bool(provider.journal), step_s=60, within_s=DAY)
        assert loop.time() < 2 * 3600 + 3700
    assert [line.split(",")[0] for line in accounting(tmp_path)] == ["type", "t", "d"]


async def test_a_message_goes_through_the_production_shard_and_into_the_accounting(tmp_path):
    async with sending(tmp_path, Profile(greylist_tries=2)) as (provider, said):
        assert await until(lambda: bool(provider.journal), step_s=60, within_s=DAY), said
    (received,) = provider.journal
    assert received.source_ip == "10.0.0.2"
    assert 7200 < received.time - EPOCH < 7300
    assert [line.split(",")[0] for line in accounting(tmp_path)] == ["type", "t", "t", "d"]
