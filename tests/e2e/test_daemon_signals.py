"""A running daemon is stopped and told of changes by signals."""

import re
import signal
import time

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import stays, until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        yield opened


async def delivered(loopback, count):
    await until(lambda: len(loopback.provider.journal) >= count, 20, loopback.told)
    await stays(lambda: len(loopback.provider.journal), 0.5)
    assert len(loopback.provider.journal) == count


async def test_sighup_applies_a_changed_rate(loopback):
    loopback.configure(domain="max-msg-rate 5/h")
    async with loopback.running() as daemon:
        await loopback.submit(*letters(20, "example.com"))
        await delivered(loopback, 5)
        loopback.configure(domain="max-msg-rate 12/h")
        daemon.signal(signal.SIGHUP)
        await delivered(loopback, 12)
        assert daemon.is_running


async def test_a_bad_file_leaves_the_old_in_force_and_says_every_problem(loopback):
    loopback.configure(domain="max-msg-rate 5/h")
    async with loopback.running() as daemon:
        loopback.configure(domain="max-msg-rate 9/h\nmax-smtp-ou 7\nretry-after soon")
        lines = daemon.config.read_text().splitlines()
        places = [
            f"petrel.conf:{lines.index(bad) + 1}" for bad in lines if "ou 7" in bad or "soon" in bad
        ]
        daemon.signal(signal.SIGHUP)
        await until(lambda: all(place in loopback.told() for place in places), 10, loopback.told)
        said = await daemon.command("reload")
        assert said.code != 0
        assert all(place in said.text for place in places), said.text
        assert "max-smtp-out" in said.text, "the directive that was meant"
        await loopback.submit(*letters(20, "example.com"))
        await delivered(loopback, 5)
        shown = await daemon.command("show", "settings", "example.com")
        assert re.search(r"max-msg-rate[ =\"]+5/h", shown.text), shown.text


async def test_sigterm_ends_idle_connections_at_once(loopback):
    async with loopback.running() as daemon:
        await loopback.submit(Letter("anna@example.com"))
        await delivered(loopback, 1)
        before = time.monotonic()
        assert await daemon.stop() == 0, loopback.told()
        assert time.monotonic() - before < 5
    assert len(loopback.rows("d")) == 1
    assert len(loopback.rows("c")) == 1
