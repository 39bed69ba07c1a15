"""Idle, slow and very large clients cost others nothing and the daemon little."""

import asyncio
import contextlib
import resource

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

IDLE = 1000
SLOW = 50
LARGE_OCTETS = 30 << 20
LARGE_GROWTH_OCTETS_MAX = LARGE_OCTETS // 2
"""Holding the message whole even once, in or out, would need twice that."""


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        yield opened


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def carried(loopback, count, name):
    arrived = len(loopback.provider.journal) + count
    await loopback.submit(*letters(count, name))
    await until(lambda: len(loopback.provider.journal) >= arrived, 60)


async def drip(writer):
    """A slow loris: a command that never ends, octet by octet."""
    writer.write(b"EHLO ")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.2)


async def test_idle_and_slow_clients_do_not_hold_up_others(loopback, many_files):
    loopback.configure(top=f"total-max-smtp-in {IDLE + SLOW + 50}")
    async with loopback.running():
        await carried(loopback, 50, "warm.example")
        writers, dripping = [], []
        try:
            for number in range(IDLE + SLOW):
                reader, writer = await asyncio.open_connection(*loopback.address)
                writers.append(writer)
                assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"220")
                if number >= IDLE:
                    dripping.append(asyncio.create_task(drip(writer)))
            # A daemon that waits for one of them never ends.
            await carried(loopback, 200, "beside.example")
        finally:
            for task in dripping:
                task.cancel()
            await asyncio.gather(*dripping, return_exceptions=True)
            for writer in writers:
                writer.close()


async def test_a_large_message_passes_in_bounded_memory(loopback):
    body = (b"All work and no play makes Jack a dull boy.\r\n" * (LARGE_OCTETS // 45)).decode()
    async with loopback.running() as daemon:
        await carried(loopback, 50, "warm.example")
        before = peak = daemon.resident_octets()

        async def watch():
            nonlocal peak
            while True:
                peak = max(peak, daemon.resident_octets())
                await asyncio.sleep(0.01)

        watching = asyncio.create_task(watch())
        try:
            await loopback.submit(Letter("anna@large.example", body=body))
            await until(lambda: len(loopback.provider.journal) == 51, 60)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    assert loopback.provider.journal[-1].size > LARGE_OCTETS - 45
    assert peak - before < LARGE_GROWTH_OCTETS_MAX
