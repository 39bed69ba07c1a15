"""Notifications about addresses and messages beyond ASCII, as RFC 6533 wants them.

What holds of every one: its lines are as short as RFC 5322 §2.1.1 has them, nothing outside
ASCII stands in its status part, and nothing of an address is lost.
"""

import email
import re
from dataclasses import replace
from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.bounces import dsn
from mta.bounces.dsn import Style
from tests.conformance.test_rfc3464_dsn import CONTENT, STYLE, composed, parsed, parts, told
from tests.texts import only, said

UTF8_HEAD = "From: Jörg <me@example.com>\r\nSubject: Grüße\r\n\r\n".encode()
LATIN1_HEAD = "Subject: Grüße\r\n\r\n".encode("latin-1")
BODY = b"Hello.\r\n"


def about(head, body=BODY, **values):
    """The notification about a message, and what is told of whom."""
    content = head + body
    return composed(told(size=len(content), head_size=len(head), **values), content)


def status_of(octets):
    """The lines of the status part."""
    return octets.split(b"message/delivery-status\r\n\r\n")[1].split(b"\r\n--")[0].decode()


def test_the_sender_is_in_utf8_and_not_in_question_marks():
    octets = composed(told(mail_from="jörg@b.example"))
    assert "\r\nTo: jörg@b.example\r\n".encode() in octets
    assert b"?" not in octets


@pytest.mark.parametrize(
    ("orcpt", "field"),
    [
        ("rfc822;o+x@b.example", "rfc822;o+x@b.example"),
        ("rfc822;jörg+x@b.example", r"utf-8;j\x{F6}rg\x{2B}x@b.example"),
        ("utf-8;jörg+x@b.example", r"utf-8;j\x{F6}rg\x{2B}x@b.example"),
        (r"utf-8;j\x{F6}rg@b.example", r"utf-8;j\x{F6}rg@b.example"),
        ("UTF-8;δ@b.example", r"UTF-8;\x{3B4}@b.example"),
    ],
)
def test_the_original_recipient_is_spelled_in_ascii_once(orcpt, field):
    """§3, utf-8-addr-xtext: what begins an octet of xtext is spelled out, too."""
    assert f"Original-Recipient: {field}\r\n" in status_of(composed(told(orcpt=orcpt)))


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=60))
def test_an_address_can_be_read_back(local):
    """Whatever its local part, where it is not ASCII."""
    address = f"ö{local}@b.example"
    status = status_of(composed(told(address=address)))
    assert status.isascii()
    (field,) = re.findall(r"Final-Recipient: utf-8;([^\r]*)\r\n", status + "\r\n")
    assert not set("+= ") & set(field)
    assert re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: chr(int(m[1], 16)), field) == address


@pytest.mark.parametrize(
    ("ret", "head", "kind"),
    [
        ("HDRS", UTF8_HEAD, "message/global-headers"),
        ("FULL", UTF8_HEAD, "message/global"),
        ("HDRS", LATIN1_HEAD, "text/rfc822-headers"),
        ("FULL", LATIN1_HEAD, "message/rfc822"),
        ("FULL", CONTENT[: -len(BODY)], "message/rfc822"),
    ],
)
def test_a_message_with_a_header_in_utf8_goes_back_as_such(ret, head, kind):
    """§6; RFC 6532 §3.7. One that is neither ASCII nor UTF-8 is no such message."""
    octets = about(head, ret=ret)
    assert f"\r\nContent-Type: {kind}\r\n".encode() in octets
    is_said = b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + head in octets
    assert is_said is not head.isascii()


@pytest.mark.parametrize(
    ("head", "values", "is_8bit"),
    [
        (CONTENT[: -len(BODY)], {}, False),
        (UTF8_HEAD, {}, True),
        (CONTENT[: -len(BODY)], {"address": "jörg@example.org"}, True),
    ],
)
def test_a_notification_that_holds_8_bit_says_so(head, values, is_8bit):
    """RFC 2045 §6.4: also of the multipart as a whole."""
    octets = about(head, **values)
    whole = parsed(octets)["Content-Transfer-Encoding"]
    assert (whole == "8bit") is is_8bit
    text = parts(octets)[0]
    assert (text["Content-Transfer-Encoding"] == "8bit") is ("address" in values)
    assert octets.isascii() is not is_8bit


