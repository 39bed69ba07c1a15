import pytest

from mta.smtp.extensions import Extensions
from mta.units import UNLIMITED
from tests.conformance.test_rfc5321_client import begun
from tests.conformance.test_rfc5321_server import last_reply, server


def test_the_limit_is_offered():
    assert "SIZE 10000" in last_reply(server(), "EHLO c.example").lines


def test_no_limit_is_offered_as_such():
    assert "SIZE" in last_reply(server(max_message_size=UNLIMITED), "EHLO c.example").lines


@pytest.mark.parametrize(("size", "code"), [("9999", 250), ("10000", 250), ("10001", 552)])
def test_an_announced_size_is_judged_at_once(size, code):
    line = f"MAIL FROM:<a@b.example> SIZE={size}"
    assert last_reply(server(), "EHLO c.example", line).code == code


@pytest.mark.parametrize("size", ["", "=", "=-1", "=ten", "=99999999999999999999", "=²", "=٣"])
def test_a_size_is_a_number(size):
    line = f"MAIL FROM:<a@b.example> SIZE{size}"
    assert last_reply(server(), "EHLO c.example", line).code in (501, 555)


def test_the_client_announces_what_it_will_send():
    written = begun(Extensions(size=True), head=b"X-New: 1\r\n", content=b"Old: 2\r\n\r\nBody\r\n")
    assert b"SIZE=26\r\n" in written


def test_the_client_announces_nothing_where_it_was_not_offered():
    assert b"SIZE" not in begun(Extensions())
