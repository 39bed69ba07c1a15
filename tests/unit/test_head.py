"""The header block that leaves: our Received field, added, replaced and removed fields."""

from dataclasses import replace

import dkim
import pytest

from mta.model.header_field import field_name, folded
from mta.model.message import Envelope
from mta.signing.keys import new_key
from mta.smtp.head import HeadRules
from tests.texts import configured, only

DATE = "Tue, 24 Nov 2026 04:00:00 +0000"
OWN = (
    b"Received: from a by b;\r\n\tdate\r\n"
    b"Subject: hello\r\n"
    b"Precedence: list\r\n"
    b"X-Received: not the same\r\n"
    b"RECEIVED: from c\r\n by d\r\n"
    b"\r\n"
)
ENVELOPE = Envelope(
    message_id=0x40,
    mail_from="a@example.org",
    time_queued=0.0,
    size=1000,
    head_size=len(OWN),
    source_helo="client.example.org",
    source_ip="192.0.2.7",
)


def rules(*added, received=True, hide=False, **more):
    return HeadRules(
        host_name="mta.example.com",
        added=added,
        add_received=received,
        hide_received=hide,
        **more,
    )


def test_a_received_field_goes_first_and_the_own_block_follows_uncopied():
    head = rules().render(ENVELOPE, "b@example.net", DATE, b"")
    assert head.skip == 0
    assert head.octets == (
        b"Received: from client.example.org ([192.0.2.7])\r\n"
        b"\tby mta.example.com (Petrel) with ESMTP id 0000000020 for <b@example.net>;\r\n"
        b"\tTue, 24 Nov 2026 04:00:00 +0000\r\n"
    )


@pytest.mark.parametrize("helo", ["", "a;b", "(a", "a)", "\\", "ü.example", "a\r\nX: 1", "[::1]\0"])
def test_a_name_of_the_client_with_a_meaning_of_its_own_is_not_shown(helo):
    octets = rules().render(replace(ENVELOPE, source_helo=helo), "", DATE, b"").octets
    assert octets.startswith(b"Received: from 192.0.2.7 ([192.0.2.7])\r\n\tby ")


def test_several_recipients_are_not_named():
    assert b" for <" not in rules().render(ENVELOPE, "", DATE, b"").octets


def test_a_hidden_source_is_not_in_the_received_field():
    envelope = replace(ENVELOPE, hide_source=True)
    assert b"192.0.2.7" not in rules().render(envelope, "", DATE, b"").octets


def test_a_source_or_vmta_that_adds_no_received_field_adds_none():
    assert rules(received=False).render(ENVELOPE, "", DATE, b"").octets == b""
    envelope = replace(ENVELOPE, add_received=False)
    assert rules().render(envelope, "", DATE, b"").octets == b""


def test_an_added_field_replaces_the_fields_of_its_name():
    head = rules("Precedence: bulk", received=False).render(ENVELOPE, "", DATE, OWN)
    assert head.skip == len(OWN)
    assert head.octets.count(b"Precedence") == 1
    assert head.octets.startswith(b"Precedence: bulk\r\n")
    assert head.octets.endswith(b"\r\n\r\n")


def test_an_added_field_the_message_does_not_have_copies_nothing():
    head = rules("X-New: 1", received=False).render(ENVELOPE, "", DATE, OWN)
    assert (head.octets, head.skip) == (b"X-New: 1\r\n", 0)


def test_the_last_added_field_of_a_name_stands():
    head = rules("X-New: 1", "x-new: 2", received=False).render(ENVELOPE, "", DATE, OWN)
    assert head.octets == b"x-new: 2\r\n"


def test_hide_received_removes_the_fields_it_came_with_folded_lines_and_all():
    head = rules(received=False, hide=True).render(ENVELOPE, "", DATE, OWN)
    assert head.octets == (
        b"Subject: hello\r\nPrecedence: list\r\nX-Received: not the same\r\n\r\n"
    )
    assert head.skip == len(OWN)


def test_fields_that_were_instructions_to_us_are_not_sent():
    envelope = replace(ENVELOPE, remove_fields=("precedence", "received"))
    head = rules(received=False).render(envelope, "", DATE, OWN)
    assert head.octets == b"Subject: hello\r\nX-Received: not the same\r\n\r\n"


