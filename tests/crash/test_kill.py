"""After any kill -9 nothing is lost, little is doubled, and every outcome has its one row.

The daemon runs under load against a sink that takes most mail, defers some and refuses
some, while operators pause, delete and reload. It is killed at each named failpoint and at
random moments, started again each time, and at the end drained. `tests/crash/books.py` says
what must then be true; `make torture` is the same for as many kills as you like.
"""

import os
import random
import secrets

import pytest

from mta.sim.provider import Provider
from tests.crash.trial import FAILPOINTS, OF_WORKERS, PROFILES, Trial, plans
from tests.e2e.loopback import Loopback

uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])

KILLS = int(os.environ.get("PETREL_KILLS", "30"))
SEED = int(os.environ.get("PETREL_SEED", secrets.randbelow(1 << 32)))


def test_every_failpoint_is_planned_for():
    planned = plans(30, random.Random(1))
    assert {plan.failpoint.partition(":")[0] for plan in planned} == {"", *FAILPOINTS}
    assert sum(not plan.failpoint for plan in planned) == 10


@uvloop_only
@pytest.mark.own_workers
@pytest.mark.parametrize("workers", [1, 3])
async def test_kills_under_load_lose_nothing(tmp_path, capsys, workers):
    rng = random.Random(SEED)
    kills = KILLS if workers == 1 else max(1, KILLS // 8)
    async with Provider(PROFILES) as provider:
        trial = Trial(Loopback(tmp_path, provider.port), rng, workers=workers)
        await trial.run(plans(kills, rng, FAILPOINTS if workers == 1 else OF_WORKERS))
        balance = trial.balance(provider)
    with capsys.disabled():
        print(f"\n{balance.table()}\n  commands{trial.commands:>28}\n  PETREL_SEED={SEED}")
    assert balance.problems(trial.in_flight_max) == []
    assert balance.accepted > 10 * kills, "hardly any load"
    assert trial.commands > kills / 2, "hardly any command was carried out"


@uvloop_only
async def test_without_the_sync_a_kill_loses_nothing_either(tmp_path, capsys):
    """The kernel has what was written; only a death of the machine would lose it."""
    with capsys.disabled():
        print(f"\n  PETREL_SEED={SEED}")
    rng = random.Random(SEED)
    async with Provider(PROFILES) as provider:
        loopback = Loopback(tmp_path, provider.port)
        trial = Trial(loopback, rng, top="sync-msg-create no\nsync-msg-update no")
        await trial.run(plans(3, rng))
        assert trial.balance(provider).problems(trial.in_flight_max) == []
