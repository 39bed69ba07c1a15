"""RFC 5321 §4.5.3.2: a client has its time for each thing, and ours is not its."""

import asyncio
from math import inf

import pytest

from mta.model.reply import Reply
from mta.net import deadline
from mta.net.deadline import Deadline
from tests.conformance.wire import GREETING, MAIL, RECEIVED, Wire

CONTENT = b"Subject: x\r\n\r\nbody\r\n.\r\n"
TIMES = {"smtp_command_timeout": 600, "smtp_data_timeout": 30}


class Timer:
    """One of a clock's."""

    def __init__(self, at, ring):
        self.at = at
        self.ring = ring

    def cancel(self):
        self.at = inf


class Clock:
    """Time that passes when it is told to, as a loop has it."""

    def __init__(self):
        self.now = 1000.0
        self.timers = []
        self.set = 0

    def time(self):
        return self.now

    def call_at(self, at, ring):
        self.set += 1
        self.timers.append(Timer(at, ring))
        return self.timers[-1]

    def pass_by(self, seconds):
        """That much later, with all that rang meanwhile."""
        end = self.now + seconds
        while self.timers and (first := min(self.timers, key=lambda timer: timer.at)).at <= end:
            self.timers.remove(first)
            self.now = first.at
            first.ring()
        self.now = end


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(deadline.asyncio, "get_running_loop", lambda: made)
    return made


@pytest.fixture
def passed(clock):
    """Of the deadline `clock` has: when it passed."""
    return []


@pytest.fixture
def one(clock, passed):
    return Deadline(lambda: passed.append(clock.now))


def test_a_deadline_passes_when_it_was_last_expected_to(one, clock, passed):
    one.expect(6)
    clock.pass_by(5)
    one.expect(6)
    clock.pass_by(5)
    assert passed == []
    clock.pass_by(1)
    assert passed == [1011]
    clock.pass_by(100)
    assert len(passed) == 1


def test_a_shorter_time_holds_at_once(one, clock, passed):
    one.expect(600)
    one.expect(30)
    clock.pass_by(31)
    assert passed == [1030]


def test_times_that_change_with_each_message_set_a_timer_now_and_then(one, clock):
    for _ in range(1000):
        one.expect(600)
        one.expect(30)
    assert clock.set == 2


def test_while_it_is_suspended_it_never_passes(one, clock, passed):
    one.expect(6)
    one.suspend()
    clock.pass_by(100)
    assert passed == []
    one.expect(6)
    clock.pass_by(6)
    assert passed == [1106]


def test_once_cancelled_nothing_is_expected(one, clock, passed):
    one.expect(6)
    one.cancel()
    one.expect(3)
    clock.pass_by(100)
    assert passed == []


async def connected(directory, **source):
    wire = Wire(directory, **TIMES, **source)
    clock = Clock()
    wire.inbound._deadline._loop = clock
    assert await wire.say(GREETING) == [250]
    return wire, clock


async def test_a_client_silent_after_354_is_told_within_the_time_for_content(tmp_path):
    for commands in ((MAIL + b"DATA\r\n",), (*MAIL.splitlines(keepends=True), b"DATA\r\n")):
        wire, clock = await connected(tmp_path)
        clock.timers.clear()
        wire.inbound._deadline._rings_at = inf
        assert await wire.say(*commands) == [250, 250, 354]
        clock.pass_by(29)
        assert await wire.say() == []
        clock.pass_by(2)
        assert wire.transport.written.endswith(b"421 4.4.2 timeout; closing\r\n")
        await wire.end()


@pytest.mark.parametrize(
    "pieces",
    [
        (*MAIL.splitlines(keepends=True), b"DATA\r\n", CONTENT),
        (*MAIL.splitlines(keepends=True), b"DATA\r\n", CONTENT + b"NOOP\r\n"),
        (MAIL + b"DATA\r\n", CONTENT),
        (MAIL + b"BDAT 6 LAST\r\n", b"A: b\r\n"),
    ],
)
async def test_no_message_is_timed_out_while_we_are_at_work_on_it(tmp_path, pieces, monkeypatch):
    """A client that read 421 would send it again."""
    wire, clock = await connected(tmp_path)
    loop = asyncio.get_running_loop()
    working = wire.reception.disk = loop.create_future()

    async def message(*_):
        await working
        return RECEIVED

    monkeypatch.setattr(wire.reception, "message", message)
    monkeypatch.setattr(wire.reception, "takes_at_once", lambda _: b"NOOP" not in pieces[-1])
    await wire.say(*pieces)
    clock.pass_by(10_000)
    assert b"421" not in wire.transport.written
    working.set_result(None)
    await wire.say()
    assert b"\r\n250 2.6.0 message received\r\n" in wire.transport.written
    clock.pass_by(599)
    assert b"421" not in wire.transport.written
    clock.pass_by(2)
    assert wire.transport.written.endswith(b"421 4.4.2 timeout; closing\r\n")
    await wire.end()


async def test_no_client_is_timed_out_while_we_look_up_its_sender(tmp_path, monkeypatch):
    wire, clock = await connected(tmp_path, check_spf_inbound=True)
    looked_up = asyncio.get_running_loop().create_future()

    async def check_sender(session, mail):
        await looked_up
        return Reply(550, ("5.7.23 not from there",))

    monkeypatch.setattr(wire.reception, "check_sender", check_sender)
    assert await wire.say(b"MAIL FROM:<a@b.example>\r\n") == []
    clock.pass_by(10_000)
    assert await wire.say() == []
    looked_up.set_result(None)
    await wire.say()
    assert wire.transport.written.endswith(b"550 5.7.23 not from there\r\n")
    clock.pass_by(601)
    assert wire.transport.written.endswith(b"421 4.4.2 timeout; closing\r\n")
    await wire.end()
