"""How many messages a day cold VirtualMTAs take, and for which day of the list."""

from mta.routing.cold import ColdCounts, Count, merged, part

MONDAY = 739_000


def diverted(counts, times, limits, *, colds=("c",), today=MONDAY, warm="w", domain="d.example"):
    return [counts.divert(warm, domain, colds, limits, today)[0] for _ in range(times)]


def test_the_first_messages_of_a_day_go_to_the_cold_one():
    assert diverted(ColdCounts(), 4, (2,)) == ["c", "c", "", ""]


def test_a_new_day_begins_at_nothing():
    counts = ColdCounts()
    diverted(counts, 3, (2,))
    assert diverted(counts, 3, (2,), today=MONDAY + 1) == ["c", "c", ""]


def test_each_day_uses_its_entry_of_the_list_and_the_last_repeats():
    counts = ColdCounts()
    taken = [diverted(counts, 9, (1, 2, 3), today=MONDAY + day).count("c") for day in range(5)]
    assert taken == [1, 2, 3, 3, 3]


def test_days_without_mail_do_not_count():
    counts = ColdCounts()
    diverted(counts, 1, (1, 2, 3))
    assert diverted(counts, 9, (1, 2, 3), today=MONDAY + 30).count("c") == 2


def test_a_day_whose_limit_is_nothing_is_a_day():
    counts = ColdCounts()
    assert diverted(counts, 2, (0, 1)) == ["", ""]
    assert diverted(counts, 2, (0, 1), today=MONDAY + 1) == ["c", ""]


def test_several_serve_in_turn_each_with_its_own_limit():
    assert diverted(ColdCounts(), 5, (2,), colds=("c1", "c2")) == ["c1", "c2", "c1", "c2", ""]


def test_domains_and_warm_ones_count_by_themselves():
    counts = ColdCounts()
    assert diverted(counts, 2, (1,)) == ["c", ""]
    assert diverted(counts, 2, (1,), domain="e.example") == ["c", ""]
    assert diverted(counts, 2, (1,), warm="w2") == ["c", ""]


def test_what_changed_is_told_and_restores_the_state():
    counts = ColdCounts()
    _, (count,) = counts.divert("w", "d.example", ("c",), (1, 2), MONDAY)
    assert count == Count("w", "c", "d.example", MONDAY, 0, 1)
    again = ColdCounts([count])
    assert diverted(again, 1, (1, 2)) == [""]
    assert diverted(again, 3, (1, 2), today=MONDAY + 1) == ["c", "c", ""]


def test_a_clock_that_goes_back_starts_no_new_day():
    counts = ColdCounts()
    diverted(counts, 2, (1, 5))
    assert diverted(counts, 2, (1, 5), today=MONDAY - 1) == ["", ""]


def test_nothing_is_remembered_where_no_limit_is_given():
    assert ColdCounts().divert("w", "d.example", ("c",), (0,), MONDAY) == ("", [])


def count(*, day=MONDAY, position=0, messages=0, cold="c"):
    return Count("w", cold, "d.example", day, position, messages)


def test_what_shards_took_on_the_last_day_adds_up():
    some = [count(messages=20), count(messages=15), count(day=MONDAY - 1, messages=90)]
    assert merged([*some, count(cold="c2")]) == [count(position=1, messages=35), count(cold="c2")]


def test_of_several_shards_the_furthest_is_right():
    assert merged([count(position=2), count(position=5)]) == [count(position=5)]


def test_a_shard_that_was_as_far_before_would_be_further_now():
    some = [count(), count(day=MONDAY - 1), count(day=MONDAY - 2, position=5)]
    assert merged(some) == merged(reversed(some)) == [count(position=7)]


def test_parts_add_up_and_what_was_taken_never_exceeds_the_part_of_the_limit():
    for shards in range(1, 6):
        for limit in range(12):
            assert sum(part(limit, shard, shards) for shard in range(shards)) == limit
            for taken in range(limit + 1):
                for shard in range(shards):
                    assert part(taken, shard, shards) <= part(limit, shard, shards)
