"""A full disk loses nothing, is answered 452, and is got over without help."""

import contextlib
import time

import aiosmtplib
import pytest

from mta.daemon.refused import INTERVAL_S
from mta.sim.provider import Provider
from tests.conftest import require, unavailable
from tests.e2e.daemon import free_port, until
from tests.e2e.loopback import ADDRESS, Loopback
from tests.e2e.netns import Namespace, NamespaceError
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DISK_OCTETS = 12 << 20
"""For the spool of each worker."""
TAKEN_MAX = 200
"""The log of the database may have blocks of its own left, and what fits there is on disk."""


@pytest.fixture
async def small_disk(tmp_path):
    """A daemon whose spool stands on a file system of its own, in a namespace of its own."""
    require("root", "unshare", "nsenter", "setpriv", "ip")
    try:
        namespace = Namespace()
    except NamespaceError as error:
        unavailable(f"cannot make a mount namespace: {error}")
    with namespace.inside():
        port = free_port()
    loopback = Loopback(tmp_path, port, namespace)
    loopback.spool.mkdir()
    namespace.mount_memory(loopback.spool, str(DISK_OCTETS * loopback.worker_count))
    yield loopback
    loopback.daemon.kill()
    namespace.close()


@contextlib.asynccontextmanager
async def provider(loopback):
    """On the daemon's own machine, from now until the end of the context."""
    async with contextlib.AsyncExitStack() as stack:
        with loopback.daemon.inside():
            opened = Provider(host=ADDRESS, port=loopback.provider_port)
            await stack.enter_async_context(opened)
        yield opened


def fill(loopback):
    """Leave not one block free."""
    ballast = loopback.spool / "ballast"
    loopback.namespace.run("sh", "-c", f"cat /dev/zero >{ballast} 2>/dev/null || true")


def free(loopback):
    loopback.namespace.run("rm", str(loopback.spool / "ballast"))


async def refusal(loopback, letter):
    """What a client hears once there is no room, and how many were taken into what there was."""
    for taken in range(TAKEN_MAX):
        try:
            await loopback.submit(letter)
        except aiosmtplib.SMTPResponseException as refused:
            return refused, taken
    raise AssertionError(f"a full disk took {TAKEN_MAX} messages")


async def submitted(loopback, letter):
    """As a client does it: what is refused for now is tried again, here for ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        try:
            await loopback.submit(letter)
        except aiosmtplib.SMTPResponseException as refused:
            assert refused.code == 452 and time.monotonic() < deadline
        else:
            return


def said_of_refusals(loopback):
    return loopback.told().count("a message was refused with 452")


async def test_a_full_disk_is_answered_452_and_mail_flows_again_after_it(small_disk):
    began = time.monotonic()
    async with provider(small_disk) as sink, small_disk.running() as daemon:
        await small_disk.submit(Letter("before@example.com"))
        fill(small_disk)
        taken = 0
        for body in ("Small.\r\n", "Larger.\r\n" * 100_000):
            said, more = await refusal(small_disk, Letter("during@example.com", body=body))
            assert (said.code, said.message[:5]) == (452, "4.3.1")
            taken += more
        for _ in range(20):
            _, more = await refusal(small_disk, Letter("during@example.com"))
            taken += more
        assert daemon.is_running
        free(small_disk)
        await submitted(small_disk, Letter("after@example.com"))
        await until(lambda: len(sink.journal) >= 2 + taken, 20)
    most = 2 + (time.monotonic() - began) / INTERVAL_S
    assert 1 <= said_of_refusals(small_disk) <= most * small_disk.worker_count
    arrived = sorted(r.rcpt for r in sink.journal)
    assert arrived == sorted(
        ["before@example.com", "after@example.com", *["during@example.com"] * taken]
    )
    assert sorted(r["rcpt"] for r in small_disk.rows("d")) == arrived


async def test_mail_already_accepted_outlives_a_full_disk(small_disk):
    waiting = letters(20, "example.com")
    async with small_disk.running():
        await small_disk.submit(*waiting)
        fill(small_disk)
        async with provider(small_disk) as sink:
            await until(lambda: sink.journal, 20)
            free(small_disk)
            await until(lambda: len({r["rcpt"] for r in small_disk.rows("d")}) == 20, 30)
    assert {r.rcpt for r in sink.journal} == {letter.rcpt for letter in waiting}
    assert len(small_disk.rows("d,b")) == 20
