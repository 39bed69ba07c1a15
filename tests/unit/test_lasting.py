"""What is known for a time."""

from mta.net.lasting import Lasting


def test_a_value_holds_until_its_time():
    known = Lasting(10)
    known.keep("a", 1, 5.0)
    assert (known.find("a", 4.9), known.find("a", 5.0), known.find("b", 0.0)) == (1, None, None)
    assert (known.until("a"), known.until("b")) == (5.0, None)


def test_of_too_many_the_one_kept_first_goes_and_one_kept_again_is_the_last():
    known = Lasting(2)
    for key in ("a", "b", "a", "c"):
        known.keep(key, key, 9.0)
    assert [known.find(key, 0.0) for key in "abc"] == ["a", None, "c"]
    assert len(known) == 2


def test_what_is_meant_is_forgotten():
    known = Lasting(9)
    for key in "abc":
        known.keep(key, key, 9.0)
    known.forget(lambda key: key != "b")
    assert [known.find(key, 0.0) for key in "abc"] == [None, "b", None]
