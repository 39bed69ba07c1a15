"""Logging in and securing a connection at another server, as the directives of the queue say."""

import asyncio
import re
import ssl
from contextlib import asynccontextmanager

import pytest

from mta.model.host import Host
from mta.model.message import Envelope, Recipient
from mta.model.outcome import Deferred, Stage
from mta.model.queue_key import QueueKey
from mta.net.connector import ConnectFailed, connect_over_tcp, open_dialogue
from mta.net.dump import HIDDEN, Dump
from mta.net.told_smtp import Trace
from mta.queues import replies
from mta.sim.certificate import self_signed
from mta.smtp.client import Transaction
from mta.smtp.reply_parser import TEXT_CHARACTERS_MAX
from tests.e2e.scripted_peer import ScriptedPeer
from tests.texts import domain

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

LOGIN = "auth-username user\nauth-password secret\n"
SETTINGS = "connect-timeout 5s\nsmtp-greeting-timeout 5s\n"


def settings(text):
    return domain(f"<domain *>\n{SETTINGS}{text}\n</domain>", "x.example")


def server_tls(*, verify="", **versions):
    certificate = self_signed("localhost").tls_certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    for name, value in versions.items():
        setattr(context, name, value)
    if verify:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(verify)
    return context


@asynccontextmanager
async def opened(peer, text, **more):
    dialogue = await open_dialogue(
        peer.host, "", "us.example", settings(text), connect=connect_over_tcp, **more
    )
    try:
        yield dialogue
    finally:
        dialogue.abort()


def mechanisms(peer):
    return [line.split()[1] for line in peer.heard if line.startswith("AUTH")]


@pytest.mark.parametrize(
    ("offer", "directives", "used"),
    [
        ("AUTH PLAIN LOGIN CRAM-MD5", LOGIN, ["CRAM-MD5"]),
        ("AUTH LOGIN PLAIN", f"{LOGIN}use-unencrypted-plain-auth yes", ["LOGIN"]),
        ("AUTH PLAIN", f"{LOGIN}use-unencrypted-plain-auth yes", ["PLAIN"]),
        ("AUTH=CRAM-MD5", LOGIN, ["CRAM-MD5"]),
        ("AUTH CRAM-MD5", "", []),
    ],
)
async def test_the_best_mechanism_that_may_be_used_is_used(offer, directives, used):
    async with ScriptedPeer(offers=(offer,)) as peer, opened(peer, directives):
        assert mechanisms(peer) == used


@pytest.mark.parametrize("offer", ["AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5"])
async def test_no_dump_and_no_line_shows_what_logs_in(offer):
    lines = []
    trace = Trace(lines.append, Dump(lines.append))
    directives = f"{LOGIN}use-unencrypted-plain-auth yes"
    async with ScriptedPeer(offers=(offer,)) as peer, opened(peer, directives, trace=trace):
        secrets = peer.heard[1:]
    dumps = [one[:32].strip() for one in lines if re.match(r"[0-9A-F]{2,32} ", one)]
    everything = "\n".join(lines).encode() + bytes.fromhex("".join(dumps))
    assert b"EHLO us.example\r\n" in everything
    assert b"250" in everything
    assert lines.count(HIDDEN) >= 2  # what goes, and what is answered
    words = {word for line in secrets for word in line.split()} - set(offer.split())
    assert not [word for word in words if word.encode() in everything]


async def test_the_password_goes_in_clear_text_only_within_tls():
    async with ScriptedPeer(offers=("AUTH PLAIN LOGIN",)) as peer:
        with pytest.raises(ConnectFailed, match="use-unencrypted-plain-auth") as failed:
            async with opened(peer, LOGIN):
                pass
        assert (failed.value.stage, failed.value.reply) == (Stage.AUTH, None)
        assert peer.heard == ["EHLO us.example"]
    async with ScriptedPeer(offers=("AUTH PLAIN",), tls=server_tls()) as peer:
        async with opened(peer, LOGIN):
            assert mechanisms(peer) == ["PLAIN"]
        assert peer.heard.index("(tls)") < len(peer.heard) - 1


async def test_a_failed_login_defers_the_queue_with_its_reply_and_sends_no_mail():
    wrong = LOGIN.replace("secret", "wrong")
    async with ScriptedPeer(offers=("AUTH CRAM-MD5",)) as peer:
        with pytest.raises(ConnectFailed) as failed:
            async with opened(peer, wrong):
                pass
        problem = failed.value
        judged = replies.judge(problem.reply, problem.stage, settings(wrong), ())
        assert (judged.fate, judged.is_queue_level) == (replies.Fate.DEFER, True)
        assert replies.failure_of(problem.stage, problem.reply) == Deferred(
            "5.7.8", "smtp;535 5.7.8 wrong"
        )
        assert not any(line.startswith("MAIL") for line in peer.heard)


