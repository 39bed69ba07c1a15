"""What reaches the writer is all that was asked, in the order it was asked."""

import asyncio
from collections.abc import Callable

import pytest

from mta.spool.inbox import PATIENT_MAX, PATIENT_S, Inbox
from mta.spool.operations import Operation, Read


def operation() -> Operation:
    return Read(asyncio.get_running_loop().create_future(), lambda _: None)


Timers = list[tuple[float, Callable[[], None]]]


def caught_timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Timers of the loop that were set; they ring when they are told."""
    found: Timers = []
    loop = asyncio.get_running_loop()

    def call_later(*timer):
        found.append(timer)
        return timer

    monkeypatch.setattr(loop, "call_later", call_later)
    return found


def inbox() -> tuple[Inbox, list[list[Operation]]]:
    batches: list[list[Operation]] = []
    return Inbox(batches.append), batches


async def test_what_is_asked_in_one_turn_goes_together() -> None:
    one, batches = inbox()
    asked = [operation() for _ in range(3)]
    for operation_ in asked:
        one.put(operation_)
    assert batches == []
    await asyncio.sleep(0)
    assert batches == [asked]


async def test_an_outcome_goes_with_the_next_operation_and_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = caught_timers(monkeypatch)
    one, batches = inbox()
    outcome, message = operation(), operation()
    one.put_patient(outcome)
    await asyncio.sleep(0)
    assert batches == []
    one.put(message)
    await asyncio.sleep(0)
    assert batches == [[outcome, message]]
    for _, ring in timers:
        ring()
    assert batches == [[outcome, message]]


async def test_outcomes_wait_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = caught_timers(monkeypatch)
    one, batches = inbox()
    outcomes = [operation(), operation()]
    for outcome in outcomes:
        one.put_patient(outcome)
        await asyncio.sleep(0)
    ((seconds, ring),) = timers
    assert (seconds, batches) == (PATIENT_S, [])
    ring()
    assert batches == [outcomes]


async def test_many_outcomes_do_not_wait() -> None:
    one, batches = inbox()
    outcomes = [operation() for _ in range(PATIENT_MAX)]
    for outcome in outcomes:
        one.put_patient(outcome)
    assert batches == [outcomes]


async def test_emptying_leaves_nothing_behind() -> None:
    one, batches = inbox()
    outcome = operation()
    one.put_patient(outcome)
    one.empty()
    one.empty()
    assert batches == [[outcome]]
