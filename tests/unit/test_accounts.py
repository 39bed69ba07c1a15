"""What SCRAM says first tells nobody which users exist."""

import pytest

from mta.daemon import accounts
from mta.daemon.accounts import Accounts, salt_key
from mta.model.secret import SCRAM_ITERATIONS, scram_of
from mta.sim.node import configured

STORED = scram_of("pencil", b"0123456789abcdef")
TEXT = f"""
<smtp-user clear>
password pencil
</smtp-user>
<smtp-user stored>
password "{STORED}"
</smtp-user>
"""


@pytest.fixture
def known(tmp_path):
    """Users of a daemon, as each of its workers and lives has them."""
    made = []

    def make():
        made.append(Accounts(configured(TEXT), salt_key(tmp_path), print))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("user", ["clear", "nobody", "stored", ""])
def test_a_salt_is_the_same_in_every_worker_and_life(known, user):
    salt, iterations = known().scram_salt(user)
    assert (salt, iterations) == known().scram_salt(user)
    assert iterations == SCRAM_ITERATIONS
    assert len(salt) == len(STORED.salt)


def test_each_name_has_a_salt_of_its_own_that_another_daemon_does_not_have(known, tmp_path):
    names = ("clear", "nobody", "stored", "another")
    salts = {known().scram_salt(name)[0] for name in names}
    assert len(salts) == len(names)
    (tmp_path / accounts.SALT_KEY).unlink()
    assert {known().scram_salt(name)[0] for name in names} & salts == {STORED.salt}


def test_the_first_challenge_takes_no_longer_for_one_than_for_another(known, monkeypatch):
    """Keys are what takes long, and they are made for the last message, for every name."""
    made = []

    def scram_of_counted(password, salt, **named):
        made.append(salt)
        return scram_of(password, salt, **named)

    monkeypatch.setattr(accounts, "scram_of", scram_of_counted)
    one = known()
    for user in ("clear", "nobody", "stored"):
        salt, iterations = one.scram_salt(user)
        assert made == []
        keys = one.scram_keys(user, salt, iterations)
        assert made == [salt]
        made.clear()
        right = scram_of("pencil", salt, iterations=iterations)
        assert (keys == right) is (user != "nobody")


def test_the_key_is_readable_by_its_owner_alone(known, tmp_path):
    known()
    assert (tmp_path / accounts.SALT_KEY).stat().st_mode & 0o777 == 0o600
