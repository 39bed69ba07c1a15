"""A message with an X-Schedule is tried in its windows only, and given up when none is left."""

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mta.daemon import explaining, message_explaining, x_schedule
from mta.daemon.submission_rules import SubmissionRules
from mta.model.message import Envelope
from mta.queues.actions import Expire, Open, PutOff
from mta.queues.queue import SWEEP_S
from mta.smtp import header_block
from mta.spool import schema
from tests.queue_runs import KEY, NOW, QueueRun, recipients
from tests.texts import configured

WINDOWS = ((int(NOW) + 100, int(NOW) + 200), (int(NOW) + 1000, int(NOW) + 2000))
FIELD = "2026-11-28 10:00:00 / 2026-11-28 12:00:00"


@pytest.fixture
def cest(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def scheduled(count=1, windows=WINDOWS, queued=NOW):
    mail = recipients(count, queued=queued)
    for one in mail:
        one.envelope = replace(one.envelope, windows=windows)
        one.due = one.envelope.due
    return mail


def waiting(domain="", **of_mail):
    run = QueueRun(domain)
    mail = scheduled(**of_mail)
    run.scheduler.arrive(mail, NOW)
    return run, mail


def kinds(actions):
    return [type(action) for action in actions]


# The field


@pytest.mark.usefixtures("cest")
def test_times_are_those_of_this_host_and_are_said_again_as_they_came():
    ((start, end),) = windows = x_schedule.parse(FIELD)
    assert time.gmtime(start)[:6] == (2026, 11, 28, 9, 0, 0)
    assert end - start == 7200
    assert x_schedule.printed(windows) == FIELD


def test_windows_are_put_in_order_and_those_that_overlap_are_one():
    text = (
        "2026-11-29 10:00:00/2026-11-29 11:00:00,"
        "2026-11-28 11:00:00 / 2026-11-28 12:00:00,  2026-11-28 10:00:00 / 2026-11-28 11:00:00"
    )
    assert x_schedule.printed(x_schedule.parse(text)) == (
        "2026-11-28 10:00:00 / 2026-11-28 12:00:00, 2026-11-29 10:00:00 / 2026-11-29 11:00:00"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not START / END"),
        ("tomorrow", '"tomorrow" is not START / END'),
        (f"{FIELD},", "is not START / END"),
        ("2026-11-28 10:00 / 2026-11-28 12:00", "is not START / END"),
        ("2026-02-30 10:00:00 / 2026-03-01 10:00:00", "a time that no calendar has"),
        ("2026-11-28 25:00:00 / 2026-11-29 10:00:00", "a time that no calendar has"),
        ("2026-11-28 12:00:00 / 2026-11-28 10:00:00", "ends before it begins"),
        ("2026-11-28 12:00:00 / 2026-11-28 12:00:00", "ends before it begins"),
        ("\u0662026-11-28 12:00:00 / 2026-11-28 13:00:00", '"?026-'),
        (", ".join([FIELD] * 101), "more than 100 windows"),
    ],
)
def test_what_says_no_times_is_refused_with_the_reason(text, says):
    with pytest.raises(ValueError, match=r".") as refused:
        x_schedule.parse(text)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "is_kept"),
    [
        ((), False),
        (("process-x-schedule yes",), False),
        (("retain-x-schedule yes",), True),
        (("process-x-schedule yes", "retain-x-schedule yes"), True),
    ],
)
def test_the_field_goes_unless_it_is_retained_and_counts_where_it_is_processed(lines, is_kept):
    configuration = configured("<source any>\n" + "\n".join(lines) + "\n</source>\n")
    given = SubmissionRules.of(configuration.source("192.0.2.1", "any"), configuration, frozenset())
    for value, is_good in ((FIELD, True), ("never", False)):
        head = f"Subject: x\r\nX-Schedule: {value}\r\n\r\n".encode()
        found = header_block.find(head, given.wanted)
        assert given.remove_fields(found, head) == (() if is_kept else ("x-schedule",))
        windows = given.windows(found)
        if "process-x-schedule yes" not in lines:
            assert windows == ()
        elif is_good:
            assert windows == x_schedule.parse(FIELD)
        else:
            assert windows.code == 554
            assert windows.lines == (
                '5.6.0 X-Schedule: "never" is not START / END, each as YYYY-MM-DD HH:MM:SS',
            )
    assert given.remove_fields({}, b"Subject: x\r\n\r\n") == ()


