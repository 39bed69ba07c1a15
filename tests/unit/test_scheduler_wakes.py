"""What the simulator found asleep, or without a reason, at the scheduler alone."""

from mta.queues.actions import Expire
from mta.queues.queue import KEEP_EMPTY_S
from mta.units import Rate
from tests.unit.test_scheduler import DAY, KEY, NOW, finish, opened, recipients, scheduler, up


def test_mail_too_old_is_given_up_where_a_rate_holds_it_back():
    some = scheduler(max_msg_rate=Rate(1, 3600), bounce_after=DAY)
    some.arrive(recipients(3, queued=NOW - DAY + 600), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    some.run(NOW)
    now = NOW
    expired = []
    while now < NOW + 700 and not expired:
        now = some.next_wake()
        expired = [action for action in some.run(now) if isinstance(action, Expire)]
    assert now <= NOW + 660
    assert sum(len(action.recipients) for action in expired) == 2


def test_a_queue_at_max_smtp_out_says_so_while_its_connections_work_on():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(5), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    some.run(NOW)
    assert connection.queue.blocked_by[0] == "max-smtp-out"
    finish(some, connection)
    some.next_batch(connection, NOW)
    assert connection.queue.blocked_by[0] == "max-smtp-out"


def test_what_one_transaction_cannot_carry_of_a_message_gets_a_connection_of_its_own():
    some = scheduler(max_rcpt_per_message=2)
    some.arrive(recipients(1, per_message=3), NOW)
    (first,) = opened(some.run(NOW))
    assert len(up(some, first)) == 2
    (second,) = opened(some.run(NOW))
    assert len(up(some, second)) == 1


def test_an_empty_queue_is_remembered_for_the_longest_window_of_its_rates():
    some = scheduler(max_connect_rate=Rate(1, 3600))
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    some.closed(connection, NOW)
    some.run(NOW)
    some.run(NOW + 1800)
    some.arrive(recipients(1, first=2, due=NOW + 1800), NOW + 1800)
    assert opened(some.run(NOW + 1800)) == []
    assert len(opened(some.run(NOW + 3600))) == 1


def test_a_queue_that_another_has_come_for_decides_nothing():
    """Whoever held it meanwhile would have it read, and deliver, the mail of the other."""
    some = scheduler()
    old = some.queue(KEY, NOW)
    some._agenda.touch(old)
    some.run(NOW)
    some.run(NOW + KEEP_EMPTY_S + 1)
    new = some.queue(KEY, NOW + KEEP_EMPTY_S + 1)
    some.reread(old)
    assert some.run(NOW + 10 * KEEP_EMPTY_S) == []
    assert some.queues[KEY] is new
