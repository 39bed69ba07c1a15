"""How a limit is divided among shards."""

import pytest

from mta.queues.leases import STAYS_SHORT_S, Lessor, Report


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


def leases_after(lessor, reports):
    """Every lease once nothing changes any more; reports by shard, without their turns."""
    turns, leases = dict.fromkeys(reports, 0), dict.fromkeys(reports, 0)
    waiting = list(reports)
    for _ in range(50):
        if not waiting:
            return leases
        shard = waiting.pop(0)
        report = reports[shard]._replace(turn=turns[shard])
        for other, lease in lessor.hear(shard, report, 0.0).items():
            turns[other], leases[other] = lease
            waiting.append(other)
    raise AssertionError("leases go to and fro")


@pytest.mark.parametrize("ceiling", range(2, 30))
@pytest.mark.parametrize("used", [(1, 1), (3, 1), (4, 4), (0, 7), (2, 2, 2), (1, 4, 0)])
@pytest.mark.parametrize("reserved", [0, 1, 3])
def test_a_place_that_two_want_for_the_next_client_stays_with_one_of_them(ceiling, used, reserved):
    if sum(used) > ceiling:
        return
    reports = {
        shard: Report(ceiling, 0, count, is_short=False, stays=True, reserved=reserved)
        for shard, count in enumerate(used)
    }
    leases = leases_after(Lessor(len(used)), reports)
    assert all(leases[shard] >= count for shard, count in enumerate(used))
    assert sum(leases.values()) <= ceiling


def test_clients_have_room_before_one_is_refused():
    reports = {
        0: Report(20, 0, 9, is_short=False, stays=True),
        1: Report(20, 0, 0, is_short=False, stays=True),
    }
    assert leases_after(Lessor(2), reports) == {0: 14, 1: 6}


def test_what_is_reserved_stays_where_it_is_reserved():
    reports = {
        0: Report(20, 0, 4, is_short=True, stays=True, reserved=8),
        1: Report(20, 0, 0, is_short=False, stays=True, reserved=8),
    }
    assert leases_after(Lessor(2), reports) == {0: 12, 1: 8}


def test_who_waited_just_now_keeps_its_part_while_it_asks_for_something_else():
    lessor = Lessor(2)
    lease = lessor.hear(1, Report(20, 0, 0, is_short=True), 0.0)[1]
    lessor.hear(1, Report(20, lease.turn, 0, is_short=False), 0.1)
    called = lessor.hear(2, Report(20, 0, 0, is_short=True), 0.2)[1]
    assert called.amount == 10
    lent = lessor.hear(1, Report(20, called.turn, 0, is_short=False), 0.3)[2]
    assert lent.amount == 10
    again = lessor.hear(2, Report(20, lent.turn, 10, is_short=True), STAYS_SHORT_S + 0.1)
    assert again[1].amount == 0
