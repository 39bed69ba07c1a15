"""LIMITS as a client reads it (RFC 9422); what a server says is in `test_reception_limits.py`."""

import pytest

from mta.queues.connection import Connection, Source
from mta.smtp.extensions import PeerLimits
from mta.units import UNLIMITED
from tests.unit.test_scheduler import NOW, finish, opened, recipients, scheduler, up


@pytest.mark.parametrize(
    ("said", "mails", "rcpts"),
    [
        ("", UNLIMITED, UNLIMITED),
        ("MAILMAX=20 RCPTMAX=100", 20, 100),
        ("RCPTDOMAINMAX=1 rcptmax=7", UNLIMITED, 7),
        ("MAILMAX=0 RCPTMAX=-1", UNLIMITED, UNLIMITED),
        ("MAILMAX=1000000 RCPTMAX=x", UNLIMITED, UNLIMITED),
        ("MAILMAX RCPTMAX=", UNLIMITED, UNLIMITED),
    ],
)
def test_what_is_not_understood_limits_nothing(said, mails, rcpts):
    assert PeerLimits.of(said) == (mails, rcpts)


def test_a_connection_ends_after_as_many_messages_as_its_host_takes():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(3), NOW)
    (connection,) = opened(some.run(NOW))
    connection.heed(2, UNLIMITED)
    assert len(up(some, connection)) == 1
    for is_last in (False, True):
        finish(some, connection)
        step = some.next_batch(connection, NOW)
        assert isinstance(step, list) is not is_last
    assert "MAILMAX" in step.reason


def test_a_message_goes_to_as_many_recipients_at_once_as_its_host_takes():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(1, per_message=5), NOW)
    (connection,) = opened(some.run(NOW))
    connection.heed(UNLIMITED, 3)
    assert len(up(some, connection)) == 3
    finish(some, connection)
    assert len(some.next_batch(connection, NOW)) == 2


def test_a_host_that_comes_in_place_of_another_has_had_nothing():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(2), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    connection.heed(1, UNLIMITED)  # The message under way goes there.
    finish(some, connection)
    assert "MAILMAX" in some.next_batch(connection, NOW).reason


def test_a_host_that_says_nothing_limits_nothing():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(1), NOW)
    (queue,) = some.queues.values()
    connection = Connection(queue, 1, Source("", "h"), NOW)
    connection.heed(*PeerLimits.of(""))
    assert (connection.mails_max, connection.rcpts_max) == (UNLIMITED, UNLIMITED)
