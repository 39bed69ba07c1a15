"""STARTTLS both ways, as configured and as accounted."""

import asyncio
import socket
import ssl
from pathlib import Path

import aiosmtplib
import pytest

from mta.sim.certificate import self_signed
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import free_port, until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, client, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30


async def test_mail_goes_encrypted_where_it_is_offered_and_says_so(tmp_path):
    async with Provider({"*": Profile(starttls="offer")}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            domain="use-starttls yes", acct="records d,c\nrecord-fields d *,dlvTlsProtocol"
        )
        async with loopback.running():
            await loopback.submit(*letters(3, "example.com"))
            await until(lambda: len(loopback.rows("d")) == 3, DELIVERY_S, loopback.told)
    assert all(received.tls.startswith("TLSv1.") for received in provider.journal)
    assert all(row["dlvTlsProtocol"].startswith("TLSv1.") for row in loopback.rows("d,c"))


@pytest.mark.parametrize(
    ("offered", "use_starttls"),
    [("offer", "no"), ("broken", "yes")],
    ids=["not wanted", "given up as broken"],
)
async def test_mail_goes_in_clear(tmp_path, offered, use_starttls):
    async with Provider({"*": Profile(starttls=offered)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain=f"use-starttls {use_starttls}")
        async with loopback.running():
            await loopback.submit(*letters(2, "example.com"))
            await until(lambda: len(loopback.rows("d")) == 2, DELIVERY_S, loopback.told)
    assert {received.tls for received in provider.journal} == {""}


@pytest.mark.parametrize("offered", ["none", "broken"])
async def test_required_encryption_is_not_given_up(tmp_path, offered):
    async with Provider({"*": Profile(starttls=offered)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="use-starttls yes\nrequire-starttls yes")
        async with loopback.running() as daemon:
            await loopback.submit(*letters(2, "example.com"))
            await until(lambda: "TLS" in loopback.told(), DELIVERY_S, loopback.told)
            explained = await daemon.command("explain", "example.com")
            assert "TLS" in explained.text, explained.text
    assert provider.journal == []
    assert loopback.rows("d") == []


async def test_a_listener_with_a_certificate_offers_encryption(tmp_path):
    certificate = self_signed("mta.sender.example").tls_certificate
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            top="<source 127/8>\nallow-starttls yes\nalways-allow-relaying yes\n</source>",
            listener=f"tls-certificate {certificate}",
            acct="records d,r",
        )
        async with loopback.running():
            async with client(loopback.address) as smtp:
                assert smtp.supports_extension("starttls")
                await smtp.starttls(tls_context=trust)
                assert not smtp.supports_extension("starttls")
                letter = Letter("a@example.com")
                await smtp.sendmail(letter.mail_from, [letter.rcpt], letter.content)
            await until(lambda: len(loopback.rows("d")) == 1, DELIVERY_S, loopback.told)
    assert "ESMTPS" in provider.journal[0].headers.decode()


async def test_a_reload_reads_a_renewed_certificate_and_keeps_the_old_one_if_it_is_none(tmp_path):
    first, second = (self_signed(f"{name}.example").tls_certificate for name in ("one", "two"))
    path = tmp_path / "pair.pem"

    def install(octets):
        path.write_bytes(octets)
        path.chmod(0o600)

    async def shown(trusted):
        """Whether a client that trusts that certificate alone is content."""
        trust = ssl.create_default_context(cafile=trusted)
        trust.check_hostname = False
        try:
            async with client(loopback.address) as smtp:
                await smtp.starttls(tls_context=trust)
                return True
        except (ssl.SSLError, aiosmtplib.SMTPException, OSError):
            return False

    install(Path(first).read_bytes())
    loopback = Loopback(tmp_path, 1)
    loopback.configure(
        top="<source 127/8>\nallow-starttls yes\n</source>", listener=f"tls-certificate {path}"
    )
    async with loopback.running() as daemon:
        assert (await shown(first), await shown(second)) == (True, False)
        install(Path(second).read_bytes())
        assert (await daemon.command("reload")).code == 0
        assert (await shown(first), await shown(second)) == (False, True)
        install(b"no certificate")
        assert (await daemon.command("reload")).code == 0
        assert (await shown(first), await shown(second)) == (False, True)
        stays = "the certificate read before stays in use"
        await until(lambda: stays in loopback.told(), DELIVERY_S, loopback.told)
    assert "eof_received" not in loopback.told()


async def greets(address, certificate, *, shows=None, at_once=False):
    """Whether a client that trusts that certificate alone is served, by STARTTLS or at once."""
    trust = ssl.create_default_context(cafile=certificate)
    trust.check_hostname = False
    if shows is not None:
        trust.load_cert_chain(shows)
    smtp = aiosmtplib.SMTP(
        hostname=address[0],
        port=address[1],
        start_tls=False,
        use_tls=at_once,
        tls_context=trust,
        timeout=DELIVERY_S,
    )
    try:
        await smtp.connect()
        if not at_once:
            await smtp.starttls(tls_context=trust)
        return (await smtp.ehlo()).code == 250
    except (ssl.SSLError, aiosmtplib.SMTPException, OSError):
        return False
    finally:
        smtp.close()


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_reload_reads_who_vouches_for_clients_again(tmp_path, at_once):
    ours, theirs = (self_signed(f"{name}.example").tls_certificate for name in ("one", "two"))
    mine = self_signed("mta.sender.example").tls_certificate
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(Path(ours).read_bytes())
    loopback, address = Loopback(tmp_path, 1), ("127.0.0.1", free_port())
    listener = f"tls-certificate {mine}\ntls-ca-file {authorities}"
    begins = "immediate-tls yes\n" * at_once
    section = f"<smtp-listener 127.0.0.1:{address[1]}>\n{listener}\n{begins}</smtp-listener>"
    loopback.configure(top=f"<source 127/8>\nallow-starttls yes\n</source>\n{section}")

    async def welcome():
        shown = [await greets(address, mine, shows=one, at_once=at_once) for one in (ours, theirs)]
        return tuple(shown)

    async with loopback.running() as daemon:
        assert await welcome() == (True, False)
        authorities.write_bytes(Path(theirs).read_bytes())
        assert (await daemon.command("reload")).code == 0
        # Whom nobody vouches for any more is not welcome either.
        assert await welcome() == (False, True)
        authorities.write_bytes(b"nobody")
        said = await daemon.command("reload")
        assert f"tls-ca-file {authorities}" in said.text
        assert await welcome() == (False, True)


async def test_a_reload_follows_a_listener_that_says_something_else(tmp_path):
    ones, others = (self_signed(f"{name}.example").tls_certificate for name in ("one", "two"))
    loopback, address = Loopback(tmp_path, 1), ("127.0.0.1", free_port())
    source = "<source 127/8>\nallow-starttls yes\n</source>\n"
    source += "<source deaf>\nsmtp-service no\n</source>\n"

    def configure(*lines, port=address[1]):
        listener = "\n".join([f"<smtp-listener 127.0.0.1:{port}>", *lines, "</smtp-listener>"])
        loopback.configure(top=source + listener)

    async def reloaded():
        said = await loopback.daemon.command("reload")
        assert said.code == 0, said.text
        return said.text

    configure(f"tls-certificate {ones}")
    async with loopback.running():
        assert await greets(address, ones)
        configure(f"tls-certificate {others}")
        assert "next start" not in await reloaded()
        assert (await greets(address, ones), await greets(address, others)) == (False, True)
        configure(f"tls-certificate {ones}", "immediate-tls yes")
        assert "next start" not in await reloaded()
        assert await greets(address, ones, at_once=True)
        async with asyncio.timeout(DELIVERY_S):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"EHLO client.sender.example\r\n")
            assert b"220" not in await reader.read()
            writer.close()
        configure(f"tls-certificate {others}")
        await reloaded()
        assert await greets(address, others)
        configure("source deaf")
        await reloaded()
        async with client(loopback.address):
            pass
        with pytest.raises(aiosmtplib.SMTPException):
            await aiosmtplib.SMTP(hostname=address[0], port=address[1], start_tls=False).connect()
        configure("source deaf", port=free_port())
        assert "smtp-listener" in await reloaded()
        assert "smtp-listener" in await reloaded(), "it waits still, whenever one asks"
        configure("source deaf")
        assert "smtp-listener" not in await reloaded()


