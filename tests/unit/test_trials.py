"""However many queues of dead providers there are, mail to those that live does not wait for them.

What must hold: a queue nobody knows to work has one connection and its turn; such queues never
have more than half of what is shared; whoever has a turn does something with it.
"""

from mta.daemon.explaining import refusal
from mta.model.queue_key import QueueKey
from mta.queues import scheduler
from mta.queues.actions import Open, ReadPriorities, Sweep
from mta.queues.trials import APART_S, TRIAL, TRIALS_MAX
from tests.limit_runs import OTHER, V1, Run
from tests.queue_runs import NOW


def restored(run, key, *, position, recipients=1):
    run.scheduler.restore(
        key, recipients=recipients, octets=100, paused=False, retry_position=position, now=NOW
    )


def dead(number, vmta="v1"):
    return QueueKey(f"d{number}.example", vmta)


def failed(run, key, times):
    """A queue with one recipient in memory that failed so often, and whose retry is due."""
    run.mail(key)
    queue = run.scheduler.queues[key]
    for _ in range(times):
        queue.fail(NOW, "ECONNREFUSED")
        queue.end_retry()
    return queue


def read(run, actions, now):
    """Answer what the scheduler asks of the spool: each queue holds one recipient."""
    for action in actions:
        if isinstance(action, ReadPriorities):
            run.scheduler.priorities_read(action.queue, [], now)


def keys(actions):
    return [action.connection.queue.key for action in actions if isinstance(action, Open)]


def test_what_failed_once_goes_before_what_failed_often():
    run = Run()
    for number in range(1000):
        failed(run, dead(number), 9)
    failed(run, OTHER, 1)
    opened = []
    for step in range(5):
        opened += keys(run.run(NOW + step * APART_S * 1.01))
    assert OTHER in opened[:2]


def test_those_that_failed_begin_apart():
    run = Run()
    for number in range(20):
        failed(run, dead(number), 1)
    assert len(keys(run.run(NOW))) == 1
    assert run.scheduler.next_wake() <= NOW + APART_S
    assert len(keys(run.run(NOW + APART_S * 1.01))) == 1


def test_a_queue_that_never_failed_waits_for_none_of_them():
    run = Run(top="total-max-smtp-out 4")
    for number in range(50):
        failed(run, dead(number), 3)
    tried = []
    for step in range(20):
        tried += keys(run.run(NOW + step * APART_S * 1.01))
    assert len(tried) == 2
    run.mail(V1, 5)
    assert keys(run.run(NOW + 1)) == [V1, V1]


def test_of_a_virtual_mta_they_have_half_and_take_no_turn_from_another():
    run = Run(vmta="max-smtp-out 4")
    for number in range(20):
        failed(run, dead(number), 1)
        failed(run, dead(number, "v2"), 1)
    tried = []
    for step in range(60):
        tried += keys(run.run(NOW + step * APART_S * 1.01))
    assert sorted(key.vmta for key in tried) == ["v1"] * 2 + ["v2"] * 20


def test_one_connection_is_tried_and_the_rest_follow_when_it_is_up():
    run = Run("max-smtp-out 5")
    queue = failed(run, V1, 2)
    run.mail(V1, 9)
    (connection,) = run.opened()
    assert queue.blocked_by == (TRIAL, str(V1))
    assert refusal(queue, run.configuration, NOW).directive == TRIAL
    run.up(connection)
    assert len(run.opened()) == 4


def test_a_failure_gives_the_turn_to_the_next():
    run = Run("retry-after 1h", top="total-max-smtp-out 1")
    for number in range(3):
        failed(run, dead(number), 1)
    tried, now = [], NOW
    for _ in range(3):
        (connection,) = run.opened(now)
        tried.append(connection.queue.key)
        now += 1
        run.scheduler.failed(connection, "ETIMEDOUT", now)
    assert tried == [dead(0), dead(1), dead(2)]
    run.run(now)
    assert not run.scheduler.gate.trials.turns


def test_what_waits_for_its_turn_says_so():
    run = Run(top="total-max-smtp-out 1")
    for number in range(2):
        failed(run, dead(number), 1)
    run.run()
    why = refusal(run.scheduler.queues[dead(1)], run.configuration, NOW)
    assert (why.directive, why.scope) == (TRIAL, "total")


def test_what_the_spool_holds_of_them_is_read_at_their_turn():
    run = Run()
    for number in range(2 * TRIALS_MAX):
        restored(run, dead(number), position=0)
    asked = [action for action in run.run() if isinstance(action, ReadPriorities)]
    assert len(asked) == TRIALS_MAX
    read(run, asked, NOW)
    more = [action for action in run.run() if isinstance(action, ReadPriorities)]
    assert len(more) == TRIALS_MAX


def test_new_mail_ends_the_trial_of_a_queue_that_had_not_failed():
    run = Run()
    for number in range(2 * TRIALS_MAX):
        restored(run, dead(number), position=0)
    restored(run, V1, position=0)
    run.run()
    run.mail(V1)
    assert any(
        isinstance(action, ReadPriorities) and action.queue.key == V1 for action in run.run()
    )


def test_an_operator_who_schedules_a_queue_has_it_tried_among_the_next():
    run = Run()
    for number in range(100):
        failed(run, dead(number), 5)
    queue = failed(run, V1, 5)
    run.run()
    queue.fail(NOW, "ETIMEDOUT")
    run.scheduler.schedule(queue, NOW, recipients=False)
    opened = []
    for step in range(3):
        opened += keys(run.run(NOW + step * APART_S * 1.01))
    assert V1 in opened


def test_with_very_many_queues_those_that_failed_keep_no_mail_in_memory(monkeypatch):
    monkeypatch.setattr(scheduler, "WINDOWS_MAX", 3)
    run = Run("retry-after 1h\nbounce-after 2h")
    for number in range(5):
        run.mail(dead(number))
    for connection in run.opened():
        run.scheduler.failed(connection, "ECONNREFUSED", NOW)
    run.run()
    queues = list(run.scheduler.queues.values())
    assert sum(len(queue.backlog) for queue in queues) == 0
    assert sum(queue.recipients for queue in queues) == 5
    asked = [action for action in run.run(NOW + 3601) if isinstance(action, ReadPriorities)]
    assert asked


def test_mail_that_is_not_in_memory_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(scheduler, "WINDOWS_MAX", 0)
    run = Run("retry-after 5h\nbounce-after 2h")
    run.mail(V1)
    for connection in run.opened():
        run.scheduler.failed(connection, "ECONNREFUSED", NOW)
    run.run()
    assert any(isinstance(action, Sweep) for action in run.run(NOW + 7201))
