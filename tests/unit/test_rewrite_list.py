"""Rewrite lists: senders, and the domains of From fields; VERP."""

import pytest

from mta.address import is_valid
from mta.model.return_path import verp
from mta.smtp.rewriting import domains_of, with_domains
from tests.texts import configured, only, said

USED = "<source 0/0>\nrewrite-list l\n</source>\n"


def rewrites(rules):
    text = f"{USED}<rewrite-list l>\n{rules}\n</rewrite-list>\n"
    assert not said(text, "error")
    return configured(text).rewrite_list("L")


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ("*@a.example *@bounces.a.example", "joe@a.example", "joe@bounces.a.example"),
        ("*@a.example *@bounces.a.example", "joe@A.Example", "joe@bounces.a.example"),
        ("*@a.example *@bounces.a.example", "joe@b.example", "joe@b.example"),
        ("*@a.example *@bounces.a.example", "joe@sub.a.example", "joe@sub.a.example"),
        ("*@a.example *@bounces.a.example", "joe@a.example.", "joe@bounces.a.example"),
        ("joe@* bounce@*", '"joe"@a.example', "bounce@a.example"),
        ("joe@* bounce@*", "Joe@a.example", "bounce@a.example"),
        ("joe@a.example x@b.example", "joe@a.example", "x@b.example"),
        ("*@* x@b.example", "joe@a.example", "x@b.example"),
        ("*@* x@*", "joe@a.example", "x@a.example"),
        ("*@* x@b.example", "", ""),
        ("<> x@b.example", "", "x@b.example"),
        ("joe@* <>", "joe@a.example", ""),
        ("joe@* x@*\nmail-from *@* y@*", "joe@a.example", "x@a.example"),
        ("joe@* x@*\nmail-from *@* y@*", "jim@a.example", "y@a.example"),
    ],
)
def test_the_first_rule_for_a_sender_decides(rule, before, after):
    assert rewrites(f"mail-from {rule}").sender(before) == after


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mail-from *@a.example", "expected SOURCE TARGET"),
        ("mail-from *@a.example *@*", "changes nothing"),
        ("mail-from a.example *@b.example", "expected user@domain"),
        ("mail-from *@a.example joe@b_!.example", "expected user@domain"),
        ("mail-from *@a.example jöe@b.example", "expected user@domain"),
        ("mail-from <> *@b.example", "null sender"),
        ("from-domain a.example", "expected a domain pattern and a domain"),
        ("from-domain a.example b..example", "b..example is no domain"),
        ("from-domain a.example bé.example", "is no domain"),
        ("from-domane a.example b.example", 'did you mean "from-domain"'),
    ],
)
def test_what_cannot_be_is_an_error_at_its_line(line, words):
    found = only(f"{USED}<rewrite-list l>\n{line}\n</rewrite-list>\n", "error")
    assert found.place.line == 5
    assert words in f"{found.message} {found.hint}"


def test_a_rule_behind_one_for_the_same_senders_is_warned_of():
    lines = "mail-from *@* x@*\nmail-from joe@a.example y@*\nmail-from <> x@b.example\n"
    text = f"{USED}<rewrite-list l>\n{lines}</rewrite-list>\n"
    assert [d.place.line for d in said(text) if "never used" in d.message] == [6]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("joe@a.example", "joe@b.example"),
        ("joe@A.Example", "joe@b.example"),
        ("joe@x.a.example", "joe@x.a.example"),
        ("joe@y.wild.example", "joe@b.example"),
        ('"Joe @a.example" <joe@a.example>', '"Joe @a.example" <joe@b.example>'),
        ("joe@a.example <joe@a.example>", "joe@a.example <joe@b.example>"),
        ("joe@a.example (at joe@a.example)", "joe@b.example (at joe@a.example)"),
        ("(it's \"a) joe@a.example", "(it's \"a) joe@b.example"),
        ("joe@a.example,\r\n\tJim <jim@a.example>", "joe@b.example,\r\n\tJim <jim@b.example>"),
        ("Team: joe@a.example, jim@c.example;", "Team: joe@b.example, jim@c.example;"),
        ("<@a.example,@a.example:joe@a.example>", "<@a.example,@a.example:joe@b.example>"),
        ('"j\\"oe@a.example"@a.example', '"j\\"oe@a.example"@b.example'),
        ("=?utf-8?q?J=C3=B6?=\r\n <joe@a.example>", "=?utf-8?q?J=C3=B6?=\r\n <joe@b.example>"),
        ('24" Monitors <joe@a.example>', '24" Monitors <joe@b.example>'),
        (
            'Joe "the one <joe@a.example>, jim@a.example',
            'Joe "the one <joe@b.example>, jim@b.example',
        ),
        ("Joe :( <joe@a.example>", "Joe :( <joe@b.example>"),
        ("Joe (at a.example <joe@a.example>", "Joe (at a.example <joe@b.example>"),
        ("Joe :) <joe@a.example>", "Joe :) <joe@b.example>"),
        ("-> joe@a.example", "-> joe@b.example"),
        ("I <3 joe@a.example", "I <3 joe@b.example"),
        ("Joe <joe@a.example>: <", "Joe <joe@b.example>: <"),
        ("joe", "joe"),
        ("", ""),
    ],
)
def test_only_the_domain_of_an_address_changes(before, after):
    rules = rewrites("from-domain a.example b.example\nfrom-domain *.wild.example b.example")
    field = f"From: {before}\r\n".encode()
    assert with_domains(field, rules.domain) == f"From: {after}\r\n".encode()
    assert domains_of(b"From: a@X.example, b@y.example\r\n") == {"x.example", "y.example"}


@pytest.mark.parametrize(
    ("mail_from", "rcpt", "sender"),
    [
        ("list@a.example", "joe@b.example", "list-joe=b.example@a.example"),
        ("list-x@a.example", "j+o=e@b.example", "list-x-j+o=e=b.example@a.example"),
        ('"my list"@a.example', "joe@b.example", '"my list-joe=b.example"@a.example'),
        ("l@a.example", '"j\\"@x"@b.example', '"l-j\\"@x=b.example"@a.example'),
        ("l@a.example", "joe@[192.0.2.1]", '"l-joe=[192.0.2.1]"@a.example'),
        ("l@a.example", "jö@b.example", "l-jö=b.example@a.example"),
        (
            f"{'l' * 64}@a.example",
            f"{'j' * 64}@{'b' * 247}.example",
            f"{'l' * 64}-{'j' * 64}={'b' * 247}.example@a.example",
        ),
    ],
)
def test_verp_names_the_recipient_in_the_sender(mail_from, rcpt, sender):
    assert verp(mail_from, rcpt) == sender
    assert is_valid(sender)


def test_a_domain_of_a_from_field_is_matched_however_it_is_spelled():
    found = rewrites("from-domain bücher.example b.example")
    for domain in ("bücher.example", "BÜCHER.example.", "xn--bcher-kva.example"):
        assert found.domain(domain) == "b.example"