async def test_what_was_sent_before_the_handshake_is_not_taken_as_sent_within(tmp_path):
    certificate = self_signed("mta.sender.example").tls_certificate
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            top="<source 127/8>\nallow-starttls yes\n</source>",
            listener=f"tls-certificate {certificate}",
        )
        async with loopback.running():
            said = await asyncio.to_thread(_say, loopback.address)
    before, ready, after = said.partition(b"\r\n220 ")
    assert ready
    assert b"250 2.1.0" not in before + after


def _say(address):
    """What is answered to commands in clear text behind and after STARTTLS, to the end."""
    with socket.create_connection(address, timeout=DELIVERY_S) as peer:
        peer.sendall(b"EHLO a.example\r\nSTARTTLS\r\nMAIL FROM:<a@example.com>\r\n")
        said = b""
        while b"\r\n220 " not in said:
            said += peer.recv(4096)
        peer.sendall(b"RSET\r\n")
        while octets := _received(peer):
            said += octets
    return said


def _received(peer):
    try:
        return peer.recv(4096)
    except ConnectionError:
        return b""


async def test_nothing_in_clear_text_follows_the_answer_to_starttls(tmp_path):
    async with Provider({"*": Profile(starttls="offer")}) as provider:
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        try:
            await reader.readline()
            writer.write(b"STARTTLS\r\n")
            assert await reader.readline() == b"220 2.0.0 go ahead\r\n"
            writer.write(b"this begins no handshake\r\n")
            # Where TLS has begun, all that may come is a TLS alert (RFC 8446 §6).
            rest = await asyncio.wait_for(reader.read(), DELIVERY_S)
            assert rest[:1] in (b"", b"\x15")
        finally:
            writer.close()
