"""A client is locked out for what failed; what is under way only waits."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from mta.daemon import auth_attempts
from mta.daemon.accounts import BUSY, LOCKED_OUT, WRONG, Accounts, salt_key
from mta.daemon.auth_attempts import AuthAttempts
from mta.sim.node import configured
from mta.smtp.lockout import Start
from mta.smtp.sasl import Claim
from mta.units import Rate

RATE = Rate(3, 3600)
USERS = "<smtp-user anna>\npassword p\n</smtp-user>\n"
SOURCE = SimpleNamespace(smtp_max_auth_failure_rate=RATE)
CLIENT = SimpleNamespace(peer_ip="192.0.2.1", source=SOURCE)


@pytest.fixture
def accounts(tmp_path):
    made = Accounts(configured(USERS), salt_key(tmp_path), lambda text: None)
    yield made
    made.close()


def claims(accounts, *checks):
    return asyncio.gather(
        *(accounts.authenticate(CLIENT, Claim("anna", check, is_slow=True)) for check in checks)
    )


async def test_who_is_right_many_times_at_once_is_let_in(accounts):
    assert await claims(accounts, *[lambda: True] * 20) == [None] * 20
    assert await claims(accounts, *[lambda: False] * 3) == [WRONG] * 3


async def test_guesses_at_once_are_no_more_than_one_after_the_other(accounts):
    made = []
    said = await claims(accounts, *[lambda: made.append(1) is not None] * 50)
    assert sorted(map(str, said)) == sorted(map(str, [WRONG] * 3 + [LOCKED_OUT] * 47))
    assert len(made) == 3
    assert await claims(accounts, lambda: True) == [LOCKED_OUT]


async def test_a_wrong_one_among_right_ones_keeps_nobody_out(accounts):
    said = await claims(accounts, *[lambda: False] * 2, *[lambda: True] * 8)
    assert said == [WRONG] * 2 + [None] * 8


async def test_nobody_waits_for_ever(accounts, monkeypatch):
    monkeypatch.setattr(auth_attempts, "WAIT_S", 0)
    is_over = threading.Event()
    slow = claims(accounts, *[is_over.wait] * 3)
    await asyncio.sleep(0)
    assert await claims(accounts, lambda: True) == [BUSY]
    is_over.set()
    assert await slow == [None] * 3
    assert await claims(accounts, *[lambda: True] * 3) == [None] * 3


async def test_no_more_than_so_many_wait(monkeypatch):
    monkeypatch.setattr(auth_attempts, "WAITING_MAX", 2)
    attempts = AuthAttempts()
    one = Rate(1, 60)
    assert await attempts.begin("192.0.2.1", one) is Start.NOW
    waiting = [asyncio.create_task(attempts.begin("192.0.2.1", one)) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [Start.LATER]
    attempts.end("192.0.2.1")
    assert await waiting[0] is Start.NOW
    attempts.end("192.0.2.1")
    assert await waiting[1] is Start.NOW


@pytest.mark.parametrize("is_let_in", [True, False])
async def test_who_is_called_off_gives_its_turn_to_the_next(is_let_in):
    attempts = AuthAttempts()
    one = Rate(1, 60)
    assert await attempts.begin("192.0.2.1", one) is Start.NOW
    first, second = (asyncio.create_task(attempts.begin("192.0.2.1", one)) for _ in range(2))
    await asyncio.sleep(0)
    if is_let_in:
        attempts.end("192.0.2.1")
    first.cancel()
    await asyncio.wait([first])
    if not is_let_in:
        attempts.end("192.0.2.1")
    assert await second is Start.NOW


async def test_who_waits_is_locked_out_for_failures_at_another_worker():
    attempts = AuthAttempts()
    one = Rate(1, 60)
    assert await attempts.begin("192.0.2.1", one) is Start.NOW
    waiting = asyncio.create_task(attempts.begin("192.0.2.1", one))
    await asyncio.sleep(0)
    attempts.hear_failure("192.0.2.1", one)
    attempts.end("192.0.2.1")
    assert await waiting is Start.LOCKED_OUT