def test_hide_received_keeps_the_submitting_host_out_of_ours():
    octets = rules(hide=True).render(ENVELOPE, "", DATE, OWN).octets
    assert octets.startswith(b"Received: by mta.example.com (Petrel)")


def test_what_reception_added_goes_between_the_files_and_what_the_configuration_adds():
    envelope = replace(ENVELOPE, added_fields="Date: d\r\n", adds_date=True, shows_vmta=True)
    head = rules("X-New: 1", received=False, included=b"X-File: 1\r\n", vmta="v").render(
        envelope, "", DATE, OWN, sent="now"
    )
    assert head.skip == 0
    assert head.octets == (b"X-File: 1\r\nDate: d\r\nDate: now\r\nX-Virtual-MTA: v\r\nX-New: 1\r\n")


def test_the_name_of_a_virtual_mta_is_shown_in_ascii():
    head = rules(received=False, vmta="bücher").render(
        replace(ENVELOPE, shows_vmta=True), "", DATE, b""
    )
    assert head.octets == b"X-Virtual-MTA: =?utf-8?q?b=C3=BCcher?=\r\n"


def test_remove_header_takes_what_reception_added_and_leaves_what_the_configuration_adds():
    envelope = replace(ENVELOPE, added_fields="Date: d\r\nX-A: 1\r\n", remove_fields=("x-a",))
    head = rules("Precedence: bulk", removed=("Date", "Received", "subject")).render(
        envelope, "", DATE, OWN
    )
    assert head.octets == (b"X-A: 1\r\nPrecedence: bulk\r\nX-Received: not the same\r\n\r\n")


@pytest.mark.parametrize(
    "bad", ["", "no colon", "a b: c", "X: y\r\nZ: 1", "X: \0", "X: \x85", "X: \u2028", ".X: y"]
)
def test_what_is_no_header_field_is_refused(bad):
    with pytest.raises(ValueError, match="expected a header field"):
        field_name(bad)


def test_a_long_field_is_folded_at_blanks_and_a_short_one_left_as_it_is():
    short = "X-A: " + "word  " * 165
    assert folded(short) == short
    long = "X-A:\tone: " + "two  " * 200 + "x" * 990 + " end"
    sent = rules(long, received=False).render(ENVELOPE, "", DATE, b"").octets.decode()
    lines = sent.removesuffix("\r\n").split("\r\n")
    assert "".join(lines) == long
    assert lines[0].startswith("X-A:\tone:")
    assert all(line[0] in " \t" and line.strip() for line in lines[1:])
    assert sorted(map(len, lines))[-2:] == [78, 992]


@pytest.mark.parametrize("word", ["x" * 998, "x" + " " * 998 + "y"])
def test_a_field_that_cannot_be_folded_is_refused(word):
    with pytest.raises(ValueError, match="blanks to fold"):
        folded(f"X-A: one {word} two")


def test_a_configured_field_is_refused_at_its_line_or_sent_as_it_should_be():
    for field, words in (
        ("X-A: Jö", "encoded words"),
        ("X-A: " + "x" * 2000, "blanks to fold"),
        (".X-A: y", "expected a header field"),
    ):
        found = only(f'<global>\nadd-header "{field}"\n</global>\n', "error")
        assert found.place.line == 2
        assert words in found.message
    field = "X-A" + " \t: " + "x " * 1000
    text = f'<global>\nadd-header "{field}"\n</global>\n'
    assert configured(text).root.add_header == ("X-A: " + "x " * 999 + "x",)


def test_a_signature_survives_edits_of_fields_that_it_does_not_cover():
    key = new_key("rsa-1024")
    content = b"From: a@a.example\r\n" + OWN + b"body\r\n"
    covered = [b"From", b"Subject", b"X-Received"]
    signature = dkim.sign(
        content,
        b"s",
        b"a.example",
        key.pem(),
        include_headers=covered,
        canonicalize=(b"simple",) * 2,
    )
    came = b"X-First: 1\r\n" + signature + content
    head = rules(
        "X-New: 1", "Precedence: bulk", hide=True, included=b"X-File: 1\r\n", removed=["X-First"]
    ).render(ENVELOPE, "", DATE, came[: -len(b"body\r\n")])
    sent = head.octets + came[head.skip :]
    assert b"X-First" not in sent and b"by d" not in sent and b"list" not in sent
    assert dkim.verify(sent, minkey=1024, dnsfunc=lambda name, timeout: key.record.encode())
