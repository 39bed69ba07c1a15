"""Mail programs that others wrote get along with the daemon."""

import asyncio

import pytest

from mta.sim.provider import Provider
from tests.conftest import require
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PROGRAM_S = 60


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        yield opened


async def run(*command):
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(PROGRAM_S):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_smtp_source_of_postfix_injects(loopback):
    require("smtp-source")
    async with loopback.running():
        target = f"inet:{loopback.address[0]}:{loopback.address[1]}"
        code, said = await run(
            *("smtp-source", "-s", "5", "-m", "200", "-l", "5000", "-f", "news@sender.example"),
            *("-N", "-t", "anna@example.com", target),
        )
        assert code == 0, said
        await until(lambda: len(loopback.provider.journal) == 200, 30)
    assert len(loopback.rows("d")) == 200
    assert all(int(row["dlvSize"]) > 5000 for row in loopback.rows("d"))


async def test_swaks_with_its_own_pipelining_and_two_recipients(loopback):
    require("swaks")
    async with loopback.running():
        host, port = loopback.address
        code, said = await run(
            *("swaks", "--server", host, "--port", str(port), "--pipeline"),
            *("--from", "news@sender.example", "--to", "anna@example.com,otto@other.example"),
            *("--header", "X-Test: yes", "--body", "..a line that begins with a dot\n.\nlast"),
        )
        assert code == 0, said
        await until(lambda: len(loopback.provider.journal) == 2, 30)
    assert {r["rcpt"] for r in loopback.rows("d")} == {"anna@example.com", "otto@other.example"}
