import random

import pytest

from mta.errors import PetrelError
from mta.sim.profile import BUILT_IN, Memory, Profile, load_profiles

NOW = 1000.0


def memory(**profile):
    return Memory({"p.example": Profile(**profile), "*": Profile()}, random.Random(1))


def codes(played, *addresses, now=NOW):
    return [played.rcpt("192.0.2.1", "s@x.example", a, now)[:3] for a in addresses]


def test_without_rules_everybody_is_known():
    assert codes(memory(), "a@p.example", "a@other.example") == ["250", "250"]


def test_unknown_users_are_refused():
    played = memory(unknown=("nobody*",))
    assert codes(played, "nobody7@p.example", "nobody7@other.example") == ["550", "250"]


def test_greylisting_lets_the_second_try_through():
    played = memory(greylist_tries=1)
    assert codes(played, "a@p.example", "a@p.example", "b@p.example") == ["450", "250", "450"]


def test_a_rate_is_kept_per_second():
    played = memory(messages_per_second=2)
    assert codes(played, *["a@p.example"] * 3) == ["250", "250", "421"]
    assert codes(played, "a@p.example", now=NOW + 1.01) == ["250"]


@pytest.mark.parametrize(("share", "code"), [({"refuse": 1.0}, "550"), ({"defer": 1.0}, "451")])
def test_a_share_is_refused_or_deferred(share, code):
    assert codes(memory(**share), "a@p.example") == [code]


def test_connections_are_limited():
    played = Memory({"*": Profile(connections_per_ip=1)}, random.Random(1))
    played.connections["192.0.2.1"] = 2
    assert played.greet("192.0.2.1").startswith("421")
    assert played.greet("192.0.2.2").startswith("220")


def test_the_built_in_profiles_play_by_domain():
    played = Memory(BUILT_IN, random.Random(1))
    assert played.profile("outlook.example").greylist_tries == 1
    assert played.profile("elsewhere.example") == Profile()


def test_profiles_from_a_file(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text('["a.example"]\nunknown = ["x*"]\ndelay_s = 0.5\n')
    found = load_profiles(file)
    assert found["a.example"] == Profile(unknown=("x*",), delay_s=0.5)
    assert found["*"] == Profile()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('["a"]\nnonsense = 1\n', "no setting 'nonsense'"),
        ('["a"]\ndrop_at = "lunch"\n', "drop_at is one of"),
        ("[", "p.toml"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, said):
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PetrelError, match=said):
        load_profiles(file)
