"""Pattern lists: from their lines to the VirtualMTA and priority of a message."""

import pytest

from mta.model.pattern_list import Selection
from mta.routing.pattern_match import first_match
from mta.smtp import header_block
from tests.texts import configured, only, said

VMTAS = "".join(f"<virtual-mta {name}>\n</virtual-mta>\n" for name in "abc")
USED = "<source 0/0>\npattern-list l\n</source>\n"
HEAD = b"Subject: one\r\n  two\r\nX-Kind:news\r\nx-kind: offer \r\n\r\n"


def configuration(rules, more=""):
    text = f"{VMTAS}{USED}<pattern-list l>\n{rules}\n</pattern-list>\n{more}"
    assert not [d for d in said(text) if "pattern-list" in d.message or "tried" in d.message]
    return configured(text)


def met(rules, *, mail_from="joe@one.example", rcpts=("r@two.example",), head=HEAD, more=""):
    return first_match(
        configuration(rules, more).pattern_list("L"),
        mail_from,
        rcpts,
        lambda name: header_block.values(head, name),
    )


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        ("mail-from /@one/ virtual-mta=a", Selection("a")),
        ("mail-from /@ONE\\.EXAMPLE$/ virtual-mta=A", Selection("A")),
        ("mail-from /(?-i)JOE/ virtual-mta=a", None),
        ("mail-from /@two/ virtual-mta=a", None),
        ("mail-from /@one/ recipient-priority=0", Selection(None, 0)),
        ("mail-from /o/ virtual-mta=a, recipient-priority=100", Selection("a", 100)),
        ("rcpt-to /^r@/ recipient-priority=7,virtual-mta=b", Selection("b", 7)),
        ("rcpt-to /z/ virtual-mta=a\nmail-from /j/ virtual-mta=b", Selection("b")),
        ("mail-from /j/ virtual-mta=b\nrcpt-to /r/ virtual-mta=a", Selection("b")),
        ("* virtual-mta=c", Selection("c")),
        ("rcpt-to /z/ virtual-mta=a\n* virtual-mta=c", Selection("c")),
        ("header Subject /^ one\\r\\n  two$/ virtual-mta=a", Selection("a")),
        ("header subject: /^one/ virtual-mta=a", None),
        ("header X-Kind /^news$/ virtual-mta=a", Selection("a")),
        ("header\tX-Kind\t/^news$/\tvirtual-mta=a", Selection("a")),
        ("header X-Kind /^ offer $/ virtual-mta=a", Selection("a")),
        ("header X-Other // virtual-mta=a", None),
        ('mail-from /j/ virtual-mta=""', Selection("")),
    ],
)  # fmt: skip
def test_the_first_rule_that_matches_decides(rules, chosen):
    match = met(rules)
    assert (match and match.selection) == chosen


def test_the_first_rcpt_to_that_matches_any_recipient_decides_for_all():
    rules = "rcpt-to /two/ virtual-mta=b\nrcpt-to /one/ virtual-mta=a"
    match = met(rules, rcpts=("x@one.example", "y@two.example"))
    assert match.selection.virtual_mta == "b"


NESTED = """mail-from /one/ <pattern-list>
  rcpt-to /big/ virtual-mta=a
  rcpt-to /two/ <pattern-list>
    header X-Kind /offer/ virtual-mta=b
  </pattern-list>
</pattern-list>
* virtual-mta=c"""


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"rcpts": ["r@big.example"]}, "a"),
        ({}, "b"),
        ({"head": b"\r\n"}, None),
        ({"rcpts": ["r@small.example"]}, None),
        ({"mail_from": ""}, "c"),
    ],
)
def test_a_list_within_a_rule_is_the_end_of_the_way(given, chosen):
    match = met(NESTED, **given)
    assert (match and match.selection.virtual_mta) == chosen


@pytest.mark.parametrize("call", ["call-to: big", "call-to:BIG", 'Call-To : "big"'])
def test_call_to_leads_into_another_list_that_may_stand_after_it(call):
    more = "<pattern-list big>\nrcpt-to /two/ virtual-mta=a\n</pattern-list>\n"
    match = met(f"mail-from /one/ {call}\n* virtual-mta=c", more=more)
    assert (match.selection.virtual_mta, match.name) == ("a", "big")
    assert match.place.endswith(":15")
    assert met(f"mail-from /one/ {call}\n* virtual-mta=c", rcpts=["x"], more=more) is None


