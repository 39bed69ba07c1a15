"""What becomes of variables in content."""

import pytest

from mta.smtp.template import Part, merged

VALUES = {b"a": b"1", b"*to": b"x@d.example", b"empty": b"", b"tricky": b"[a][[", b"blank": b" "}


def of(*parts, expands=True):
    return merged([Part(part) for part in parts], VALUES, expands=expands)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (b"[a][A]-[*To]", b"11-x@d.example"),
        (b"Plans [[]", b"Plans []"),
        (b"[[a]", b"[a]"),
        (b"[[[a]]", b"[1]"),
        (b"[[[[", b"[["),
        (b"[a", b"[a"),
        (b"a]", b"a]"),
        (b"[tricky]", b"[a][["),
        (b"<!--[if mso]> td[align=left] [1] [ a ] [a-b] []", None),
        (b"[a\r\n]", None),
        (b"[\xc3\xa4]", None),
    ],
)
def test_what_is_replaced(text, made):
    assert of(b"\r\n" + text + b"\r\n") == b"\r\n" + (text if made is None else made) + b"\r\n"


def test_what_is_not_defined_becomes_nothing_or_stays():
    assert of(b"\r\nx[nobody]y[*vmta]z\r\n") == b"\r\nxyz\r\n"
    kept = b"\r\nx[Nobody]y[*vmta]z\r\n"
    assert of(kept, expands=False) == kept


def test_a_line_of_the_header_block_that_becomes_empty_is_left_out():
    head = b"A: 1\r\n[empty]\r\n [blank][nobody]\r\nB: [empty]\r\n\r\n"
    assert of(head + b"[empty]\r\nend\r\n") == b"A: 1\r\nB: \r\n\r\n\r\nend\r\n"
    assert of(b"[a]\r\nB: 2\r\n") == b"1\r\nB: 2\r\n"


def test_the_header_block_may_go_on_in_another_part():
    assert of(b"A: 1\r\n", b"[empty]\r\nB: 2\r\n", b"\r\n[empty]\r\n", b"[empty]\r\n") == (
        b"A: 1\r\nB: 2\r\n\r\n\r\n\r\n"
    )


def test_sizes_are_never_less_than_what_is_made():
    part = Part(b"A: [a][nobody]\r\n[empty]\r\n\r\n[[x[tricky]\r\n")
    for expands in (False, True):
        assert part.size(VALUES) >= len(merged([part], VALUES, expands=expands))
    assert Part(b"").size(VALUES) == 0
