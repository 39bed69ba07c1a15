"""After any kill -9 nothing is lost, little is doubled, and every outcome has its one row.

The daemon runs under load against a sink that takes most mail, defers some and refuses
some. It is killed at each named failpoint and at random moments, started again each time,
and at the end drained. `tests/crash/books.py` says what must then be true.
"""

import asyncio
import os
import random
import secrets
import time
from dataclasses import dataclass

import pytest

from mta.daemon.delivery import UNSETTLED_MAX
from mta.sim.load import inject
from mta.sim.provider import Provider
from tests.crash.books import Life, Receipt, reconcile
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

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
DRAIN_S = 60.0
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


class Trial:
    """One daemon over all its lives, the load on it, and the three books."""

    def __init__(self, loopback: Loopback, rng: random.Random) -> None:
        self.loopback = loopback
        self.lives: list[Life] = []
        self.accepted: set[str] = set()
        self.refused = 0
        self._rng = rng

    async def live(self, plan: Plan) -> None:
        """Start, put under load, and die as planned."""
        daemon = self.loopback.daemon
        began = time.time()
        environment = {"PETREL_FAILPOINT": plan.failpoint} if plan.failpoint else {}
        try:
            await daemon.start(**environment)
        except AssertionError:
            # Some failpoints are reached before it listens: that, too, is a kill.
            if not plan.failpoint or daemon.exit_code != -9:
                raise
        loading = asyncio.create_task(self._load())
        try:
            if plan.failpoint:
                await until(lambda: not daemon.is_running, FAILPOINT_S, lambda: plan.how)
            else:
                await asyncio.sleep(plan.after_s)
            ended = time.time()
            daemon.kill()
            assert daemon.exit_code == -9, daemon.said()
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        self.lives.append(Life(began, ended, plan.how))

    async def _load(self) -> None:
        """Small messages without end; a failpoint of large content needs some large ones."""
        while True:
            injected = await inject(*self.loopback.address, messages=100, connections=5, domains=DOMAINS)
            self.accepted.update(injected.accepted)
            self.refused += len(injected.refused)
