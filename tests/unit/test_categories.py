import pytest

from mta.bounces.categories import OTHER, Categories
from mta.bounces.default_patterns import DEFAULT_PATTERNS

DEFAULT = Categories.of(DEFAULT_PATTERNS)


@pytest.mark.parametrize(
    ("status", "diagnostic", "category"),
    [
        ("5.1.1", "smtp;550 5.1.1 user unknown", "bad-mailbox"),
        ("5.0.0", "smtp;550 No such user here", "bad-mailbox"),
        ("5.0.0", "smtp;550 Mailbox does not exist", "bad-mailbox"),
        ("5.2.2", "smtp;552 5.2.2 mailbox full", "quota-issues"),
        ("4.2.2", "", "quota-issues"),
        ("5.2.1", "smtp;550 account has been disabled", "inactive-mailbox"),
        ("5.7.1", "smtp;554 message looks like spam", "spam-related"),
        ("5.7.1", "smtp;550 listed at spamhaus", "spam-related"),
        ("5.7.1", "smtp;552 virus found", "virus-related"),
        ("5.7.1", "smtp;550 rejected by local policy", "policy-related"),
        ("5.7.26", "smtp;550 this mail fails DMARC", "policy-related"),
        ("5.7.1", "smtp;550 relaying denied", "relaying-issues"),
        ("5.1.2", "", "bad-domain"),
        ("5.1.10", "", "bad-domain"),
        ("5.9.9", "smtp;550 hm", OTHER),
    ],
)
def test_what_a_bounce_is_called_by_default(status, diagnostic, category):
    assert DEFAULT.category(status, diagnostic) == category


def test_the_first_pattern_that_matches_decides():
    assert (
        Categories.of([("full", "first"), ("mailbox", "second")]).category("5.2.2", "mailbox full")
        == "first"
    )


def test_case_is_ignored_unless_the_pattern_says_otherwise():
    found = Categories.of([("(?-i)FULL", "loud"), ("FULL", "quiet")])
    assert found.category("5.2.2", "full") == "quiet"
    assert found.category("5.2.2", "FULL") == "loud"


def test_what_is_no_expression_raises():
    with pytest.raises(ValueError, match="not a regular expression"):
        Categories.of([("(", "x")])


def test_a_delivery_is_of_no_category_of_trouble():
    assert DEFAULT.category_of_success("2.0.0", "smtp;250 no spam here") == "success"
    assert Categories.of([("spam", "spam-related")]).category_of_success("2.0.0", "spam") == ""
