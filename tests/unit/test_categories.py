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
        (
            "5.0.0",
            "smtp;554 This user doesn't have a x.com account",
            "bad-mailbox",
        ),
        ("5.3.0", "smtp;553 5.3.0 <a@x>... Addressee unknown", "bad-mailbox"),
        ("5.1.1", "smtp;550 Sorry dear sender, but that user does not exist here", "bad-mailbox"),
        ("5.0.0", "smtp;550 returned to sender: unknown user", "bad-mailbox"),
        ("5.0.0", "smtp;550 mail from a@x refused: the user does not exist", "bad-mailbox"),
        ("5.0.0", "smtp;550 Recipient rejected", "bad-mailbox"),
        ("5.0.0", "smtp;550 domain no longer in use", "bad-domain"),
        ("5.0.0", "smtp;552 User Inbox Over Mail Quota", "quota-issues"),
        ("5.4.6", "smtp;554 5.4.6 too many hops", "routing-errors"),
        ("5.0.0", "smtp;553 We do not accept mail from spammers", "spam-related"),
        ("5.9.9", "smtp;550 hm", OTHER),
    ],
)
def test_what_a_bounce_is_called_by_default(status, diagnostic, category):
    assert DEFAULT.category(status, diagnostic) == category


@pytest.mark.parametrize(
    ("status", "diagnostic", "category"),
    [
        ("4.1.8", "smtp;450 <s@x>: Sender address rejected: Domain not found", "invalid-sender"),
        ("5.1.8", "smtp;553 Domain of sender address s@x does not exist", "invalid-sender"),
        ("5.1.8", "smtp;550 No thank you rejected: Domain not found", "invalid-sender"),
        ("5.1.0", "smtp;550 5.1.0 Invalid sender domain", "invalid-sender"),
        ("5.1.0", "smtp;550 5.1.0 <s@x> sender rejected", "invalid-sender"),
        ("5.1.1", "smtp;511 sorry, can't find a valid MX for sender domain", "invalid-sender"),
        ("5.7.1", "smtp;501 5.7.1 <s@x>... Sender domain must exist", "invalid-sender"),
        ("5.7.1", "smtp;554 <s@x>: Sender address rejected: Access denied", "invalid-sender"),
        ("5.0.0", "smtp;550 Sender address rejected: mailbox full", "invalid-sender"),
        ("5.0.0", "smtp;550-Verification failed for <s@x> 550-No such user", "invalid-sender"),
        ("5.0.0", "smtp;550 mail from: the address does not exist", "invalid-sender"),
        ("5.0.0", "smtp;550 Your IP address 192.0.2.1 has been rejected", "policy-related"),
        ("5.0.0", "smtp;554 <mx>: Helo command rejected: Host not found", "policy-related"),
        ("4.7.1", "smtp;421 Too many unknown users, try later", "policy-related"),
        ("5.7.1", "smtp;554 <a@x>: Recipient address rejected: Access denied", "policy-related"),
        ("4.7.1", "smtp;450 Recipient address rejected: SPF-Result: Time-out", "policy-related"),
        ("5.7.1", "smtp;554 It did not reach its intended recipient: rejected", "policy-related"),
        ("5.7.1", "smtp;550 Recipient address rejected: Relay Access Denied", "relaying-issues"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_sender_is_no_bad_mailbox(status, diagnostic, category):
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
