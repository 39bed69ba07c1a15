"""Authentication-Results: what we say, and what others only pretend that we said."""

import pytest

from mta.smtp.auth_results import Finding, field, without_forged


def test_the_field():
    findings = [
        Finding("spf", "pass", "mx of a.example", [("smtp.mailfrom", "x@a.example")]),
        Finding("iprev", "fail", "", [("policy.iprev", "192.0.2.1")]),
    ]
    assert field("mx.example", findings) == (
        "Authentication-Results: mx.example;\r\n"
        "\tspf=pass (mx of a.example) smtp.mailfrom=x@a.example;\r\n"
        "\tiprev=fail policy.iprev=192.0.2.1\r\n"
    )
    assert field("mx.example", []) == "Authentication-Results: mx.example;\r\n\tnone\r\n"


def test_nothing_gets_out_of_its_place():
    evil = 'x") ;\\ dkim=pass\r\nBcc: y (é'
    said = field("mx.example", [Finding("spf", "none", evil, [("smtp.helo", 'a b"\\;c')], [evil])])
    assert said.count("\r\n") == said.count("\r\n\t") + 1
    assert "(x??" in said
    assert said.isascii()
    assert 'smtp.helo="a b\\"\\\\;c"' in said


def test_no_line_is_too_long_and_no_name_is_cut():
    long = "x" * 600
    properties = [
        ("header.d", long),
        ("header.s", "s" * 901),
        ("header.b", long),
        ("header.i", "i"),
    ]
    said = field("mx.example", [Finding("dkim", "permerror", "c" * 999, properties)])
    assert max(map(len, said.split("\r\n"))) <= 998
    assert f"\r\n\theader.d={long}\r\n\theader.b={long}\r\n\theader.i=i\r\n" in said
    assert "sss" not in said


def test_a_property_is_text():
    said = field("mx.example", [Finding("dkim", "fail", "", [("header.s", "a\r\n\tb\x1bc\x7f")])])
    assert said.endswith("\r\n\tdkim=fail header.s=a???b?c?\r\n")


OURS = [
    b"Authentication-Results: mx.example; spf=pass\r\n",
    b"authentication-results : MX.Example; spf=pass\r\n",
    b"Authentication-Results:\r\n\tmx.example 1;\r\n\tspf=pass\r\n",
    b"Authentication-Results: (a (nested) comment) mx.example; spf=pass\r\n",
    b'Authentication-Results: "mx.example"; spf=pass\r\n',
    b'Authentication-Results: "mx\\.example"; spf=pass\r\n',
    b"Authentication-Results: mx.example.\r\n",
    b"Authentication-Results: " + b"(" * 50_000 + b")" * 50_000 + b"mx.example\r\n",
]
OTHERS = [
    b"Authentication-Results: mx.example.org; spf=pass\r\n",
    b"Authentication-Results: other.example; spf=pass smtp.mailfrom=mx.example\r\n",
    b"X-Authentication-Results: mx.example; spf=pass\r\n",
    b"Subject: Authentication-Results: mx.example\r\n",
    b"Authentication-Results:\r\n",
]


@pytest.mark.parametrize("forged", OURS, ids=range(len(OURS)))
def test_a_field_that_claims_to_be_ours_is_removed(forged):
    head = b"From: a@b.example\r\n%sSubject: x\r\n\r\n" % forged
    assert without_forged(head, "mx.example") == b"From: a@b.example\r\nSubject: x\r\n\r\n"


@pytest.mark.parametrize("kept", OTHERS, ids=repr)
def test_others_stay(kept):
    head = b"From: a@b.example\r\n%sSubject: x\r\n\r\n" % kept
    assert without_forged(head, "mx.example") == head
