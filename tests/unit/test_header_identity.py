"""The first address of a From or Sender field (RFC 5322 §3.4) is the one signed for."""

import time

import pytest

from mta.signing.identity import LIST_OCTETS_MAX, Authors


def identity(text):
    return Authors.of(f"From: {text}\r\n".encode()).identity("sender-or-from")


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


SENDER = "Sender: s@x.example"
FROM = "From: f@y.example"


@pytest.mark.parametrize(
    ("lines", "by_sender_or_from", "by_from"),
    [
        ([FROM, SENDER], "s@x.example", "f@y.example"),
        (["SENDER : s@x.example", "fRoM\t:f@y.example"], "s@x.example", "f@y.example"),
        (["Sender: none", "From: none", FROM], "f@y.example", "f@y.example"),
        (["From:\r\n f@y.example", "Subject: x\r\n From: a@b.example"], *["f@y.example"] * 2),
        (["From-Name: a@b.example", "X-From: a@b.example", " From: a@b.example"], "", ""),
        ([SENDER], "s@x.example", ""),
    ],
)
def test_which_field_counts(lines, by_sender_or_from, by_from):
    authors = Authors.of("".join(f"{line}\r\n" for line in lines).encode())
    assert authors.identity("sender-or-from") == by_sender_or_from
    assert authors.identity("strict-from") == by_from
    assert len(authors.froms) == sum(line.lower().startswith(("from:", "from\t")) for line in lines)
