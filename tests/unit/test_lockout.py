from mta.smtp import lockout
from mta.smtp.lockout import Lockout
from mta.units import Rate

RATE = Rate(3, 60)


def test_a_client_is_locked_out_after_so_many_failures():
    table = Lockout()
    assert [table.begin("192.0.2.1", RATE, 0) for _ in range(4)] == [True, True, True, False]
    assert table.begin("192.0.2.2", RATE, 0)


def test_the_time_counts_from_the_first_failure():
    table = Lockout()
    for now in (0, 30, 59):
        assert table.begin("192.0.2.1", RATE, now)
    assert not table.begin("192.0.2.1", RATE, 59.9)
    assert table.begin("192.0.2.1", RATE, 60)


def test_success_counts_for_nothing():
    table = Lockout()
    for _ in range(10):
        assert table.begin("192.0.2.1", RATE, 0)
        table.succeeded("192.0.2.1")
    assert len(table) == 0


def test_attempts_at_once_do_not_pass_before_the_first_has_failed():
    table = Lockout()
    assert sum(table.begin("192.0.2.1", RATE, 0) for _ in range(100)) == 3


def test_all_addresses_of_an_ipv6_network_are_one_client():
    table = Lockout()
    assert [table.begin(f"2001:db8::{n}", RATE, 0) for n in range(4)] == [True, True, True, False]
    assert table.begin("2001:db8:0:1::1", RATE, 0)


def test_the_table_is_bounded(monkeypatch):
    monkeypatch.setattr(lockout, "CLIENTS_MAX", 100)
    table = Lockout()
    for number in range(1000):
        table.begin(f"10.0.{number // 250}.{number % 250}", RATE, number)
    assert len(table) == 100
