"""After any kill -9 nothing is lost, little is doubled, and every outcome has its one row.

The daemon runs under load against a sink that takes most mail, defers some and refuses
some. It is killed at each named failpoint and at random moments, started again each time,
and at the end drained. `tests/crash/books.py` says what must then be true.
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiosmtplib
import pytest

from mta.daemon.ledger import UNSETTLED_MAX
from mta.sim.load import inject
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.crash.books import Life, Receipt, reconcile
from tests.e2e.daemon import DaemonFailedError, until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter

uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])

KILLS = int(os.environ.get("PETREL_KILLS", "30"))
SEED = int(os.environ.get("PETREL_SEED", secrets.randbelow(1 << 32)))
FAILPOINTS = {
    "spool.before-commit": 40,
    "spool.after-commit": 40,
    "spool.content-written": 8,
    "settle.before-commit": 40,
    "settle.after-commit": 40,
    "accounting.before-append": 10,
    "accounting.after-append": 10,
    "accounting.before-position": 3,
    "accounting.after-position": 3,
}
"""With the latest time of its being reached at which it kills."""
LIFE_S_MAX = 2.0
"""Of a life that ends at random."""
FAILPOINT_S = 20.0
LOAD_ENDS_S = 5.0
DRAIN_S = 60.0
KILLED = -9
LARGE_BODY = "All work and no play makes Jack a dull boy.\r\n" * 8000
SETTLED_WITHIN_S = 2.0
CONNECTIONS_MAX = 20
IN_FLIGHT_MAX = CONNECTIONS_MAX + UNSETTLED_MAX
DOMAINS = ("one.example", "two.example", "three.example", "four.example")


@dataclass(frozen=True)
class Plan:
    """How one life ends."""

    how: str
    failpoint: str = ""
    after_s: float = 0.0


def plans(count: int, rng: random.Random) -> list[Plan]:
    """Each failpoint in turn, and between them random moments; two of three at failpoints."""
    names = list(FAILPOINTS)
    rng.shuffle(names)
    planned = []
    for number in range(count):
        if number % 3 == 2:
            after_s = rng.uniform(0.0, LIFE_S_MAX)
            planned.append(Plan(f"at random, {after_s:.2f} s", after_s=after_s))
        else:
            name = names[(number - number // 3) % len(names)]
            nth = rng.randint(1, FAILPOINTS[name])
            planned.append(Plan(f"{name}:{nth}", failpoint=f"{name}:{nth}"))
    return planned


def test_every_failpoint_is_planned_for():
    planned = plans(30, random.Random(1))
    assert {plan.failpoint.partition(":")[0] for plan in planned} == {"", *FAILPOINTS}
    assert sum(not plan.failpoint for plan in planned) == 10


PROFILES = {
    "flaky.*": Profile(drop_at="content", drop=0.02, defer=0.05),
    "greylist.*": Profile(greylist_tries=1),
    "corp.*": Profile(unknown=("user?", "user1?")),
    "*": Profile(),
}
"""A recipient who is refused is always refused, and nothing taken goes unanswered: whatever
the books disagree in is the daemon's doing."""


class Trial:
    """One daemon over all its lives, the load on it, and what the injector was told."""

    def __init__(self, loopback: Loopback) -> None:
        self.loopback = loopback
        self.lives: list[Life] = []
        self.accepted: set[str] = set()

    async def live(self, plan: Plan) -> None:
        """Start, put under load, and die as planned."""
        daemon = self.loopback.daemon
        began = time.time()
        try:
            await daemon.start(PETREL_FAILPOINT=plan.failpoint)
        except DaemonFailedError:
            # Accounting is caught up before it listens: that is a place to die at, too.
            if not plan.failpoint or daemon.exit_code != KILLED:
                raise
        async with self._load():
            if plan.failpoint:
                await until(lambda: not daemon.is_running, FAILPOINT_S, lambda: plan.how)
            else:
                await asyncio.sleep(plan.after_s)
            ended = time.time()
            daemon.kill()
        assert daemon.exit_code == KILLED, daemon.said()
        self.lives.append(Life(began, ended, plan.how))

    async def drain(self) -> None:
        """The last life: everything that waits is delivered or given up."""
        daemon = self.loopback.daemon
        began = time.time()
        await daemon.start()
        deadline = began + DRAIN_S
        while waiting := await self._waiting():
            assert time.time() < deadline, f"{waiting} recipients still wait\n{daemon.said()}"
        assert await daemon.stop() == 0, daemon.said()
        self.lives.append(Life(began, time.time(), "stopped"))

    async def _waiting(self) -> int:
        said = await self.loopback.daemon.command("--json", "show", "status")
        assert said.code == 0, said.text
        return int(json.loads(said.text)["data"]["status"]["spool"]["totalRcp"])

    @contextlib.asynccontextmanager
    async def _load(self) -> AsyncIterator[None]:
        """Small messages and now and then a large one, for as long as somebody listens."""
        tasks = [asyncio.create_task(load()) for load in (self._small, self._large)]
        try:
            yield
            await asyncio.wait(tasks, timeout=LOAD_ENDS_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _small(self) -> None:
        while self.loopback.daemon.is_running:
            injected = await inject(*self.loopback.address, messages=100, connections=5)
            self.accepted.update(injected.accepted)

    async def _large(self) -> None:
        """Content that stands in a file of its own."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            while self.loopback.daemon.is_running:
                name = f"large-{uuid.uuid4().hex}"
                letter = Letter(f"{name}@{DOMAINS[0]}", f"X-Petrel-Test-Id: {name}\r\n", LARGE_BODY)
                await self.loopback.submit(letter)
                self.accepted.add(name)


@uvloop_only
async def test_kills_under_load_lose_nothing(tmp_path, capsys):
    rng = random.Random(SEED)
    async with Provider(PROFILES) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            top=f"total-max-smtp-out {CONNECTIONS_MAX}",
            acct="records d,b\nrecord-fields d *,header_X-Petrel-Test-Id\n"
            "record-fields b *,header_X-Petrel-Test-Id",
        )
        trial = Trial(loopback)
        try:
            for plan in plans(KILLS, rng):
                await trial.live(plan)
            await trial.drain()
        finally:
            loopback.daemon.kill()
        balance = reconcile(
            accepted=trial.accepted,
            receipts=[Receipt(r.test_id, r.time) for r in provider.journal if r.test_id],
            rows=[
                (row["type"], row["header_X-Petrel-Test-Id"])
                for row in loopback.rows("d,b")
                if row["header_X-Petrel-Test-Id"]
            ],
            lives=trial.lives,
            settled_within_s=SETTLED_WITHIN_S,
        )
    with capsys.disabled():
        print(f"\n{balance.table()}\n  PETREL_SEED={SEED}")
    assert balance.problems(IN_FLIGHT_MAX) == []
    assert balance.accepted > 10 * KILLS, "hardly any load"
