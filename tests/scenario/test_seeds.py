"""Whatever the story, all invariants hold: limits on the wire, books, slots, sleep, age.

`PETREL_SEED` runs that one alone; `make sim SEED=` tells its story.
"""

import os
from pathlib import Path

import pytest

from mta.sim.findings import InvariantError
from mta.sim.scenario import scenario
from mta.sim.simulation import scratch, simulate

DAYS = 1
GROUPS = 20
SEEDS_A_GROUP = 10
ONLY = os.environ.get("PETREL_SEED")


@pytest.mark.parametrize("group", range(1 if ONLY else GROUPS))
def test_every_invariant_holds(group):
    first = group * SEEDS_A_GROUP + 1
    for seed in [int(ONLY)] if ONLY else range(first, first + SEEDS_A_GROUP):
        try:
            with scratch() as directory:
                result = simulate(scenario(seed, DAYS), Path(directory))
        except InvariantError as error:
            pytest.fail(f"{error}\nagain, with its story: make sim SEED={seed}", pytrace=False)
        assert result.accepted == result.delivered + result.bounced


def test_a_story_is_the_same_each_time():
    """Otherwise a seed would repeat nothing."""
    told = []
    for _ in range(2):
        lines = []
        with scratch() as directory:
            simulate(scenario(4, DAYS, messages=20), Path(directory), lines.append)
        told.append([line.replace(directory, "") for line in lines])
    assert told[0] == told[1]
    assert len(told[0]) > 100
