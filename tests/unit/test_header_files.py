"""Files of header fields: what is no field is an error with its line, as it would end the block."""

import pytest

from mta.daemon.header_files import OCTETS_MAX, parse


@pytest.mark.parametrize(
    ("octets", "sent"),
    [
        (b"", b""),
        (b"A: 1", b"A: 1\r\n"),
        (b"A \t: 1:2\nB : 3", b"A: 1:2\r\nB: 3\r\n"),
        (b"A: 1\nB:\r\n\tmore\n\n\n", b"A: 1\r\nB:\r\n\tmore\r\n"),
        (b"\xef\xbb\xbfA: 1\n", b"A: 1\r\n"),
    ],
)
def test_fields_are_sent_with_crlf(octets, sent):
    assert parse(octets) == sent


@pytest.mark.parametrize(
    ("octets", "line"),
    [
        (b"A: 1\n\nB: 2\n", 2),
        (b"A: 1\n \nB: 2\n", 2),
        (b" A: 1\n", 1),
        (b"A: 1\nno field\n", 2),
        (b"A: 1\n.B: 2\n", 2),
        (b"A: 1\rB: 2\n", 1),
        (b"A: \0\n", 1),
        (b"A: \xff\n", 1),
        ("A: é\n".encode(), 1),
        (b"A: " + b"x" * 999, 1),
        (b"A: 1\n" * OCTETS_MAX, 0),
    ],
)
def test_what_is_no_field_is_an_error_with_its_line(octets, line):
    with pytest.raises(ValueError, match=f"^{line}: "):
        parse(octets)
