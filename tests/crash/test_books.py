"""Whatever is lost, doubled or miscounted, reconciliation finds it."""

import pytest

from tests.crash.books import Life, Receipt, reconcile

LIVES = [Life(0, 10, "spool.after-commit"), Life(11, 20, "at random"), Life(21, 30, "stopped")]


def balance(*, accepted="abc", receipts=(("a", 1), ("b", 12)), rows="da db bc", deaths=()):
    return reconcile(
        accepted=set(accepted),
        receipts=[Receipt(*receipt) for receipt in receipts],
        rows=[(row[0], row[1]) for row in rows.split()],
        lives=LIVES,
        settled_within_s=1,
        deaths=deaths,
    )


def problems(**books):
    return [problem.partition(":")[0] for problem in balance(**books).problems(in_flight_max=2)]


def test_books_that_agree_have_no_problems():
    assert problems() == []


@pytest.mark.parametrize(
    ("books", "found"),
    [
        ({"rows": "da db"}, ["lost", "unaccounted"]),
        ({"rows": "db bc"}, ["unaccounted"]),
        ({"rows": "da da db bc"}, ["accounted_twice"]),
        ({"rows": "da ba db bc"}, ["accounted_twice", "contradicted"]),
        ({"rows": "da db dc"}, ["lost", "invented"]),
        ({"rows": "da bb bc"}, ["contradicted"]),
    ],
)
def test_a_wrong_row_is_found(books, found):
    assert problems(**books) == found


def test_what_was_in_flight_at_a_kill_may_be_doubled():
    found = balance(receipts=[("a", 9.5), ("a", 11.5), ("b", 12)])
    assert found.problems(in_flight_max=2) == []
    assert found.doubled == [1, 0, 0]


@pytest.mark.parametrize("again", [2, 11.5, 25])
def test_what_was_settled_long_before_a_kill_may_not(again):
    assert problems(receipts=[("a", 1), ("a", again), ("b", 12)]) == ["doubled_early"]


@pytest.mark.parametrize(("death", "found"), [(2, []), (4, ["doubled_early"])])
def test_what_was_in_flight_at_the_death_of_a_worker_may(death, found):
    """It may die more than once in what counts as a life."""
    receipts = [("a", 2.5), ("a", 3), ("b", 12)]
    assert problems(receipts=receipts, deaths=[death]) == found


def test_a_receipt_after_the_death_was_in_flight_at_it():
    assert problems(receipts=[("a", 10.5), ("a", 11.5), ("b", 12)]) == []


def test_what_was_in_flight_at_a_kill_may_be_deleted_after_it():
    assert problems(receipts=[("a", 9.5), ("b", 12)], rows="ba db bc") == []


def test_one_kill_doubles_no_more_than_was_in_flight():
    receipts = [(name, time) for name in "abc" for time in (9.5, 12)]
    assert balance(receipts=receipts, rows="da db dc").problems(in_flight_max=2) == [
        "kill 1 doubled 3, and at most 2 were in flight"
    ]


def test_a_message_whose_250_was_lost_may_arrive():
    found = balance(accepted="c")
    assert found.problems(in_flight_max=2) == []
    assert found.unanswered == 2


def test_the_table_names_every_kill():
    assert all(life.how in balance().table() for life in LIVES)
