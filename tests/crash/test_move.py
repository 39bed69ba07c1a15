"""A kill in the middle of a move leaves every recipient in one queue, the old or the new."""

import sqlite3
from collections import Counter

import pytest

from mta.daemon.partition import owner
from mta.model.queue_key import QueueKey
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


def queued(spools):
    """Recipients by VirtualMTA of their queue, as the disk has them."""
    found = Counter()
    for spool in spools:
        with sqlite3.connect(f"file:{spool}/spool.db?mode=ro", uri=True) as connection:
            found += dict(
                connection.execute(
                    "SELECT vmta, COUNT(*) FROM recipient JOIN queue ON queue.id = queue"
                    " GROUP BY vmta"
                )
            )
    return found


FAILPOINTS = ["move.before-commit:2", "move.after-commit"]


async def kill_amid_the_move(loopback, domain, failpoint):
    """Queue mail for VirtualMTA a, have it all rerouted to b, and die meanwhile."""
    workers = f"workers {loopback.worker_count}\n"
    loopback.configure(top=workers + VMTAS)
    async with loopback.running() as daemon:
        for vmta in "ab":
            assert (await daemon.command("pause", "queue", f"{domain}/{vmta}")).code == 0
        await loopback.submit(*letters(COUNT, domain, "X-Virtual-MTA: a\r\n"))
    loopback.configure(top=workers + REROUTED)
    async with loopback.running(PETREL_FAILPOINT=failpoint) as daemon:
        await daemon.command("resume", "queue", f"{domain}/a")
        await loopback.dies()


async def delivered_by_b(loopback, domain, provider):
    """Each recipient once, by the VirtualMTA that it was rerouted to."""
    async with loopback.running() as daemon:
        for vmta in "ab":
            await daemon.command("resume", "queue", f"{domain}/{vmta}")
        await until(lambda: len(provider.journal) >= COUNT, 60, loopback.told)
    assert queued(loopback.spools) == {}
    received = Counter(one.rcpt for one in provider.journal)
    assert len(received) == COUNT
    assert sum(received.values()) == COUNT
    assert {row["vmta"] for row in loopback.rows("d")} == {"b"}
    assert {row["queue"] for row in loopback.rows("d")} == {f"{domain}/b"}


@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_move_that_is_killed_loses_and_doubles_nothing(tmp_path, failpoint):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        await kill_amid_the_move(loopback, "example.com", failpoint)
        left = queued(loopback.spools)
        assert left.total() == COUNT
        assert left["b"] == 500, left
        assert provider.journal == []
        await delivered_by_b(loopback, "example.com", provider)


@pytest.mark.own_workers
@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_a_move_to_another_worker_that_is_killed_loses_and_doubles_nothing(
    tmp_path, failpoint
):
    """What is under way from worker to worker may be in the spools of both, and is taken once."""
    domain = "one.example"
    assert owner(QueueKey(domain, "a"), 3) != owner(QueueKey(domain, "b"), 3)
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top="workers 3")
        await kill_amid_the_move(loopback, domain, failpoint)
        left = queued(loopback.spools)
        assert left.total() >= COUNT
        assert left["b"] >= 500, left
        assert provider.journal == []
        await delivered_by_b(loopback, domain, provider)
