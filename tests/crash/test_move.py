"""A kill in the middle of a move leaves every recipient in one queue, the old or the new."""

import sqlite3
from collections import Counter

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

COUNT = 700
"""More than one page, so that one is moved and the next is not."""
VMTAS = "<virtual-mta a>\n</virtual-mta>\n<virtual-mta b>\n</virtual-mta>\n"
REROUTED = VMTAS.replace(
    "<virtual-mta a>\n", "<virtual-mta a>\n<domain *>\nreroute-to-virtual-mta b\n</domain>\n"
)


def queued(spool):
    """Recipients by VirtualMTA of their queue, as the disk has them."""
    with sqlite3.connect(f"file:{spool}/spool.db?mode=ro", uri=True) as connection:
        return Counter(
            dict(
                connection.execute(
                    "SELECT vmta, COUNT(*) FROM recipient JOIN queue ON queue.id = queue"
                    " GROUP BY vmta"
                )
            )
        )


@pytest.mark.parametrize("failpoint", ["move.before-commit:2", "move.after-commit"])
async def test_a_move_that_is_killed_loses_and_doubles_nothing(tmp_path, failpoint):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=VMTAS)
        async with loopback.running() as daemon:
            for vmta in "ab":
                assert (await daemon.command("pause", "queue", f"example.com/{vmta}")).code == 0
            await loopback.submit(*letters(COUNT, "example.com", "X-Virtual-MTA: a\r\n"))
        loopback.configure(top=REROUTED)
        async with loopback.running(PETREL_FAILPOINT=failpoint) as daemon:
            await daemon.command("resume", "queue", "example.com/a")
            await until(lambda: not daemon.is_running, 30, loopback.told)
            assert daemon.exit_code == -9
        left = queued(loopback.spool)
        assert left.total() == COUNT
        assert left["b"] == 500, left
        assert provider.journal == []
        async with loopback.running() as daemon:
            for vmta in "ab":
                await daemon.command("resume", "queue", f"example.com/{vmta}")
            await until(lambda: len(provider.journal) >= COUNT, 60, loopback.told)
        assert queued(loopback.spool) == {}
        received = Counter(one.rcpt for one in provider.journal)
        assert len(received) == COUNT
        assert sum(received.values()) == COUNT
        assert {row["vmta"] for row in loopback.rows("d")} == {"b"}
        assert {row["queue"] for row in loopback.rows("d")} == {"example.com/b"}