def test_names_and_subjects_of_templates_go_in_encoded_words():
    """RFC 2047: hosts without SMTPUTF8 take them, too."""
    style = Style(
        host_name="h.example",
        from_template="Jörg <b@h.example>",
        subject_template="Nicht zugestellt: Grüße ${subject} " + "ü" * 500,
    )
    octets = composed(told(), style=style)
    assert octets.isascii()
    assert parsed(octets)["From"] == "Jörg <b@h.example>"
    assert parsed(octets)["Subject"].startswith("Nicht zugestellt: Grüße hi ü")
    assert max(map(len, octets.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("template", "field"),
    [
        ("Jörg <b@bücher.example>", "Jörg <b@xn--bcher-kva.example>"),
        ("Jim <b@bücher.example>", "Jim <b@xn--bcher-kva.example>"),
        ("b@bücher.example", "b@xn--bcher-kva.example"),
        ("jörg@h.example", "postmaster@h.example"),
        ("Jörg <jörg@h.example>", "Jörg <postmaster@h.example>"),
        ("Jörg", "postmaster@h.example"),
        ("Re ${subject} <b@h.example>", "Re Grüße <b@h.example>"),
        ("J" + "ö" * 150 + " <b@h.example>", "J" + "ö" * 150 + " <b@h.example>"),
    ],
)
def test_a_from_field_is_ascii_and_says_what_its_template_says(template, field):
    style = Style(host_name="h.example", from_template=template)
    octets = composed(
        told(size=90, head_size=90), b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", style
    )
    head = octets.partition(b"\r\nSubject:")[0]
    assert head.isascii()
    assert max(map(len, head.split(b"\r\n"))) <= 78
    came = email.message_from_bytes(octets)["From"]
    assert str(make_header(decode_header(came))) == field


@pytest.mark.parametrize(
    ("came", "in_text"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= an\r\n =?iso-8859-1?b?9g==?=", "Grüße an ö"),
        (b"plain", "plain"),
        (b"=?no-such?q?a?=", "=?no-such?q?a?="),
        (b"=?utf-8?q?=FF?=", "=?utf-8?q?=FF?="),
        (b"=?utf-8?b?x?=", "=?utf-8?b?x?="),
        (b"=?unicode_escape?q?=5Cud800=5Cn--x?=", "  --x"),
        ("Grüße =?utf-8?q?a?=".encode(), "Grüße =?utf-8?q?a?="),
    ],
)
def test_a_subject_in_encoded_words_is_read_in_the_text_and_stays_in_the_field(came, in_text):
    head = b"Subject: " + came + b"\r\n\r\n"
    style = replace(STYLE, body_template="About ${subject}.\n", subject_template="No: ${subject}")
    octets = composed(told(size=len(head), head_size=len(head)), head, style)
    assert f"\r\nAbout {in_text}.\r\n".encode() in octets
    if came.isascii():
        field = came.replace(b"\r\n", b"")
        assert b"\r\nSubject: No: " + field + b"\r\n" in octets
    among_others = replace(style, subject_template="Für ${subject}")
    octets = composed(told(size=len(head), head_size=len(head)), head, among_others)
    assert parsed(octets)["Subject"] == f"Für {in_text}"


@pytest.mark.parametrize("template", ["${recipient}\n", "", "${recipient} " * 9])
@pytest.mark.parametrize("letter", ["x", "ö", "𐍈"])
def test_no_line_is_too_long_however_many_are_told_of(template, letter):
    """RFC 5322 §2.1.1. Nor is an address broken that fits in a line."""
    addresses = [f"{letter * 40}-{n}@example.org" for n in range(500)]
    style = replace(STYLE, body_template=template, subject_template="${recipient}")
    many = [told(address=one) for one in addresses]
    octets = dsn.compose(many, CONTENT, style, now=0)
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    text = octets.decode().partition("message/delivery-status")[0]
    assert all(one in text for one in addresses)


@pytest.mark.parametrize("action", [dsn.Action.RELAYED, dsn.Action.DELAYED])
def test_the_template_of_failures_is_for_failures(action):
    style = replace(STYLE, body_template="Lost.\n", subject_template="Lost", from_template="a@b")
    octets = composed(told(action=action), style=style)
    assert b"Lost" not in octets
    assert action.value[1].encode() in octets


def test_with_verp_it_goes_to_the_sender_that_names_the_recipient():
    style = replace(STYLE, body_template="To ${originator}.\n")
    octets = composed(
        told(is_verp=True, mail_from="a@b.example", address="x@y.example"), style=style
    )
    assert parsed(octets)["To"] == "a-x=y.example@b.example"
    assert b"To a-x=y.example@b.example." in octets


def test_a_sender_of_notifications_that_not_every_host_takes_is_refused():
    for directive in ("custom-dsn-from-header", "dsn-failed-from-template"):
        for sender in ("jö@a.example", "Jö <jö@a.example>", "Jö"):
            found = only(f"<global>\n{directive} {sender}\n</global>\n", "error")
            assert found.place.line == 2
            assert "in ASCII before" in found.message
        for sender in ("Jö <b@bücher.example>", "Jö <b@${hostname}>", "Mail", "${originator}"):
            assert not said(f"<global>\n{directive} {sender}\n</global>\n", "error")