async def test_a_challenge_that_is_none_is_a_failure_of_the_peer():
    async with ScriptedPeer(offers=("AUTH CRAM-MD5",), challenge="334 abc") as peer:
        with pytest.raises(ConnectFailed, match="Invalid CRAM-MD5 challenge"):
            async with opened(peer, LOGIN):
                pass


@pytest.mark.parametrize(
    "greeting", ["SSH-2.0-OpenSSH_9.2", "150 wait", "354 go on", "250 2.0.0 hello"]
)
async def test_a_host_that_greets_as_no_mail_server_does_is_quoted(greeting):
    async def serve(reader, writer):
        writer.write(f"{greeting}\r\n".encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host = Host("mx.example", "127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(ConnectFailed, match=re.escape(greeting)) as failed:
            await open_dialogue(host, "", "us.example", settings(""), connect=connect_over_tcp)
    problem = failed.value
    deferred = replies.failure_of(problem.stage, problem.reply, problem.fault)
    assert deferred.status == "4.5.0"
    assert greeting in deferred.diagnostic


async def test_of_a_refusal_without_end_the_beginning_is_kept():
    line = "x" * 4000
    async with ScriptedPeer(banner=f"554-no\r\n554-{line}\r\n554-{line}\r\n554 {line}") as peer:
        with pytest.raises(ConnectFailed, match="554 no x") as failed:
            async with opened(peer, ""):
                pass
    assert len(failed.value.reply.text) <= TEXT_CHARACTERS_MAX


BEHIND_EHLO = "250-peer.example\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 OK\r\n{}"


@pytest.mark.parametrize(
    "says",
    [
        {"banner": "220 peer.example\r\n250 injected"},
        {"banner": "220 peer.example\r\n25"},
        {"ehlo": BEHIND_EHLO.format("454 4.7.0 injected")},
        {"ehlo": BEHIND_EHLO.format("220 injected\r\n250-peer.example\r\n250 AUTH CRAM-MD5")},
        {"behind_starttls": "250-peer.example\r\n250 AUTH CRAM-MD5\r\n"},
    ],
    ids=["greeting", "half a line", "a refusal", "all of STARTTLS", "STARTTLS"],
)
async def test_what_comes_right_behind_a_reply_answers_no_command(says):
    told = []
    peer = ScriptedPeer(offers=("AUTH PLAIN",), tls=server_tls(), **says)
    text = f"{LOGIN}require-starttls yes"
    async with peer, opened(peer, text, trace=Trace(told.append)) as dialogue:
        assert "AUTH" in dialogue.attempt.esmtp
        assert dialogue.attempt.tls_protocol
        assert mechanisms(peer) == ["PLAIN"]
        assert peer.heard.index("(tls)") < len(peer.heard) - 1
    assert ("behind_starttls" in says) != any("nobody asked for" in line for line in told)


async def test_without_any_offer_of_login_nothing_is_sent():
    async with ScriptedPeer() as peer:
        with pytest.raises(ConnectFailed, match="offers none"):
            async with opened(peer, LOGIN):
                pass


async def test_a_certificate_is_verified_where_a_ca_file_is_given():
    ours = self_signed("localhost").tls_certificate
    other = self_signed("other.example").tls_certificate
    async with ScriptedPeer(tls=server_tls()) as peer:
        async with opened(peer, f"smtp-tls-ca-file {ours}") as dialogue:
            assert dialogue.attempt.tls_protocol.startswith("TLSv1.")
            assert dialogue.attempt.tls_cipher
        async with opened(peer, f"smtp-tls-ca-file {other}") as dialogue:
            assert dialogue.attempt.tls_protocol == ""
        with pytest.raises(ConnectFailed, match="STARTTLS failed"):
            async with opened(peer, f"smtp-tls-ca-file {other}\nrequire-starttls yes"):
                pass


async def test_our_certificate_is_shown_to_who_asks():
    ours = self_signed("us.example").tls_certificate
    text = f"smtp-client-certificate {ours}\nrequire-starttls yes\nsmtp-tls-allow-tlsv1.3 no"
    async with ScriptedPeer(tls=server_tls(verify=ours)) as peer, opened(peer, text):
        assert peer.peer_certificate["subject"] == ((("commonName", "us.example"),),)


@pytest.mark.parametrize(
    ("directives", "spoken"),
    [
        ("", "TLSv1.3"),
        ("smtp-tls-allow-tlsv1.3 no", "TLSv1.2"),
        (
            "smtp-tls-allow-tlsv1.3 no\nsmtp-tls-allow-tlsv1.2 no\nsmtp-tls-allow-tlsv1.1 yes",
            "TLSv1.1",
        ),
        ("smtp-tls-allow-tlsv1.3 no\nsmtp-tls-allow-tlsv1.2 no\nsmtp-tls-allow-tlsv1 yes", "TLSv1"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_the_versions_that_are_allowed_are_spoken(directives, spoken):
    tls = server_tls(minimum_version=ssl.TLSVersion.TLSv1)
    tls.set_ciphers("ALL:@SECLEVEL=0")
    async with ScriptedPeer(tls=tls) as peer:
        text = f"require-starttls yes\n{directives}"
        async with opened(peer, text) as dialogue:
            assert dialogue.attempt.tls_protocol == spoken


async def test_the_ciphers_are_those_of_the_directive():
    async with ScriptedPeer(tls=server_tls()) as peer:
        text = "smtp-tls-allow-tlsv1.3 no\nsmtp-tls-ciphers ECDHE-ECDSA-AES128-GCM-SHA256"
        async with opened(peer, text) as dialogue:
            assert dialogue.attempt.tls_cipher == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize(
    "directive",
    [
        "smtp-tls-ciphers NONSENSE",
        "smtp-tls-ca-file /nowhere.pem",
        "smtp-client-certificate /no.pem",
    ],
)
async def test_a_directive_that_is_of_no_use_keeps_mail_from_going_in_clear(directive):
    async with ScriptedPeer(tls=server_tls()) as peer:
        with pytest.raises(ConnectFailed, match="TLS cannot be used"):
            async with opened(peer, directive):
                pass
        assert peer.heard == []


async def test_a_refused_starttls_is_passed_over_unless_required_or_heeded():
    busy = {"starttls": "454 4.7.0 TLS not available"}
    async with ScriptedPeer(**busy) as peer:
        async with opened(peer, ""):
            pass
        for text, heeds in (("require-starttls yes", False), ("", True)):
            with pytest.raises(ConnectFailed) as failed:
                async with opened(peer, text, heeds=lambda _, heeds=heeds: heeds):
                    pass
            assert str(failed.value.reply) == "454 4.7.0 TLS not available"
        async with opened(peer, "use-starttls no\nrequire-starttls yes"):
            pass


STARS = "220 ************************0******"


async def transacted(peer, text, content=b"Subject: x\r\n\r\n.body\r\n", stuff=True):
    key = QueueKey("x.example", "v")
    envelope = Envelope(
        message_id=1, mail_from="a@b", time_queued=0, size=len(content), head_size=14,
        has_leading_dot=stuff,
    )  # fmt: skip
    recipient = Recipient(1 << 16, envelope, "r@x.example", key, 0)
    async with opened(peer, text) as dialogue:
        result = await dialogue.transact(Transaction(envelope, (recipient,), b"", content))
    (outcome,) = replies.conclude(result, settings(text), ()).outcomes
    return outcome


@pytest.mark.parametrize(
    ("banner", "directives", "is_apart"),
    [(STARS, "", True), (STARS, "pix-bug-workaround no", False), ("220 peer.example", "", False)],
)
async def test_the_final_dot_goes_alone_to_a_pix_firewall(banner, directives, is_apart):
    async with ScriptedPeer(banner=banner) as peer:
        assert (await transacted(peer, directives)).status == "2.0.0"
        assert (peer.segments[-1] == b".\r\n") is is_apart
        assert b"".join(peer.segments) == b"Subject: x\r\n\r\n..body\r\n.\r\n"


@pytest.mark.parametrize(
    ("banner", "directives", "becomes"),
    [
        ("220 x", "", "Deferred"),
        ("220 x", "bounce-upon-pix-transfer-failure yes", "Deferred"),
        (STARS, "bounce-upon-pix-transfer-failure yes", "Bounced"),
        ("220 x", "bounce-upon-transfer-failure yes", "Bounced"),
        ("220 x", "assume-delivery-upon-data-termination-timeout yes", "Delivered"),
    ],
)
async def test_what_becomes_of_content_that_is_not_answered(banner, directives, becomes):
    async with ScriptedPeer(banner=banner, content=None) as peer:
        outcome = await transacted(peer, f"smtp-data-termination-timeout 1s\n{directives}")
    assert type(outcome).__name__ == becomes


async def test_a_connection_that_breaks_is_no_silence_that_means_delivery():
    directives = "assume-delivery-upon-data-termination-timeout yes"
    async with ScriptedPeer(content="no reply at all") as peer:
        outcome = await transacted(peer, directives)
    assert type(outcome).__name__ == "Deferred"