def test_who_decided_is_named_with_its_line():
    match = met("mail-from /x/ virtual-mta=a\nmail-from /one/ virtual-mta=b")
    assert (match.name, match.place) == ("l", "/etc/pmta/config:11")


BEFORE = len((VMTAS + USED).splitlines()) + 1


@pytest.mark.parametrize(
    ("rules", "line", "words"),
    [
        ("mail-from /x/ virtual-mta=gone", 1, "no virtual-mta gone"),
        ("mail-from /x/ call-to: gone", 1, "no pattern-list gone"),
        ("mail-from /x/", 1, "expected virtual-mta=NAME"),
        ("mail-from /x/ vmta=a", 1, "expected virtual-mta=NAME"),
        ("mail-from /x/ virtual-mta=a,virtual-mta=b", 1, "given twice"),
        ("mail-from /x/ recipient-priority=101", 1, "from 0 to 100"),
        ("mail-from /x/ virtual-mta=a <pattern-list>\n</pattern-list>", 1, "no other result"),
        ("mail-from x virtual-mta=a", 1, "expected a regular expression"),
        ("header /x/ virtual-mta=a", 1, "expected a regular expression"),
        ("header a:b /x/ virtual-mta=a", 1, "expected NAME"),
        ("mail-from /(/ virtual-mta=a", 1, "not a regular expression"),
        ("mail-form /x/ virtual-mta=a", 1, 'did you mean "mail-from"'),
        ("* call-to: l", 1, "call one another: l → l"),
    ],
)
def test_what_cannot_be_is_an_error_at_its_line(rules, line, words):
    text = f"{VMTAS}{USED}<pattern-list l>\n{rules}\n</pattern-list>\n"
    found = only(text, "error")
    assert found.place.line == BEFORE + line
    assert words in f"{found.message} {found.hint}"


def test_lists_that_call_one_another_in_a_circle_are_an_error():
    text = f"{VMTAS}{USED}<pattern-list l>\n* call-to: m\n</pattern-list>\n"
    text += "<pattern-list m>\n* <pattern-list>\n* call-to: L\n</pattern-list>\n</pattern-list>\n"
    assert "l → m → l" in only(text, "error").message


def test_a_long_chain_of_lists_is_an_error_and_no_more():
    chain = "".join(
        f"<pattern-list l{n}>\n* call-to: l{n + 1}\n</pattern-list>\n" for n in range(2000)
    )
    text = f"{USED}<pattern-list l>\n* call-to: l0\n</pattern-list>\n{chain}"
    text += "<pattern-list l2000>\n</pattern-list>\n"
    assert {d.message for d in said(text, "error")} == {"more than 50 lists call one another"}


@pytest.mark.parametrize(
    "first", ["* virtual-mta=a", "mail-from /.*/ virtual-mta=a", "rcpt-to // virtual-mta=a"]
)
def test_a_rule_behind_one_that_everything_meets_is_warned_of(first):
    text = f"{VMTAS}{USED}<pattern-list l>\n{first}\nrcpt-to /x/ virtual-mta=b\n</pattern-list>\n"
    found = [d for d in said(text) if "never tried" in d.message]
    assert [d.place.line for d in found] == [BEFORE + 2]


def test_a_header_rule_that_any_value_meets_does_not_end_the_list():
    text = "header X-Kind /.*/ virtual-mta=a\nrcpt-to /x/ virtual-mta=b"
    configuration(text)


def test_a_virtual_mta_that_a_pattern_list_names_is_reached():
    text = f"{VMTAS}<source 0/0>\npattern-list l\n</source>\n<source ::/0>\n</source>\n"
    text += "<pattern-list l>\n* virtual-mta=a\n</pattern-list>\n"
    unreached = [d.message for d in said(text) if "no mail can come" in d.message]
    assert [message.split()[-1] for message in unreached] == ["b", "c"]


def test_a_list_that_only_another_calls_is_used():
    more = "<pattern-list m>\n* virtual-mta=a\n</pattern-list>\n"
    configuration("mail-from /x/ call-to: m", more)
