"""The clock on the wall is set an hour forward and back; no mail is lost, doubled or stuck.

What is set is the clock as the daemon's processes see it (`wandering_clock.c`), while mail is
queued and under way.
"""

from datetime import datetime

import pytest

from mta.address import domain_of
from mta.daemon.partition import owner
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.crash.preload import built
from tests.e2e.daemon import free_port, until
from tests.e2e.loopback import ADDRESS, Loopback
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

HOUR = 3600
WAIT_S = 60.0
"""Far less than the hour that a clock that was set back might keep mail waiting."""
DOMAINS = [f"d{number}.example" for number in range(6)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return built("wandering_clock", tmp_path_factory.mktemp("clock"))


class Clock:
    """What the clock shows to a daemon."""

    def __init__(self, library, path):
        self._path = path
        self.environment = {"LD_PRELOAD": str(library), "WANDERING_CLOCK": str(path)}
        self.set(0)

    def set(self, ahead_s):
        aside = self._path.with_suffix(".new")
        aside.write_text(str(ahead_s))
        aside.replace(self._path)


@pytest.fixture
def clock(library, tmp_path):
    return Clock(library, tmp_path / "ahead")


class Mail:
    """What was submitted, so that in the end each of it has been delivered once."""

    def __init__(self, loopback):
        self._loopback = loopback
        self._count = 0
        self.all = []

    async def submit(self):
        """A message to each domain."""
        self._count += 1
        sent = [f"r{self._count}@{domain}" for domain in DOMAINS]
        await self._loopback.submit(*map(Letter, sent))
        self.all += sent

    async def deferred(self):
        """Wait until each domain was tried in vain."""
        tried = len(self._loopback.rows("tq"))
        await until(
            lambda: len(self._loopback.rows("tq")) >= tried + len(DOMAINS),
            WAIT_S,
            self._loopback.told,
        )

    async def delivered(self):
        """All of it, once."""
        await until(
            lambda: len(self._loopback.rows("d,b")) >= len(self.all), WAIT_S, self._loopback.told
        )
        assert sorted(row["rcpt"] for row in self._loopback.rows("d")) == sorted(self.all)
        assert self._loopback.rows("b") == []


@pytest.mark.own_workers
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("steps", [(HOUR, 0), (-HOUR, 0)], ids=["forward", "back"])
async def test_queued_mail_is_delivered_once_though_the_clock_is_set(
    tmp_path, clock, steps, workers
):
    """While a host is down, while retries wait, while a rate and a limit hold."""
    loopback = Loopback(tmp_path, free_port())
    loopback.configure(
        top=f"workers {workers}\ntotal-max-smtp-out 4",
        domain="max-smtp-out 1\nmax-msg-rate 20/s\nmax-connect-rate 20/s",
        acct="records d,b,t,tq",
    )
    mail = Mail(loopback)
    async with loopback.running(**clock.environment):
        for ahead in steps:
            await mail.submit()
            await mail.deferred()
            clock.set(ahead)
            await mail.submit()
            async with Provider(host=ADDRESS, port=loopback.provider_port) as provider:
                await mail.delivered()
                taken = sorted(received.rcpt for received in provider.journal)
                clock.set(steps[0] - ahead)
                await mail.submit()
                await mail.delivered()
            assert len(taken) == 2 * len(DOMAINS)
        await until(lambda: "the clock was set back by" in loopback.told(), WAIT_S, loopback.told)
    for worker in range(workers):
        times = [
            datetime.fromisoformat(row["timeLogged"])
            for row in loopback.rows("d")
            if owner(QueueKey(domain_of(row["rcpt"]), DEFAULT_VMTA), workers) == worker
        ]
        assert times
        assert times == sorted(times)


async def test_mail_that_a_restart_finds_due_in_the_future_is_not_lost(tmp_path, clock):
    """The clock was an hour fast, was put right while the daemon was down, and mail waits for that
    hour at most; an operator can have it sent at once."""
    loopback = Loopback(tmp_path, free_port())
    loopback.configure(acct="records d,b,t,tq")
    mail = Mail(loopback)
    clock.set(HOUR)
    async with loopback.running(**clock.environment):
        await mail.submit()
        await mail.deferred()
    clock.set(0)
    async with (
        Provider(host=ADDRESS, port=loopback.provider_port),
        loopback.running(**clock.environment) as daemon,
    ):
        for domain in DOMAINS:
            said = await daemon.command("schedule", "--retry-recipients", domain)
            assert said.code == 0
        await mail.delivered()


async def test_what_is_too_old_by_the_clock_that_was_set_bounces_once(tmp_path, clock):
    async with Provider({"*": Profile(defer=1.0)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="bounce-after 30m", acct="records d,b,t")
        async with loopback.running(**clock.environment):
            await loopback.submit(*(Letter(f"r@{domain}") for domain in DOMAINS))
            await until(lambda: len(loopback.rows("t")) >= len(DOMAINS), WAIT_S, loopback.told)
            clock.set(HOUR)
            await until(lambda: len(loopback.rows("b")) >= len(DOMAINS), WAIT_S, loopback.told)
            clock.set(0)
    bounced = [(row["rcpt"], row["dsnStatus"][:5]) for row in loopback.rows("b")]
    assert sorted(bounced) == sorted((f"r@{domain}", "4.4.7") for domain in DOMAINS)
    assert loopback.rows("d") == []
