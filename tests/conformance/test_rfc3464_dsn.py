"""Notifications as RFC 3464 and the parsers of PowerMTA's bounces want them."""

import email
import email.policy
from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest

from mta.bounces import dsn
from mta.bounces.dsn import Action, Style, Told
from mta.model.attempt import Attempt
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey

CONTENT = b"From: Me <me@example.com>\r\nSubject: hi\r\n\r\nHello.\r\n"
HEAD_SIZE = CONTENT.index(b"\r\n\r\n") + 4
NOW = 1_709_633_735.0
STYLE = Style(host_name="mta1.example.com")


def told(*, notify="", orcpt="", action=Action.FAILED, address="list@example.org", **envelope):
    values = {
        "message_id": 1,
        "mail_from": "bounce-1001@b.example.com",
        "time_queued": NOW - 35,
        "size": len(CONTENT),
        "head_size": HEAD_SIZE,
        "source_helo": "feeder.example.com",
        "source_ip": "198.51.100.7",
    }
    envelope = Envelope(**(values | envelope))
    recipient = Recipient(
        1 << 16, envelope, address, QueueKey("example.org", "vmta10"), 0.0, orcpt=orcpt,
        notify=notify,
    )  # fmt: skip
    return Told(
        recipient=recipient,
        action=action,
        status="5.1.1",
        diagnostic="smtp;550 5.1.1 User unknown",
        attempt=Attempt(remote_host="mx.example.org", remote_ip="192.0.2.38"),
        category="bad-mailbox",
    )


def composed(one, content=CONTENT, style=STYLE):
    return dsn.compose([one], content, style, now=NOW)


def parsed(octets):
    return email.message_from_bytes(octets, policy=email.policy.SMTP)


def parts(octets):
    return parsed(octets).get_payload()


def test_the_status_part_is_what_parsers_know(root):
    """Field by field as PowerMTA writes it, in its order."""
    sample = root / "tests" / "data" / "dsn" / "v4-orcpt.eml"
    fields = (
        "Reporting-MTA: dns;mta1.example.com\r\n"
        "X-PowerMTA-VirtualMTA: vmta10\r\n"
        "Received-From-MTA: dns;feeder.example.com (198.51.100.7)\r\n"
        "Arrival-Date: Tue, 05 Mar 2024 10:15:00 +0000\r\n"
        "\r\n"
        "Original-Recipient: rfc822;alias@example.com\r\n"
        "Final-Recipient: rfc822;list@example.org\r\n"
        "Action: failed\r\n"
        "Status: 5.1.1 (bad destination mailbox address)\r\n"
        "Remote-MTA: dns;mx.example.org (192.0.2.38)\r\n"
        "Diagnostic-Code: smtp;550 5.1.1 User unknown\r\n"
        "X-PowerMTA-BounceCategory: bad-mailbox\r\n"
    )
    octets = composed(told(orcpt="rfc822;alias@example.com")).decode()
    assert fields in octets
    assert fields in sample.read_text().replace("\r\n", "\n").replace("\n", "\r\n")


def test_the_report_has_three_parts_and_the_words_parsers_look_for():
    message = parsed(composed(told()))
    assert message.get_content_type() == "multipart/report"
    assert message["From"] == "postmaster@mta1.example.com"
    assert message["To"] == "bounce-1001@b.example.com"
    assert message["Subject"] == "Delivery report"
    assert message.get_boundary() == "report65E6F0C7@mta1.example.com"
    kinds = [part.get_content_type() for part in message.get_payload()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    text = message.get_payload()[0].get_payload()
    assert "  <list@example.org>  delivery failed; will not continue trying" in text


@pytest.mark.parametrize(
    ("ret", "default", "kind"),
    [
        ("", "", "text/rfc822-headers"),
        ("HDRS", "full", "text/rfc822-headers"),
        ("FULL", "", "message/rfc822"),
        ("", "full", "message/rfc822"),
    ],
)
def test_as_much_goes_back_as_was_asked_for(ret, default, kind):
    """RFC 3461 §4.3; Guide: dsn-return-default."""
    style = Style(host_name="h.example", returns_full=default == "full")
    octets = composed(told(ret=ret), style=style)
    assert parts(octets)[2].get_content_type() == kind
    assert (b"Hello." in octets) is (kind == "message/rfc822")


def test_of_a_delay_it_is_said_until_when_it_is_tried():
    """RFC 3464 §2.3.3 and §2.3.9."""
    delayed = replace(
        told(action=Action.DELAYED), status=dsn.status_of_delay("smtp;451 4.7.1 later"),
        diagnostic="smtp;451 4.7.1 later", category="", retry_until=NOW + 86400,
    )  # fmt: skip
    octets = composed(delayed)
    assert "  <list@example.org>  delivery delayed; will continue trying" in octets.decode()
    status = parts(octets)[1].get_payload()[1]
    assert status["Action"] == "delayed"
    assert status["Status"].startswith("4.7.1 (")
    assert status["Diagnostic-Code"] == "smtp;451 4.7.1 later"
    until = parsedate_to_datetime(status["Will-Retry-Until"])
    assert until.timestamp() == NOW + 86400


@pytest.mark.parametrize("reply", ["", "smtp;451 later", "smtp;550 5.1.1 no", "smtp;451 5.1.1 no"])
def test_the_status_of_a_delay_is_transient_whatever_was_said(reply):
    assert dsn.status_of_delay(reply) == "4.0.0"


def test_a_message_too_large_goes_back_as_its_header():
    octets = composed(told(ret="FULL", size=dsn.FULL_OCTETS_MAX + 1))
    assert parts(octets)[2].get_content_type() == "text/rfc822-headers"


def test_plain_text_is_the_fields_alone():
    octets = composed(told(ret="FULL"), style=Style(host_name="h.example", is_plain=True))
    message = parsed(octets)
    assert message.get_content_type() == "text/plain"
    assert message.get_payload().startswith("Reporting-MTA: dns;h.example")


@pytest.mark.parametrize(
    ("notify", "action", "wanted"),
    [
        ("", Action.FAILED, True),
        ("", Action.RELAYED, False),
        ("", Action.DELAYED, False),
        ("NEVER", Action.FAILED, False),
        ("SUCCESS", Action.FAILED, False),
        ("SUCCESS,FAILURE", Action.FAILED, True),
        ("SUCCESS,FAILURE", Action.RELAYED, True),
        ("FAILURE,DELAY", Action.DELAYED, True),
    ],
)
def test_whoever_asked_is_told(notify, action, wanted):
    """RFC 3461 §4.1: without NOTIFY, of failures."""
    assert dsn.wants(told(notify=notify).recipient, action) is wanted


@pytest.mark.parametrize("envelope", [{"mail_from": ""}, {"suppresses_dsn": True}])
def test_nobody_is_told_of_a_notification_or_where_the_source_says_so(envelope):
    assert not dsn.wants(told(**envelope).recipient, Action.FAILED)


def test_the_envelope_id_comes_first():
    octets = composed(told(env_id="QQ314159"))
    assert b"\r\n\r\nOriginal-Envelope-Id: QQ314159\r\nReporting-MTA" in octets


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("orcpt", "rfc822;a@b\r\nX-Evil: yes"),
        ("env_id", "x\r\nX-Evil: yes"),
        ("source_helo", "x\r\n\r\nX-Evil: yes"),
    ],
)
def test_no_value_becomes_a_line_of_its_own(field, value):
    octets = composed(told(**{field: value}))
    assert b"\nX-Evil" not in octets


