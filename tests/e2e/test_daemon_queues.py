"""What waits in queues outlives a stop, as does what an operator said about them."""

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import stays, until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        yield opened


async def test_a_paused_queue_stays_paused_over_a_restart(loopback):
    async with loopback.running() as daemon:
        assert (await daemon.command("pause", "queue", "example.com")).code == 0
        await loopback.submit(*letters(3, "example.com"), *letters(2, "other.example"))
        await until(lambda: len(loopback.provider.journal) == 2, 20)
        assert await daemon.stop() == 0
    async with loopback.running() as daemon:
        await stays(lambda: len(loopback.provider.journal), 1.5)
        explained = await daemon.command("explain", "example.com")
        assert "paused" in explained.text
        assert (await daemon.command("resume", "queue", "example.com")).code == 0
        await until(lambda: len(loopback.provider.journal) == 5, 20)
        assert await daemon.stop() == 0
    async with loopback.running():
        await loopback.submit(*letters(1, "example.com"))
        await until(lambda: len(loopback.provider.journal) == 6, 20)
    assert len(loopback.rows("d")) == 6


async def test_set_priority_puts_queued_mail_first(loopback):
    loopback.configure(domain="max-smtp-out 1")
    async with loopback.running() as daemon:
        assert (await daemon.command("pause", "queue", "example.com")).code == 0
        await loopback.submit(*letters(5, "example.com"))
        last = ("set", "priority", "90", "--rcpt=r4@*")
        assert "1 of 1 matching" in (await daemon.command(*last)).text
        assert (await daemon.command("set", "priority", "10", "--rcpt=r0@*")).code == 0
        assert (await daemon.command("resume", "queue", "example.com")).code == 0
        await until(lambda: len(loopback.provider.journal) == 5, 20)
    order = [row["rcpt"].partition("@")[0] for row in loopback.rows("d")]
    assert order == ["r4", "r1", "r2", "r3", "r0"]


async def test_mail_for_a_host_that_is_down_waits_and_is_delivered_later(tmp_path):
    async with Provider() as gone:
        port = gone.port
    loopback = Loopback(tmp_path, port)
    async with loopback.running() as daemon:
        await loopback.submit(*letters(5, "example.com"))
        await until(lambda: "ECONNREFUSED" in loopback.told(), 10, loopback.told)
        explained = await daemon.command("explain", "example.com")
        assert "ECONNREFUSED" in explained.text
        async with Provider(port=port) as back:
            await until(lambda: len(back.journal) == 5, 20, loopback.told)
    assert len(loopback.rows("d")) == 5
    assert loopback.rows("b") == []
