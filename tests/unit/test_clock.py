"""Time never goes back, is never ahead of a clock on the wall for good, and never stands still."""

import pytest

from mta.clock import PACE, SteadyClock


class Clocks:
    def __init__(self):
        self.wall = 1000.0
        self.steady = 50.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.steady)

    def passes(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clocks():
    return Clocks()


def test_it_is_the_clock_on_the_wall(clocks):
    for seconds in (0, 1, 3600):
        clocks.passes(seconds)
        assert clocks.clock.now() == clocks.wall
        assert clocks.clock.ahead() == 0


def test_set_forward_it_is_followed_at_once(clocks):
    clocks.wall += 3600
    assert clocks.clock.now() == 4600


def test_set_back_time_goes_on_at_half_its_pace_until_the_wall_is_there(clocks):
    clocks.wall -= 3600
    assert clocks.clock.now() == 1000
    assert clocks.clock.ahead() == 3600
    clocks.passes(600)
    assert clocks.clock.now() == 1000 + 600 * PACE
    clocks.passes(3600 / PACE)
    assert clocks.clock.now() == clocks.wall
    assert clocks.clock.ahead() == 0


def test_a_machine_that_slept_is_where_the_wall_is(clocks):
    clocks.wall += 8 * 3600  # the other stands still meanwhile
    clocks.passes(1)
    assert clocks.clock.now() == clocks.wall
