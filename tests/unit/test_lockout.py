from mta.smtp import lockout
from mta.smtp.lockout import Lockout, Start
from mta.units import Rate

RATE = Rate(3, 60)


def fail(table, ip, now=0):
    start = table.begin(ip, RATE, now)
    if start is Start.NOW:
        table.failed(ip, RATE, now)
        table.ended(ip)
    return start


def test_a_client_is_locked_out_after_so_many_failures():
    table = Lockout()
    assert [fail(table, "192.0.2.1") for _ in range(4)] == [*[Start.NOW] * 3, Start.LOCKED_OUT]
    assert fail(table, "192.0.2.2") is Start.NOW


def test_the_time_counts_from_the_first_failure():
    table = Lockout()
    for now in (0, 30, 59):
        assert fail(table, "192.0.2.1", now) is Start.NOW
    assert fail(table, "192.0.2.1", 59.9) is Start.LOCKED_OUT
    assert fail(table, "192.0.2.1", 60) is Start.NOW


def test_success_counts_for_nothing():
    table = Lockout()
    for _ in range(10):
        assert table.begin("192.0.2.1", RATE, 0) is Start.NOW
        table.ended("192.0.2.1")
    assert len(table) == 0


def test_success_takes_no_failure_back():
    table = Lockout()
    for _ in range(3):
        assert table.begin("192.0.2.1", RATE, 0) is Start.NOW
        table.ended("192.0.2.1")
        fail(table, "192.0.2.1")
    assert fail(table, "192.0.2.1") is Start.LOCKED_OUT


def test_no_more_is_under_way_than_may_fail():
    table = Lockout()
    fail(table, "192.0.2.1")
    starts = [table.begin("192.0.2.1", RATE, 0) for _ in range(4)]
    assert starts == [Start.NOW, Start.NOW, Start.LATER, Start.LATER]
    table.ended("192.0.2.1")
    assert table.begin("192.0.2.1", RATE, 0) is Start.NOW


def test_what_is_under_way_is_so_in_the_next_window():
    table = Lockout()
    assert all(table.begin("192.0.2.1", RATE, 0) is Start.NOW for _ in range(3))
    assert table.begin("192.0.2.1", RATE, 60) is Start.LATER


def test_all_addresses_of_an_ipv6_network_are_one_client():
    table = Lockout()
    starts = [fail(table, f"2001:db8::{n}") for n in range(4)]
    assert starts == [*[Start.NOW] * 3, Start.LOCKED_OUT]
    assert fail(table, "2001:db8:0:1::1") is Start.NOW


def test_the_table_is_bounded(monkeypatch):
    monkeypatch.setattr(lockout, "CLIENTS_MAX", 100)
    table = Lockout()
    for number in range(1000):
        fail(table, f"10.0.{number // 250}.{number % 250}", number)
    assert len(table) == 100
