import pytest

from mta.smtp.header_block import find, head_size

HEAD = b"Subject: a\r\nX-Job: 17\r\nX-Long: one\r\n two\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (HEAD + b"Body\r\n", len(HEAD)),
        (b"Subject: a\r\n", 12),
        (b"\r\nBody\r\n", 2),
        (b"Body without head\r\n", 0),
        (b"", 0),
        (b"http://x.example/\r\n\r\n", len(b"http://x.example/\r\n\r\n")),
    ],
)
def test_where_the_head_ends(content, size):
    assert head_size(content) == size


def test_fields_are_found_in_any_case():
    assert find(HEAD, frozenset({b"x-job", b"subject"})) == {b"subject": "a", b"x-job": "17"}


def test_folded_fields_are_unfolded():
    assert find(HEAD, frozenset({b"x-long"})) == {b"x-long": "one two"}


def test_the_first_of_several_counts():
    assert find(b"X: 1\r\nX: 2\r\n\r\n", frozenset({b"x"})) == {b"x": "1"}


def test_a_name_within_a_value_is_no_field():
    assert find(b"Subject: X-Job: 17\r\n\r\n", frozenset({b"x-job"})) == {}


def test_values_are_printable():
    assert find(b"X: a\x1bb\r\n\r\n", frozenset({b"x"})) == {b"x": "a b"}


@pytest.mark.parametrize("blank", [" ", "\t", "\r\n ", "\x1b", "\x7f", "\xa0", "\x85", " \x1b "])
def test_blanks_around_a_value_are_no_part_of_it(blank):
    head = f"X:{blank}a  b{blank}\r\n\r\n".encode()
    assert find(head, frozenset({b"x"})) == {b"x": "a  b"}
