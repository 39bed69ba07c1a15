"""Whatever a body looks like and however it is cut, its canonical form is what RFC 6376 §3.4 says.

The reference goes line by line, as the standard's text does.
"""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from mta.signing.canonical import BODIES, whole_body

PIECES = (
    b" ", b"  ", b"   ", b" " * 9, b"\t", b" \t", b"\t\t ", b"a", b"word", b"\r\n", b"\r\n\r\n",
    b" \r\n", b"  \r\n", b"\t\r\n", b"\r\n ", b"\r\n   ", b"\r\n\t", b".", b"\x0b", b"\x0c",
    b"\xff",
)  # fmt: skip
BODY = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)
CUTS = st.lists(st.integers(1, 7), max_size=60)


def relaxed(body: bytes) -> bytes:
    lines = [re.sub(rb"[ \t]+", b" ", line) for line in body.split(b"\r\n")]
    lines = [line.removesuffix(b" ") for line in lines]
    return ended(lines)


def simple(body: bytes) -> bytes:
    return ended(body.split(b"\r\n")) or b"\r\n"


def ended(lines: list[bytes]) -> bytes:
    """Without the empty lines at the end; CRLF after each other one."""
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


REFERENCE = {"relaxed": relaxed, "simple": simple}


def canonical(kind, body, sizes):
    """What is hashed if the body comes in pieces of these sizes, the last as long as need be."""
    found = []

    class Into:
        update = staticmethod(found.append)

    made = BODIES[kind](Into())
    for size in sizes:
        made.update(body[:size])
        body = body[size:]
    made.update(body)
    made.finish()
    octets = b"".join(found)
    assert made.length == len(octets)
    return octets


@given(BODY, CUTS, st.sampled_from(sorted(REFERENCE)))
@example(b"", [], "relaxed")
@example(b"\r\n" * 5, [1, 1, 1], "relaxed")
@example(b" \r\n\t\r\n  \r\n", [2, 1], "relaxed")
@example(b"no end of the line", [], "relaxed")
@example(b"blanks at the end  ", [3], "relaxed")
@example(b"    a\r\n  b\t \r\n", [], "relaxed")
def test_a_body_in_any_pieces_has_the_form_of_the_standard(body, sizes, kind):
    assert canonical(kind, body, sizes) == REFERENCE[kind](body)
    assert b"".join(whole_body(kind, body)) == REFERENCE[kind](body)


@given(BODY, st.integers(1, 400))
def test_a_long_body_has_the_form_of_the_standard(body, times):
    assert canonical("relaxed", body * times, []) == relaxed(body * times)
    assert b"".join(whole_body("relaxed", body * times)) == relaxed(body * times)
