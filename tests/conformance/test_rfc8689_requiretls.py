"""REQUIRETLS in commands: where it is taken, and what is passed on (RFC 8689)."""

import pytest

from mta.bounces import dsn
from mta.bounces.dsn import Action, Style, Told
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.settings.source import SourceSettings
from mta.smtp.client import Client, Transaction
from mta.smtp.command import CommandError, parse_mail
from mta.smtp.extensions import Extensions
from mta.smtp.server import Server
from mta.spool import schema

CONTENT = b"Subject: x\r\n\r\nHello.\r\n"
QUEUE = QueueKey("d.example", "v")


class Policy:
    """Everybody may send, and nobody has to say who it is."""

    checks_sender = False

    def renewed(self):
        return None

    def mail(self, mail):
        return None

    def rcpt(self, mail, rcpt):
        return None

    def mechanisms(self):
        return ()


class Settings:
    """A queue that makes use of every offer."""

    ignore_pipelining = ignore_8bitmime = ignore_dsn = False


def served(**options):
    return Server(Policy(), SourceSettings(), "mx.example", **options)


def say(server, *lines):
    return [server.receive(line)[0] for line in lines]


def envelope(**changes):
    return Envelope(
        message_id=1, mail_from="a@b.example", time_queued=0.0, size=len(CONTENT), head_size=14,
        **changes,
    )  # fmt: skip


def recipient(of):
    return Recipient(1 << 16, of, "c@d.example", QUEUE, 0.0)


class TestOffer:
    """§2: within TLS, and nowhere else."""

    def test_not_before_tls(self):
        (greeted,) = say(served(offers_tls=True), b"EHLO c.example")
        assert "STARTTLS" in greeted.lines
        assert "REQUIRETLS" not in greeted.lines

    def test_within_tls_from_the_beginning(self):
        (greeted,) = say(served(is_tls=True), b"EHLO c.example")
        assert "REQUIRETLS" in greeted.lines

    def test_after_starttls(self):
        server = served(offers_tls=True)
        say(server, b"EHLO c.example", b"STARTTLS")
        server.tls_started()
        (greeted,) = say(server, b"EHLO c.example")
        assert "REQUIRETLS" in greeted.lines
        assert "STARTTLS" not in greeted.lines


class TestOption:
    """§2 and §4.1: a word without a value, which marks the message."""

    def test_it_marks_this_message_alone(self):
        server = served(is_tls=True)
        say(server, b"EHLO c.example", b"MAIL FROM:<a@b.example> SIZE=5 requiretls")
        assert server.mail.requires_tls
        say(server, b"RSET", b"MAIL FROM:<a@b.example>")
        assert not server.mail.requires_tls

    def test_it_goes_with_the_null_sender(self):
        assert parse_mail("FROM:<> REQUIRETLS", is_tls=True).requires_tls

    def test_it_is_refused_in_clear_text(self):
        server = served(offers_tls=True)
        *_, reply = say(server, b"EHLO c.example", b"MAIL FROM:<a@b.example> REQUIRETLS")
        assert (reply.code, reply.lines[0][:6]) == (530, "5.7.10")
        assert server.mail is None

    @pytest.mark.parametrize(
        ("written", "code"), [("REQUIRETLS=YES", 555), ("REQUIRETLS REQUIRETLS", 501)]
    )
    def test_it_has_no_value_and_is_given_once(self, written, code):
        with pytest.raises(CommandError) as refused:
            parse_mail(f"FROM:<a@b.example> {written}", is_tls=True)
        assert refused.value.reply.code == code

    def test_it_is_part_of_the_envelope_on_disk(self):
        text = schema.stored_text(envelope(requires_tls=True), CONTENT)
        assert schema.envelope_of(text).requires_tls
        assert "requires_tls" not in schema.stored_text(envelope(), CONTENT)


class TestClient:
    """§4.2.1: MAIL FROM says it again, where that is offered within TLS."""

    @pytest.mark.parametrize(("is_tls", "offered"), [(True, True), (False, False)])
    def test_an_offer_in_clear_text_is_none(self, is_tls, offered):
        extensions = Extensions.of(frozenset({"REQUIRETLS"}), Settings(), is_tls=is_tls)
        assert extensions.requiretls is offered

    @pytest.mark.parametrize(
        ("is_offered", "is_required", "is_said"),
        [(True, True, True), (True, False, False), (False, True, False)],
    )
    def test_only_for_mail_that_has_it_and_where_it_is_offered(
        self, is_offered, is_required, is_said
    ):
        of = envelope(requires_tls=is_required)
        client = Client(Extensions(requiretls=is_offered))
        first = client.begin(Transaction(of, (recipient(of),), b"", CONTENT))
        wanted = b"MAIL FROM:<a@b.example> REQUIRETLS\r\n"
        assert first == (wanted if is_said else wanted.replace(b" REQUIRETLS", b""))


class TestNotification:
    """§5: as much of the message goes back as with RET=HDRS."""

    @pytest.mark.parametrize("is_full", [True, False])
    def test_the_body_stays_here(self, is_full):
        of = envelope(requires_tls=True, ret="FULL" if is_full else "")
        told = Told(recipient=recipient(of), action=Action.FAILED, status="5.7.30")
        style = Style(host_name="h.example", returns_full=True)
        octets = dsn.compose([told], CONTENT, style, now=0.0)
        assert b"text/rfc822-headers" in octets
        assert b"Hello." not in octets
