"""The first address of a From or Sender field (RFC 5322 §3.4) is the one signed for."""

import time

import pytest

from mta.signing.canonical import Field
from mta.signing.identity import LIST_OCTETS_MAX, header_identity


def identity(text):
    return header_identity([Field(b"from", f"From: {text}\r\n".encode())], "sender-or-from")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@x.example, B <b@y.example>", "a@x.example"),
        ("B <b@y.example>, a@x.example", "b@y.example"),
        ("<b@y.example>, A <a@x.example>", "b@y.example"),
        ("Some: a@x.example, b@y.example;", "a@x.example"),
        ("Nobody:;, b@y.example", "b@y.example"),
        ("<@r.example,@s.example:a@x.example>", "a@x.example"),
        ("c@z.example <a@x.example>", "a@x.example"),
        ('"B, <b@y.example>" <a@x.example>', "a@x.example"),
        ('"A (b" <a@x.example>', "a@x.example"),
        ('"joe q"@x.example', '"joe q"@x.example'),
        ("a @ X.Example", "a@x.example"),
        ("A <a@\r\n x.example>", "a@x.example"),
        ("A <a@bücher.example>", "a@xn--bcher-kva.example"),
    ],
)
def test_the_first_mailbox_counts(text, found):
    assert identity(text) == found


@pytest.mark.parametrize(
    "text",
    ["A (a (b) c) <a@x.example>", "a@x.example (a (b) c)", "((a) (b)) a@x.example",
     "(<b@y.example>, b) a@x.example", r"(a \( b) a@x.example", r"(a \\) a@x.example",
     'A (") <a@x.example>', "a(of x)@x.example"],
)  # fmt: skip
def test_comments_are_none_of_it_however_deep(text):
    assert identity(text) == "a@x.example"


@pytest.mark.parametrize(
    "text",
    ["X, A <a@x.example>", "A (x <a@x.example>", "A :-) <a@x.example>", '"A <a@x.example>',
     '"A" a@x.example', "A [x <a@x.example>", "B <b>, a@x.example"],
)  # fmt: skip
def test_what_is_written_by_hand_is_signed_for_too(text):
    assert identity(text) == "a@x.example"


@pytest.mark.parametrize("text", ["", "A", "<>", "<a@x.example", "(a@x.example)", "a@[192.0.2.1]"])
def test_where_there_is_no_address_of_a_domain_there_is_none(text):
    assert identity(text) == ""


@pytest.mark.parametrize(
    "piece", ["(", "()", "<", "[", '"', '"\\', "\\", ",", "a,", " ", "@", "a@", "(a)<", ":", "ü."]
)
def test_no_field_takes_for_ever(piece):
    began = time.perf_counter()
    identity("x" + piece * (LIST_OCTETS_MAX // len(piece.encode())))
    assert time.perf_counter() - began < 2, "a quadratic reader takes minutes"
