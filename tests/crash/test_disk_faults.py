"""A disk that fails loses nothing: mail is refused for now, outcomes wait, and both recover.

The faults come from a library before the C library (`faulty_disk.c`), so what is tested is
the daemon, SQLite and their calls as they are.
"""

import errno
import random

import pytest

from mta.sim.load import inject
from mta.sim.provider import Provider
from tests.crash.preload import built
from tests.crash.trial import DOMAINS, PROFILES, Trial
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 60.0
FAULT_S_MAX = 20.0
"""A kill at the end of a fault finds outcomes that waited for the disk so long."""
REFUSED = "a message was refused with 45"
FAULTS = {
    "an error of every write": ("write", errno.EIO),
    "an error of every sync": ("sync", errno.EIO),
    "read-only of a sudden": ("write", errno.EROFS),
    "full": ("write", errno.ENOSPC),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built("faulty_disk", tmp_path_factory.mktemp("faulty"))


class Disk:
    """What the disk of a daemon does at this moment."""

    def __init__(self, spool, library, order):
        self._order = order
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTY_DISK": str(spool),
            "FAULTY_DISK_ORDER": str(order),
        }
        self.say("")

    def say(self, text):
        aside = self._order.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self._order)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_disk_that_fails_for_a_while_and_at_a_death_loses_nothing(tmp_path, library, fault):
    kind, number = FAULTS[fault]
    async with Provider(PROFILES) as provider:
        loopback = Loopback(tmp_path, provider.port)
        trial = Trial(loopback, random.Random(1))
        disk = Disk(loopback.spool, library, tmp_path / "order")

        async def accepted(more):
            wanted = len(trial.accepted) + more
            await until(lambda: len(trial.accepted) > wanted, WAIT_S, loopback.told)

        async def fails():
            disk.say(f"{kind} {number}")
            said = await inject(*loopback.address, messages=5, domains=DOMAINS)
            assert (said.accepted, said.refused) == ([], 5)
            assert loopback.daemon.is_running

        async def life():
            await accepted(50)
            await fails()
            # Lines of the log are gathered: a kill takes those of the last moment.
            await until(lambda: REFUSED in loopback.told(), WAIT_S, loopback.told)
            disk.say("")
            await accepted(50)
            await fails()

        await trial.live(fault, life, **disk.environment)
        await trial.drain()
    balance = trial.balance(provider, settled_within_s=FAULT_S_MAX)
    assert balance.problems(trial.in_flight_max) == []


@pytest.mark.parametrize(("top", "taken"), [("", 0), ("sync-msg-create no\nsync-msg-update no", 5)])
async def test_250_waits_for_the_sync_unless_the_operator_says_otherwise(
    tmp_path, library, top, taken
):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=top)
        disk = Disk(loopback.spool, library, tmp_path / "order")
        async with loopback.running(**disk.environment):
            # The head of SQLite's log is synced once, whatever is set: that of each worker.
            said = await inject(*loopback.address, messages=5, domains=DOMAINS)
            assert len(said.accepted) == 5
            await until(lambda: len(loopback.rows("d")) == 5, WAIT_S, loopback.told)
            disk.say(f"sync {errno.EIO}")
            said = await inject(*loopback.address, messages=5, domains=DOMAINS)
            disk.say("")
    assert (len(said.accepted), said.refused) == (taken, 5 - taken)
