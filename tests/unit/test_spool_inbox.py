"""What reaches the writer is all that was asked, in the order it was asked."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from mta.model.arrivals import GIVEN_UP_S, Arrival, Arrivals
from mta.spool.inbox import COMPANY_MAX, COMPANY_S, PATIENT_MAX, PATIENT_S, Inbox
from mta.spool.operations import Accept, Operation, Read


def operation() -> Operation:
    return Read(asyncio.get_running_loop().create_future(), lambda _: None)


def message() -> Accept:
    future = asyncio.get_running_loop().create_future()
    return Accept(future, SimpleNamespace(message_id=1), b"", (), ())


Timers = list[tuple[float, Callable[[], None]]]


def caught_timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    """Timers of the loop that were set; they ring when they are told, and its time stands."""
    found: Timers = []
    loop = asyncio.get_running_loop()
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began)

    def call_later(*timer):
        handle = SimpleNamespace(cancel=lambda: found.remove(timer))
        found.append(timer)
        return handle

    monkeypatch.setattr(loop, "call_later", call_later)
    return found


def inbox(arrivals: Arrivals | None = None) -> tuple[Inbox, list[list[Operation]]]:
    batches: list[list[Operation]] = []
    return Inbox(batches.append, arrivals or Arrivals()), batches


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


async def test_a_message_waits_for_those_that_other_clients_are_sending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers = caught_timers(monkeypatch)
    arrivals = Arrivals()
    other = Arrival(arrivals)
    one, batches = inbox(arrivals)
    first, outcome, second = message(), operation(), message()
    other.expect(is_expected=True)
    one.put_message(first)
    await asyncio.sleep(0)
    one.put_patient(outcome)
    assert batches == []
    other.expect(is_expected=False)
    one.put_message(second)
    await asyncio.sleep(0)
    assert batches == [[first, outcome, second]]
    assert timers == []


async def test_a_message_waits_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = caught_timers(monkeypatch)
    arrivals = Arrivals()
    Arrival(arrivals).expect(is_expected=True)
    one, batches = inbox(arrivals)
    messages = [message(), message()]
    for each in messages:
        one.put_message(each)
        await asyncio.sleep(0)
    ((seconds, ring),) = timers
    assert (seconds, batches) == (COMPANY_S, [])
    ring()
    assert batches == [messages]


async def test_a_message_that_nobody_else_sends_one_beside_does_not_wait() -> None:
    one, batches = inbox()
    alone = message()
    one.put_message(alone)
    await asyncio.sleep(0)
    assert batches == [[alone]]


async def test_many_messages_do_not_wait_for_more() -> None:
    arrivals = Arrivals()
    Arrival(arrivals).expect(is_expected=True)
    one, batches = inbox(arrivals)
    messages = [message() for _ in range(COMPANY_MAX)]
    for each in messages:
        one.put_message(each)
    await asyncio.sleep(0)
    assert batches == [messages]


async def test_a_message_that_waits_goes_with_what_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caught_timers(monkeypatch)
    arrivals = Arrivals()
    Arrival(arrivals).expect(is_expected=True)
    one, batches = inbox(arrivals)
    waiting, question = message(), operation()
    one.put_message(waiting)
    await asyncio.sleep(0)
    one.put(question)
    await asyncio.sleep(0)
    assert batches == [[waiting, question]]
    one.put_message(second := message())
    await asyncio.sleep(0)
    assert batches == [[waiting, question]]
    one.empty()
    assert batches == [[waiting, question], [second]]


async def test_a_client_counts_once() -> None:
    arrivals = Arrivals()
    clients = [Arrival(arrivals), Arrival(arrivals)]
    for client in clients:
        client.expect(is_expected=True)
        client.expect(is_expected=True)
    assert arrivals.expected == 2
    for client in clients:
        client.expect(is_expected=False)
        client.expect(is_expected=False)
    assert arrivals.expected == 0


def test_a_client_that_is_long_about_its_message_is_given_up_until_the_next() -> None:
    arrivals = Arrivals()
    slow, quick = Arrival(arrivals), Arrival(arrivals)
    slow.expect(is_expected=True)
    assert arrivals.are_expected(100.0)
    assert arrivals.are_expected(100.0 + GIVEN_UP_S / 2)
    quick.expect(is_expected=True)
    assert arrivals.are_expected(100.0 + 1.5 * GIVEN_UP_S)
    assert arrivals.expected == 1
    quick.expect(is_expected=False)
    assert not arrivals.are_expected(100.0 + 1.5 * GIVEN_UP_S)
    slow.expect(is_expected=False)
    assert arrivals.expected == 0
    slow.expect(is_expected=True)
    assert arrivals.are_expected(200.0)
    slow.expect(is_expected=False)
    assert not arrivals.are_expected(200.0)


async def test_no_message_waits_for_a_client_that_stopped_in_the_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    timers = caught_timers(monkeypatch)
    arrivals = Arrivals()
    Arrival(arrivals).expect(is_expected=True)
    one, batches = inbox(arrivals)
    first, second = message(), message()
    one.put_message(first)
    await asyncio.sleep(0)
    ((_, ring),) = timers
    assert batches == []
    ring()
    monkeypatch.setattr(loop, "time", lambda: began + 60)
    one.put_message(second)
    await asyncio.sleep(0)
    assert batches == [[first], [second]]
