"""RollingRate: what it says at which moment."""

import pytest

from mta.queues.rates import CLOCK_STEP_S, RollingRate
from mta.units import UNLIMITED, Rate

NOW = 1_700_000_000.0


def test_unlimited_is_always_available_and_remembers_nothing():
    limiter = RollingRate(None)
    limiter.take(10**9, NOW)
    assert limiter.available(NOW) == UNLIMITED
    assert limiter.until(NOW) == NOW
    assert not limiter._chunks


def test_the_whole_limit_may_be_taken_at_once():
    limiter = RollingRate(Rate(3, 60))
    limiter.take(3, NOW)
    assert limiter.available(NOW) == 0
    assert limiter.until(NOW) == NOW + 60
    assert limiter.available(NOW + 59.999) == 0
    assert limiter.available(NOW + 60) == 3


def test_what_was_taken_at_different_times_comes_back_at_different_times():
    limiter = RollingRate(Rate(3, 60))
    limiter.take(1, NOW)
    limiter.take(2, NOW + 20)
    assert limiter.until(NOW + 30) == NOW + 60
    assert limiter.available(NOW + 60) == 1
    assert limiter.available(NOW + 80) == 3


def test_no_burst_at_the_border_of_two_minutes():
    """The failure of counters per calendar minute."""
    limiter = RollingRate(Rate(100, 60))
    limiter.take(100, NOW + 59)
    assert limiter.available(NOW + 61) == 0


def test_taking_more_than_is_available_is_our_bug():
    limiter = RollingRate(Rate(3, 60))
    with pytest.raises(AssertionError):
        limiter.take(4, NOW)


def test_taking_nothing_leaves_no_trace():
    limiter = RollingRate(Rate(3, 60))
    limiter.take(0, NOW)
    assert not limiter._chunks


class TestResize:
    def test_the_same_rate_changes_nothing(self):
        limiter = RollingRate(Rate(3, 60))
        limiter.take(2, NOW)
        limiter.resize(Rate(3, 60), NOW + 1)
        assert limiter.available(NOW + 1) == 1

    def test_a_lower_limit_counts_what_was_taken_under_the_higher_one(self):
        limiter = RollingRate(Rate(100, 60))
        limiter.take(60, NOW)
        limiter.take(40, NOW + 10)
        limiter.resize(Rate(50, 60), NOW + 20)
        assert limiter.available(NOW + 20) == 0
        assert limiter.until(NOW + 20) == NOW + 60
        assert limiter.available(NOW + 60) == 10

    def test_a_longer_window_holds_what_is_remembered_for_longer(self):
        limiter = RollingRate(Rate(10, 60))
        limiter.take(10, NOW)
        limiter.resize(Rate(10, 3600), NOW + 30)
        assert limiter.until(NOW + 30) == NOW + 3600

    def test_a_shorter_window_frees_at_once(self):
        limiter = RollingRate(Rate(10, 3600))
        limiter.take(10, NOW)
        limiter.resize(Rate(10, 60), NOW + 61)
        assert limiter.available(NOW + 61) == 10

    def test_unlimited_forgets(self):
        limiter = RollingRate(Rate(10, 3600))
        limiter.take(10, NOW)
        limiter.resize(None, NOW)
        limiter.resize(Rate(10, 3600), NOW)
        assert limiter.available(NOW) == 10


class TestClockSetBack:
    def test_a_small_step_is_waited_out(self):
        limiter = RollingRate(Rate(1, 60))
        limiter.take(1, NOW)
        assert limiter.until(NOW - 5) == NOW + 60

    def test_a_large_step_does_not_stop_the_queue_for_as_long(self):
        limiter = RollingRate(Rate(1, 60))
        limiter.take(1, NOW)
        back = NOW - 3600
        assert limiter.until(back) == back + 60
        assert limiter.available(back + 59) == 0
        assert limiter.available(back + 60) == 1

    def test_a_stop_of_time_never_permits_more(self):
        limiter = RollingRate(Rate(1, 600))
        limiter.take(1, NOW)
        back = NOW - CLOCK_STEP_S - 1.75
        until = limiter.until(back)
        assert back + 600 <= until <= back + 601
        assert limiter.available(back + 599) == 0
        assert limiter.available(until) == 1

    def test_a_late_caller_within_the_step_is_no_clock_set_back(self):
        limiter = RollingRate(Rate(2, 60))
        limiter.take(1, NOW)
        limiter.take(1, NOW - 2)
        assert limiter.available(NOW + 59) == 0
        assert limiter.available(NOW + 60) == 2
