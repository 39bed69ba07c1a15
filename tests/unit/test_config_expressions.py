"""Expressions that never match or take for ever are found without running them."""

import pytest

from mta.config.expressions import (
    FREE,
    REPLY,
    STATUS,
    backtracks,
    can_match,
    compile_expression,
    matches_everything,
)  # fmt: skip
from tests.texts import only, said

LIST = (
    "<domain *>\nsmtp-pattern-list x\n</domain>\n<smtp-pattern-list x>\n{}\n</smtp-pattern-list>\n"
)
CATEGORIES = "<bounce-category-patterns>\n{}\n</bounce-category-patterns>\n"


@pytest.mark.parametrize(
    ("text", "is_slow"),
    [
        (r"(a+)+b", True),
        (r"((a)*)*b", True),
        (r"(\w+\s?)+$", True),
        (r"(.*,)*x", True),
        (r"(\S+ ?)*x", True),
        (r"(a{1,20}){1,30}x", True),
        (r"(x+x+)+y", True),
        (r"([a-z]+|[0-9]+)*!", True),
        (r"^(?:\d+\.?)+x", True),
        (r"(a+)+", False),  # Nothing after it can fail.
        (r"(\w+\s)+$", False),
        (r"(?:[a-z]+\.)+[a-z]+$", False),
        (r"(\w|\d)*x", False),
        (r".*a.*b.*c", False),
        (r"(?:a+){2}b", False),
    ],
)
def test_a_repeat_in_a_repeat_is_slow_where_one_text_divides_in_many_ways(text, is_slow):
    assert backtracks(compile_expression(text)) is is_slow


@pytest.mark.parametrize(
    ("text", "in_reply", "in_status", "in_any"),
    [
        (r"^421 ", True, False, True),
        (r"^5\.1\.1;", False, True, True),
        (r"^[45]\.\d", False, True, True),
        (r"^Too many", False, False, True),
        (r"^ 421", False, False, True),
        (r"^(?:4|5)\d\d[ -].*spam", True, False, True),
        (r"(^550|x)", True, True, True),
        (r"421 ^foo", False, False, False),
        (r"spam$ 550", False, False, False),
        (r"^$", False, False, True),
        (r"", True, True, True),
        (r"(?m)spam$\n^x", True, True, True),
        (r"(?=a)b", True, True, True),
        (r"^(.)(.)\1", True, True, True),
    ],
)
def test_what_can_match_depends_on_how_the_text_begins(text, in_reply, in_status, in_any):
    pattern = compile_expression(text)
    assert [can_match(pattern, start) for start in (REPLY, STATUS, FREE)] == [
        in_reply, in_status, in_any,
    ]  # fmt: skip


def test_every_default_category_can_be_found():
    from mta.bounces.default_patterns import DEFAULT_PATTERNS

    patterns = [compile_expression(text) for text, _ in DEFAULT_PATTERNS]
    assert all(can_match(pattern, STATUS) and not backtracks(pattern) for pattern in patterns)


def test_nesting_that_would_take_for_ever_to_look_at_is_looked_at_at_once():
    pattern = compile_expression("(" * 60 + "a" + ")*" * 60 + "b")
    assert backtracks(pattern)
    assert can_match(pattern, REPLY)


@pytest.mark.parametrize(
    ("text", "matched", "other"),
    [
        (r"^[\h,]$", "\t", "h"),
        (r"^a\\h$", r"a\h", "a\\ "),
        (r"^[a&&b]$", "&", "c"),
        (r"^[[a]$", "[", "b"),
        (r"^[]a]$", "]", "b"),
        (r"^[+--]$", ",", "a"),
        (r"^[[:blank:][:word:]]$", "\t", "-"),
        (r"^[[:^digit:]]$", "a", "1"),
        (r"^(?<one>a)(?P=one)$", "aa", "ab"),
        (r"^\Qa.b\E+$", "a.bb", "axb"),
    ],
)
def test_what_pcre_writes_otherwise_means_the_same(text, matched, other):
    pattern = compile_expression(text)
    assert pattern.search(matched)
    assert not pattern.search(other)


def test_a_class_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="no class"):
        compile_expression("[[:digits:]]")


@pytest.mark.parametrize("text", ["", ".*", "^", "^.*$"])
def test_what_matches_everything(text):
    assert matches_everything(compile_expression(text))


def test_a_reply_that_never_comes_is_warned_of_with_an_example():
    found = only(LIST.format("reply /^too many/ mode=backoff"), "warning")
    assert (found.place.line, found.place.column) == (5, 7)
    assert found.message == "the expression can never match"
    assert "421" in found.hint


def test_a_category_after_one_for_everything_is_never_tried():
    found = only(CATEGORIES.format("/spam/ spam-related\n// other\n/full/ quota-issues"), "warning")
    assert found.place.line == 4
    assert "line 3" in found.message
    assert said(CATEGORIES.format("/full/ quota-issues\n// other"), "warning") == []
