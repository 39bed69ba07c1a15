"""When a queue that failed is tried again. Guide: retry-after and what belongs to it."""

from mta.queues.actions import Open, SaveQueue
from tests.queue_runs import KEY, NOW, QueueRun, recipients

LADDER = "retry-after 1m,5m,1h\nbackoff-retry-after 2h,3h\n"


def failed(run, now, *, after=None):
    """The next connection fails; when the queue is tried again, in seconds from then."""
    connection = next(a.connection for a in run.run(now) if isinstance(a, Open))
    run.scheduler.failed(connection, "ETIMEDOUT", now, after=after)
    return run.queue.retry_at - now


def waiting(domain):
    run = QueueRun(f"max-smtp-out 1\nbackoff-max-smtp-out 1\n{domain}")
    run.scheduler.arrive(recipients(1), NOW)
    return run


def test_failures_climb_the_list_and_each_step_is_remembered_over_restarts():
    run = waiting(LADDER)
    now = NOW
    for wait in (60, 300, 3600, 3600):
        assert failed(run, now) == wait
        assert any(isinstance(action, SaveQueue) for action in run.run(now))
        now += wait
    assert run.queue.ladder.position == 4


def test_a_restart_goes_on_where_the_list_stood():
    run = QueueRun(f"max-smtp-out 1\n{LADDER}")
    run.scheduler.restore(KEY, recipients=0, octets=0, paused=False, retry_position=2, now=NOW)
    run.scheduler.arrive(recipients(1), NOW)
    assert failed(run, NOW) == 3600


def test_backoff_has_a_list_of_its_own_and_the_position_stays():
    run = waiting(LADDER)
    assert failed(run, NOW) == 60
    run.scheduler.set_mode(run.queue, "backoff", NOW)
    assert failed(run, NOW + 60) == 10800


def test_a_dns_error_has_its_own_wait_and_is_no_step_of_the_list():
    run = waiting(f"{LADDER}retry-after-dns-error 30s")
    assert failed(run, NOW, after=run.queue.settings.retry_after_dns_error) == 30
    assert run.queue.retry_directive == "retry-after-dns-error"
    assert run.queue.ladder.position == 0


def test_new_mail_ends_the_wait_only_where_the_queue_says_so():
    for directive, opens in (("", False), ("retry-upon-new-mail yes", True)):
        run = waiting(f"{LADDER}{directive}")
        failed(run, NOW)
        run.scheduler.arrive(recipients(1, first=9), NOW + 1)
        assert any(isinstance(action, Open) for action in run.run(NOW + 1)) is opens


def test_a_deferred_recipient_waits_though_its_queue_is_tried_sooner():
    run = waiting("retry-after 1m\nretry-recipients-after 20m\nbounce-after 1h")
    (recipient,) = recipients(1)
    assert run.queue.retry_recipient_at(recipient, NOW) == NOW + 1200
    assert run.queue.retry_recipient_at(recipient, NOW + 3000) == NOW + 3600
