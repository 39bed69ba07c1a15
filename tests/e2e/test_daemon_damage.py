"""A damaged spool costs what stands on the damaged place, and says so; the rest is delivered."""

import re
import sqlite3

import aiosmtplib
import pytest

from mta.daemon.shard import EXIT_DAMAGED, EXIT_FAILED
from mta.sim.provider import Provider
from mta.spool.schema import PAGE_OCTETS
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

COUNT = 12


@pytest.fixture
async def waiting(tmp_path):
    """A daemon that was stopped with twelve messages in a paused queue; all is in one spool.db."""
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.provider = provider
        async with loopback.running() as daemon:
            assert (await daemon.command("pause", "queue", "example.com")).code == 0
            await loopback.submit(
                *(Letter(f"r{n}@example.com", body=f"body {n}.\r\n" * 500) for n in range(COUNT))
            )
            assert await daemon.stop() == 0
        yield loopback


def find(loopback, pattern):
    """The one place of all databases that matches: the database, where it begins and ends."""
    ((path, place),) = [
        (path, place)
        for directory in loopback.spools
        for path in [directory / "spool.db"]
        for place in re.finditer(pattern, path.read_bytes())
    ]
    return path, *place.span()


def flip(path, at, bits):
    content = bytearray(path.read_bytes())
    content[at] ^= bits
    path.write_bytes(content)


def flip_amid(loopback, pattern):
    """Flip a bit in the middle of what matches."""
    path, start, end = find(loopback, pattern)
    flip(path, (start + end) // 2, 4)


async def started_again(loopback, status):
    """A worker that ended so, by the daemon; the only one, by whoever supervises it: here."""
    daemon = loopback.daemon
    if loopback.worker_count > 1:
        said = f"ended with {status}; it is started again"
        await until(lambda: said in loopback.told(), 30, loopback.told)
    else:
        assert await daemon.ended() == status
        await daemon.start()


async def resume(daemon):
    assert (await daemon.command("resume", "queue", "example.com")).code == 0


async def settled(loopback):
    await until(lambda: len(loopback.rows("d,b")) == COUNT, 30, loopback.told)
    bounced = {row["rcpt"]: row["dsnStatus"] for row in loopback.rows("b")}
    assert {r.rcpt for r in loopback.provider.journal}.isdisjoint(bounced)
    assert len(loopback.provider.journal) == COUNT - len(bounced)
    return bounced


async def test_a_damaged_content_and_a_damaged_recipient_bounce_and_the_rest_goes(waiting):
    flip_amid(waiting, rb"(body 3\.\r\n){400,500}")
    flip_amid(waiting, rb"(?<!To: )r5@example\.com")
    async with waiting.running() as daemon:
        await resume(daemon)
        bounced = await settled(waiting)
    assert len(bounced) == 2
    assert [status[:5] for status in bounced.values()] == ["5.3.0", "5.3.0"]
    assert "r3@example.com" in bounced
    assert waiting.told().count("is damaged and bounces") == 2
    kept = [path for spool in waiting.spools for path in (spool / "damaged").glob("*.eml")]
    assert any(b"body 3." in path.read_bytes() for path in kept)


async def test_a_page_that_cannot_be_read_costs_what_stands_on_it(waiting):
    path, start, _ = find(waiting, rb"(body 7\.\r\n){400,500}")
    flip(path, start // PAGE_OCTETS * PAGE_OCTETS, 0xFF)
    async with waiting.running() as daemon:
        await started_again(waiting, EXIT_DAMAGED)
        await until(lambda: "salvaged" in waiting.told(), 30, waiting.told)
        await waiting.whole()
        await resume(daemon)
        lost = waiting.told().count("lost with the damaged part of the spool")
        assert 1 <= lost <= 4
        await until(lambda: len(waiting.rows("d")) == COUNT - lost, 30, waiting.told)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


DEFECT = """
from mta.spool import writer

def defect(*_):
    raise AssertionError("a defect of the program")

writer.Writer._append = defect
"""


async def test_a_writer_that_fails_ends_the_process_and_nobody_waits_for_it(tmp_path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        (tmp_path / "sitecustomize.py").write_text(DEFECT)
        async with loopback.running(PYTHONPATH=str(tmp_path)) as daemon:
            with pytest.raises(aiosmtplib.SMTPServerDisconnected):
                await loopback.submit(Letter("one@example.com"))
            await started_again(loopback, EXIT_FAILED)
        assert "the spool cannot be written any more: AssertionError(" in loopback.told()
        assert "what writes the spool has ended" in daemon.said()
        async with loopback.running():
            await loopback.submit(Letter("two@example.com"))
            await until(lambda: provider.journal, 30, loopback.told)
    assert [r.rcpt for r in provider.journal] == ["two@example.com"]
