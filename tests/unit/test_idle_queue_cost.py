"""What a queue costs that waits: a hundred thousand may."""

from mta.queues.queue import SWEEP_S
from tests.queue_runs import NOW, QueueRun, recipients

DAY = 86400


def test_a_queue_that_no_rate_limits_has_no_limiter():
    run = QueueRun()
    run.scheduler.arrive(recipients(1), NOW)
    assert list(run.queue.limits) == []


def test_a_rate_of_backoff_mode_has_its_limiter_when_it_comes_to_that():
    run = QueueRun("backoff-max-msg-rate 7/h")
    run.scheduler.arrive(recipients(1), NOW)
    run.scheduler.set_mode(run.queue, "backoff", NOW)
    assert [(one.directive, one.whole) for one in run.queue.limits] == [("backoff-max-msg-rate", 7)]


def test_only_so_many_events_are_remembered_the_newest_first():
    run = QueueRun("max-events-recorded 2")
    run.scheduler.arrive(recipients(1), NOW)
    for text in ("one", "two", "three"):
        run.queue.fail(NOW, text)
    assert [event.text for event in run.queue.events] == ["three", "two"]


def test_errors_do_not_push_out_when_the_mode_changed():
    run = QueueRun("max-events-recorded 2")
    run.scheduler.arrive(recipients(1), NOW)
    run.queue.enter_backoff(NOW, after=None, reason="they said so")
    for text in ("one", "two", "three"):
        run.queue.fail(NOW, text)
    assert [event.text for event in run.queue.events] == [
        "three", "two", "entered backoff mode: they said so",
    ]  # fmt: skip


def test_a_paused_queue_is_not_looked_at_again_before_its_oldest_mail_is_too_old():
    run = QueueRun("bounce-after 4d")
    run.scheduler.arrive(recipients(3), NOW)
    run.scheduler.pause(run.queue, paused=True)
    run.run()
    assert run.scheduler.next_wake() >= NOW + 4 * DAY


def test_a_queue_read_from_the_spool_learns_how_old_its_mail_is():
    run = QueueRun("bounce-after 4d")
    scheduler = run.scheduler
    some = recipients(2, queued=NOW - DAY)
    scheduler.restore(some[0].queue, recipients=2, octets=0, paused=True, retry_position=0, now=NOW)
    run.run()
    scheduler.priorities_read(run.queue, [50], NOW)
    (page,) = run.run()
    scheduler.page_read(run.queue, page.lane, some, is_last=True, now=NOW)
    run.run(NOW + SWEEP_S)
    assert scheduler.next_wake() >= NOW + 3 * DAY


def test_what_a_queue_does_not_have_it_shares_with_others():
    run, other = QueueRun(), QueueRun()
    for one in (run, other):
        one.scheduler.arrive(recipients(1), NOW)
    connection = run.open()
    run.queue.disabled = {**run.queue.disabled, "192.0.2.1": None}
    assert not other.queue.disabled
    room = run.queue.connections
    run.scheduler.closed(connection, NOW)
    assert run.queue.connections == {}
    assert run.queue.connections is not room
