"""How a limit is divided among shards."""

from mta.queues.leases import Lessor, Report


def settled(limit, *shards):
    """Leases once every shard has reported, and followed, as often as it takes."""
    lessor = Lessor(len(shards))
    turns = dict.fromkeys(range(len(shards)), 0)
    leases = dict.fromkeys(range(len(shards)), 0)
    for _ in range(5):
        for number, (used, is_short) in enumerate(shards):
            report = Report(limit, turns[number], used, is_short, stays=True)
            for shard, lease in lessor.hear(number, report, now=0.0).items():
                turns[shard], leases[shard] = lease
    return list(leases.values())


def test_room_to_grow_is_not_kept_from_somebody_who_waits():
    """One client is connected here and one waits there: both fit."""
    assert settled(2, (1, False), (0, True), (0, False)) == [1, 1, 0]
    assert settled(2, (1, True), (0, True), (0, False)) == [1, 1, 0]
    assert settled(3, (1, False), (1, False), (0, True)) == [1, 1, 1]


def test_what_is_used_stays_and_the_rest_is_divided_evenly_among_those_who_want_it():
    assert settled(10, (6, False), (0, True), (0, True)) == [6, 2, 2]
    assert settled(12, (6, True), (0, True), (0, True)) == [8, 2, 2]
    assert settled(12, (0, True), (0, True), (0, True)) == [4, 4, 4]


def test_what_nobody_needs_is_lent_evenly():
    assert settled(12, (0, False), (0, False), (0, False)) == [4, 4, 4]
