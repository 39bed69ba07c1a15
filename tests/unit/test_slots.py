from mta.config.submitters import SourceGroup
from mta.net.slots import Slots
from mta.units import UNLIMITED


def slots(total, **groups):
    """Groups are (max-smtp-in, reserved-smtp-in)."""
    return Slots(
        total,
        {
            name: SourceGroup(name=name, max_smtp_in=most, reserved_smtp_in=reserved)
            for name, (most, reserved) in groups.items()
        },
    )


def test_the_total_holds_and_what_is_freed_is_taken_again():
    room = slots(2)
    assert [room.take("") for _ in range(3)] == ["", "", "total-max-smtp-in"]
    room.free("")
    assert room.take("") == ""


def test_a_group_has_its_own_limit():
    room = slots(10, web=(2, 0))
    assert [room.take("Web") for _ in range(3)] == ["", "", "max-smtp-in of source-group web"]
    assert room.take("") == ""
    room.free("web")
    assert room.take("web") == ""


def test_what_is_reserved_is_kept_free_for_its_group():
    room = slots(5, vip=(UNLIMITED, 3))
    assert [room.take("") for _ in range(3)] == ["", "", "total-max-smtp-in"]
    assert [room.take("vip") for _ in range(4)] == ["", "", "", "total-max-smtp-in"]


def test_a_group_beyond_its_reserve_is_like_others():
    room = slots(6, a=(UNLIMITED, 2), b=(UNLIMITED, 2))
    assert [room.take("a") for _ in range(5)] == ["", "", "", "", "total-max-smtp-in"]
    assert room.take("") == "total-max-smtp-in"
    assert [room.take("b") for _ in range(2)] == ["", ""]


def test_a_group_nobody_defined_any_more_limits_nothing():
    room = slots(2, web=(1, 0))
    assert room.take("web") == ""
    room.follow(2, {})
    assert room.take("web") == ""
    room.free("web")
    room.free("web")
    assert [room.take("") for _ in range(3)] == ["", "", "total-max-smtp-in"]
