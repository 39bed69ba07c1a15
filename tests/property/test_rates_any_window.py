"""No window of M seconds ever holds more than N takes, and a backlog is not held back."""

import copy
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mta.queues.rates import CHUNKS_MAX, RollingRate
from mta.units import Rate

START = 1_700_000_000.0

rates = st.builds(
    Rate,
    st.one_of(st.integers(1, 40), st.integers(1000, 1050), st.integers(2000, 200_000)),
    st.sampled_from([1, 5, 60, 900, 3600, 86400]),
)


def most_in_a_window(takes: list[tuple[float, int]], window: int) -> int:
    """The fullest half-open window of that length."""
    most = total = first = 0
    for at, count in takes:
        total += count
        while takes[first][0] + window <= at:
            total -= takes[first][1]
            first += 1
        most = max(most, total)
    return most


@st.composite
def histories(draw):
    """A rate, and moments with how much is wanted at each."""
    rate = draw(rates)
    step = st.one_of(
        st.floats(0, rate.per_s / 50),
        st.floats(0, rate.per_s * 1.1),
        st.sampled_from([0.0, float(rate.per_s), rate.per_s / 2, rate.per_s / CHUNKS_MAX]),
    )
    want = st.one_of(st.integers(0, 3), st.integers(0, rate.limit * 2))
    return rate, draw(st.lists(st.tuples(step, want), max_size=120))


@given(histories())
def test_no_window_sees_more_than_the_limit(history):
    rate, steps = history
    limiter, now, takes = RollingRate(rate), START, []
    for step, want in steps:
        now += step
        count = min(want, limiter.available(now))
        limiter.take(count, now)
        takes.append((now, count))
    assert most_in_a_window(takes, rate.per_s) <= rate.limit


@given(st.lists(st.tuples(st.one_of(st.none(), rates), histories()), max_size=6))
def test_after_a_resize_the_new_limit_holds_with_what_is_remembered(phases):
    limiter, now = RollingRate(None), START
    remembered: list[tuple[float, int]] = []
    window = 0
    for rate, (_, steps) in phases:
        remembered = [take for take in remembered if take[0] + window > now]
        limiter.resize(rate, now)
        if rate is None:
            remembered = []
            continue
        window = rate.per_s
        for step, want in steps:
            now += step
            count = min(want, limiter.available(now))
            limiter.take(count, now)
            if count:
                remembered.append((now, count))
                inside = sum(n for at, n in remembered if at + window > now)
                assert inside <= rate.limit


@given(histories())
def test_until_is_the_first_moment_at_which_something_is_available(history):
    rate, steps = history
    limiter, now = RollingRate(rate), START
    for step, want in steps:
        now += step
        limiter.take(min(want, limiter.available(now)), now)
        at = limiter.until(now)
        assert now <= at <= now + rate.per_s
        probe = copy.deepcopy(limiter)
        if at > now:
            assert probe.available(now) == 0
            assert probe.available((now + at) / 2) == 0 or (now + at) / 2 == at
        assert probe.available(at) > 0


@settings(max_examples=60)
@given(rates, st.integers(0, 2**32), st.sampled_from(["eager", "single", "paced"]))
def test_a_backlogged_taker_gets_what_it_may(rate, seed, manner):
    rng = random.Random(seed)
    limiter, now, taken = RollingRate(rate), START, 0
    windows = 3
    end = START + windows * rate.per_s
    pause = rate.per_s / rate.limit
    for _ in range(20_000):
        now = limiter.until(now)
        if now >= end:
            break
        available = limiter.available(now)
        if manner == "eager":
            count = available
        elif manner == "single":
            count = 1 if rate.limit <= 4000 else available
        else:  # one transaction after the other, at random speed around the rate
            count = min(available, rng.randint(1, max(1, rate.limit // 500)))
        limiter.take(count, now)
        taken += count
        if manner == "paced":
            now += rng.uniform(0, pause * count)
    else:
        return  # too many steps to reach the end: nothing to say
    assert taken >= 0.98 * rate.limit * windows


@given(rates, st.data())
def test_memory_does_not_grow(rate, data):
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    limiter, now = RollingRate(rate), START
    for _ in range(3 * CHUNKS_MAX):
        now += rng.uniform(0, rate.per_s / 700)
        if limiter.available(now):
            limiter.take(1, now)
    assert len(limiter._chunks) <= CHUNKS_MAX + 2


@pytest.mark.parametrize("limit", [10, 5000])
def test_a_steady_taker_just_under_the_rate_is_never_refused(limit):
    limiter = RollingRate(Rate(limit, 60))
    for n in range(3 * limit):
        now = START + n * 60 / (limit * 0.998)
        assert limiter.available(now) > 0
        limiter.take(1, now)
