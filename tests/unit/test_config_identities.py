"""Each dkim-identity has a key, and each key an identity, as far as the file decides it."""

import pytest

from mta.signing.check import check_signing
from tests.texts import HEAD, configured

KEYS = "domain-key s,a.example,/k.pem\n"
ALL = "<domain *>\ndkim-sign yes\n{}</domain>\n"
IDENTITY = ALL.format("dkim-identity @{}\n")


def said(text):
    found = check_signing(configured(HEAD + text))
    return [(d.place.line - 5, d.message) for d in found if "identity" in d.message]


def test_an_identity_that_no_key_is_for_is_told():
    assert (4, "dkim-identity @b.example: no domain-key is for b.example or a domain above it") in (
        said(KEYS + IDENTITY.format("b.example"))
    )


def test_a_key_that_no_identity_asks_for_is_told():
    found = said(f"{KEYS}domain-key s,b.example,/k.pem\n{IDENTITY.format('a.example')}")
    assert [(line, "b.example, so it signs nothing" in message) for line, message in found] == [
        (2, True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        KEYS + IDENTITY.format("a.example"),
        KEYS + IDENTITY.format("sub.a.example"),
        "domain-key s,*,/k.pem\n" + IDENTITY.format("b.example"),
        KEYS + "domain-key s,b.example,/k.pem\n" + ALL.format(""),
        KEYS + "domain-key s,b.example,/k.pem\n" + IDENTITY.format("a.example")
        + "<domain gmail.com>\ndkim-identity sender-or-from\n</domain>\n",
        KEYS + "domain-key s,b.example,/k.pem\n"
        + ALL.format("dkim-identity @a.example\nsecond-dkim-sign yes\n"),
        KEYS + "<source 0/0>\nprocess-x-dkim-options yes\n</source>\n"
        + IDENTITY.format("b.example"),
    ],
)  # fmt: skip
def test_where_a_message_may_choose_nothing_is_said(text):
    assert said(text) == []