def test_a_message_cannot_end_its_own_part():
    content = CONTENT.replace(b"hi", b"hi\r\n --report65E6F0C7@mta1.example.com--")
    octets = composed(told(size=len(content), head_size=len(content) - 8), content)
    assert len(parts(octets)) == 3


@pytest.mark.parametrize(
    ("content", "head_size"),
    [(b"no: field\r\n", 0), (b"From here\r\n", 0), (b"", 0), (b"\r\nx\r\n", 2), (b"A: b\r\n", 6)],
)
def test_content_without_a_header_block_goes_back_as_a_body(content, head_size):
    one = told(ret="FULL", size=len(content), head_size=head_size)
    sent = parts(composed(one, content))[2].get_payload(0)
    assert sent.get_payload() == content[head_size:].decode()
    assert sent.items() == ([("A", "b")] if head_size == 6 else [])


@pytest.mark.parametrize("content", [CONTENT, CONTENT + b"--report65E6EFE7@" + b"h" * 53 + b"\r\n"])
def test_a_boundary_is_no_longer_than_it_may_be(content):
    """RFC 2046 §5.1.1: 70 characters, whatever the name of the host."""
    style = replace(STYLE, host_name="h" * 60 + ".example.com")
    octets = composed(told(ret="FULL", size=len(content)), content, style)
    boundary = parsed(octets).get_boundary()
    assert len(boundary) == 70
    assert content.count(boundary.encode()) == 0
    assert len(parts(octets)) == 3


def test_what_a_peer_said_cannot_end_a_part():
    """It stands at the beginning of a line in a template, or where a long one is wrapped."""
    one = replace(told(), diagnostic="smtp;--report65E6F0C7@mta1.example.com--")
    octets = composed(one, style=replace(STYLE, body_template="${response}\n"))
    assert [part.get_content_type() for part in parts(octets)][1:] == [
        "message/delivery-status",
        "text/rfc822-headers",
    ]


@pytest.mark.parametrize("ret", ["HDRS", "FULL"])
def test_what_was_an_instruction_to_us_does_not_go_back(ret):
    head = b"X-DKIM-Key: secret\r\n  and more\r\n" + CONTENT[:HEAD_SIZE]
    content = head + CONTENT[HEAD_SIZE:]
    one = told(ret=ret, size=len(content), head_size=len(head), remove_fields=("x-dkim-key",))
    octets = composed(one, content)
    assert b"secret" not in octets and b"and more" not in octets
    assert b"Subject: hi" in octets
    assert (b"Hello." in octets) is (ret == "FULL")


def test_an_address_that_is_not_ascii_is_spelled_out():
    """RFC 6533 §3."""
    octets = composed(told(address="jörg@example.org"))
    assert b"Final-Recipient: utf-8;j\\x{F6}rg@example.org" in octets


def test_templates_fill_in_what_the_guide_names():
    style = Style(
        host_name="h.example",
        from_template="Mail <noreply@${hostname}>",
        subject_template="Not delivered: ${subject}",
        body_template="${recipient} said ${response} to ${originator}; ${unknown} stays.\n",
    )
    message = parsed(composed(told(), style=style))
    assert message["From"] == "Mail <noreply@h.example>"
    assert message["Subject"] == "Not delivered: hi"
    text = message.get_payload()[0].get_payload()
    assert text.startswith(
        "list@example.org said 550 5.1.1 User unknown to bounce-1001@b.example.com; ${unknown}"
    )


def test_the_from_field_may_be_given():
    style = Style(host_name="h.example", from_field="Mail System <ms@h.example>")
    assert parsed(composed(told(), style=style))["From"] == "Mail System <ms@h.example>"


def test_samples_of_powermta_have_the_same_shape(root):
    ours = [part.get_content_type() for part in parts(composed(told()))]
    samples = sorted((root / "tests" / "data" / "dsn").glob("v4-*.eml"))
    assert len(samples) == 3
    for sample in samples:
        assert [p.get_content_type() for p in parts(sample.read_bytes())] == ours