def test_windows_are_in_the_spool():
    envelope = Envelope(
        message_id=64, mail_from="a@b", time_queued=NOW, size=4, head_size=2, windows=WINDOWS
    )
    assert schema.envelope_of(schema.stored_text(envelope, b"")) == envelope


# The queue


def test_nothing_is_tried_before_its_window_and_it_is_then():
    run, _ = waiting()
    assert kinds(run.run(NOW)) == []
    assert run.scheduler.next_wake() == NOW + 100
    assert kinds(run.run(NOW + 100)) == [Open]


def test_who_could_not_go_in_time_is_put_off_to_the_next_window():
    run, (recipient,) = waiting()
    connection = run.open(NOW + 199)
    run.scheduler.finish(connection, done=(), deferred=(), untried=[recipient], now=NOW + 200)
    assert run.scheduler.next_batch(connection, NOW + 200) != [recipient]
    (put_off,) = [action for action in run.run(NOW + 200) if isinstance(action, PutOff)]
    assert put_off.recipients == [recipient]
    recipient.due = recipient.envelope.opens_at(NOW + 200)
    run.scheduler.put_off(run.queue, put_off.recipients, NOW + 200)
    assert recipient.due == NOW + 1000
    assert PutOff not in kinds(run.run(NOW + 999))
    assert run.scheduler.next_batch(connection, NOW + 1000) == [recipient]


def test_a_recipient_whose_turn_comes_too_late_is_given_up():
    run, mail = waiting()
    run.scheduler.pause(run.queue, paused=True)
    run.run(NOW)
    assert run.run(NOW + 1999) == []
    (expired,) = [a for a in run.run(NOW + 2000 + SWEEP_S) if isinstance(a, Expire)]
    assert expired.recipients == mail


def test_a_schedule_takes_the_place_of_bounce_after():
    run, _ = waiting("bounce-after 5m")
    assert kinds(run.run(NOW + 1000)) == [Open]
    past = ((int(NOW) - 100, int(NOW) - 50),)
    run, mail = waiting(windows=past)
    assert [a.recipients for a in run.run(NOW) if isinstance(a, Expire)] == [mail]


@pytest.mark.parametrize(
    ("after", "due"), [("10s", 160), ("10m", 1000), ("15m", 1050), ("2h", 2000)]
)
def test_a_retry_is_in_a_window_or_it_is_the_end(after, due):
    run, (recipient,) = waiting(f"retry-recipients-after {after}")
    assert run.queue.retry_recipient_at(recipient, NOW + 150) == NOW + due


def test_an_operator_hastens_no_one_out_of_a_window():
    run, (recipient,) = waiting()
    (other,) = recipients(1, first=9, due=NOW + 500)
    run.scheduler.arrive([other], NOW)
    assert run.scheduler.schedule(run.queue, NOW, recipients=True) == [other]
    assert recipient.due == NOW + 100


def test_queue_and_message_say_which_window_they_wait_for():
    run, (recipient,) = waiting()
    run.run(NOW)
    of_queue = explaining.refusal(run.queue, run.configuration, NOW)
    shard = SimpleNamespace(configuration=run.configuration, scheduler=run.scheduler)
    of_message = message_explaining.refusal(run.queue, recipient, shard, NOW)
    assert of_queue == of_message
    assert (of_queue.directive, of_queue.scope) == ("x-schedule", str(KEY))
    assert of_queue.until == NOW + 100
    assert of_queue.source == f"window {x_schedule.printed(WINDOWS[:1])}"


def test_what_is_due_when_its_window_is_closed_says_so_too():
    run, (recipient,) = waiting()
    shard = SimpleNamespace(configuration=run.configuration, scheduler=run.scheduler)
    for now, until, source in (
        (NOW + 300, NOW + 1000, f"window {x_schedule.printed(WINDOWS[1:])}"),
        (NOW + 3000, NOW + 2000, "no window is left"),
    ):
        found = message_explaining.refusal(run.queue, recipient, shard, now)
        assert (found.directive, found.until, found.source) == ("x-schedule", until, source)
    assert message_explaining.earliest(recipient, None, NOW + 300) == NOW + 1000
    assert message_explaining.earliest(recipient, None, NOW + 3000) is None
    run.scheduler.pause(run.queue, paused=True)
    found = message_explaining.refusal(run.queue, recipient, shard, NOW + 300)
    assert found.directive == "paused"
