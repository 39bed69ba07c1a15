"""Suppression lists, aliases, copies, groups of sources: from the client to the provider."""

import asyncio
import contextlib
import smtplib
import socket
import ssl

import aiosmtplib
import pytest

from mta.sim.certificate import self_signed
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider

        def configured(source, top="", **sections):
            opened.configure(
                top=f"{top}\n<source 127.0.0.1>\nalways-allow-relaying yes\n{source}\n</source>",
                acct="records d,b,r",
                **sections,
            )

        opened.configured = configured
        yield opened


async def codes(smtp, *lines):
    return [(await smtp.execute_command(line.encode()))[0] for line in lines]


async def test_suppressed_recipients_are_refused_and_a_reload_reads_the_file_again(loopback):
    file = loopback.directory / "list.txt"
    file.write_text("".join(f"user{n}@example.com\n" for n in range(100_000)))
    loopback.configured(
        "suppression-lists gone", f"<address-list gone>\naddress-file {file}\n</address-list>"
    )
    async with loopback.running() as daemon, client(loopback.address) as smtp:
        await smtp.execute_command(b"MAIL FROM:<a@sender.example>")
        code, text = await smtp.execute_command(b"RCPT TO:<User77@example.com>")
        address = "<User77@example.com>"
        refusal = f'recipient is in suppression list "gone": {address} in "RCPT TO:{address}"'
        assert (code, text) == (550, f"5.7.1 {refusal}")
        assert await codes(smtp, "RCPT TO:<kim@example.com>") == [250]
        file.write_text("kim@example.com\n")
        assert (await daemon.command("reload")).code == 0
        assert await codes(smtp, "RCPT TO:<kim@example.com>", "RCPT TO:<user77@example.com>") == [
            550,
            250,
        ]
        file.unlink()
        failed = await daemon.command("reload")
        assert failed.code != 0
        assert "list.txt: No such file" in failed.text
        assert await codes(smtp, "RCPT TO:<kim@example.com>") == [550]


async def test_invalid_and_suppressed_recipients_bounce_where_they_are_accepted(loopback):
    loopback.configured(
        "suppression-lists gone\naccept-invalid-recipients yes",
        "<address-list gone>\naddress kim@example.com\n</address-list>",
    )
    async with loopback.running():
        async with client(loopback.address) as smtp:
            said = await codes(
                smtp, "MAIL FROM:<a@sender.example>", "RCPT TO:<kim@example.com>",
                "RCPT TO:<not an address>", "RCPT TO:<lee@example.com>",
            )  # fmt: skip
            assert said == [250] * 4
            await smtp.data("Subject: x\r\n\r\nx\r\n")
        await until(lambda: len(loopback.rows("d,b")) >= 3, 30, loopback.told)
    assert {(r["type"], r["rcpt"], r["dsnStatus"][:5]) for r in loopback.rows("d,b")} == {
        ("d", "lee@example.com", "2.0.0"),
        ("b", "kim@example.com", "5.7.1"),
        ("b", "not an address", "5.1.3"),
    }
    suppressed = next(r for r in loopback.rows("b") if r["rcpt"] == "kim@example.com")
    assert 'recipient is in suppression list "gone"' in suppressed["dsnDiag"]
    assert "kim@example.com" not in {received.rcpt for received in loopback.provider.journal}


async def test_aliases_and_copies_after_the_virtual_mta_is_chosen(loopback):
    loopback.configured(
        "bcc archive@archive.example\ndefault-virtual-mta any",
        "alias info kim@one.example,lee@two.example\n<virtual-mta any>\n</virtual-mta>\n"
        "<virtual-mta local>\n</virtual-mta>",
        domain="max-smtp-out 5\n</domain>\n<domain mta.sender.example>\nvirtual-mta local",
    )
    letter = Letter("info@mta.sender.example")
    async with loopback.running():
        await loopback.submit(letter)
        await until(lambda: len(loopback.rows("d")) == 3, 30, loopback.told)
    assert {(r["rcpt"], r["vmta"]) for r in loopback.rows("d")} == {
        ("kim@one.example", "local"),
        ("lee@two.example", "local"),
        ("archive@archive.example", "any"),
    }
    assert {r["orcpt"] for r in loopback.rows("d")} == {"rfc822;info@mta.sender.example", ""}


async def test_a_group_is_full_and_others_wait_for_a_slot(loopback):
    loopback.configured(
        "source-group web",
        "total-max-smtp-in 2\n<source-group web>\nmax-smtp-in 1\n</source-group>",
        listener="await-slot yes",
    )

    def greeted(source_ip):
        smtp = smtplib.SMTP(timeout=20, source_address=(source_ip, 0))
        return smtp, smtp.connect(*loopback.address)

    async with loopback.running():
        with contextlib.ExitStack() as stack:
            first, (code, _) = await asyncio.to_thread(greeted, "127.0.0.1")
            stack.callback(first.close)
            assert code == 220
            other, (code, _) = await asyncio.to_thread(greeted, "127.0.0.2")
            stack.callback(other.close)
            assert code == 220
            waiting = asyncio.create_task(asyncio.to_thread(greeted, "127.0.0.1"))
            await asyncio.sleep(0.2)
            assert not waiting.done()
            other.close()  # of another group: no room for one of web
            await asyncio.sleep(0.2)
            assert not waiting.done()
            first.quit()
            second, (code, _) = await waiting
            stack.callback(second.close)
            assert code == 220
            assert second.ehlo()[0] == 250


async def test_too_many_are_told_by_which_directive(loopback):
    loopback.configured("source-group web", "<source-group web>\nmax-smtp-in 1\n</source-group>")
    async with loopback.running(), client(loopback.address):
        with pytest.raises(smtplib.SMTPConnectError, match="max-smtp-in of source-group web"):
            smtplib.SMTP(*loopback.address, timeout=20)


async def test_who_may_relay_where(loopback):
    loopback.configure(
        top="relay-domain [*.]ok.example\nrelay-address /^kim@/\nrelay-address lee@one.example\n"
        "<source 127/8>\nmax-message-hops 2\n</source>\n"
        "<source 127.0.0.2>\nalways-allow-relaying yes\n</source>\n"
        "<source 127.0.0.3>\nsmtp-service no\n</source>"
    )
    tried = [f"RCPT TO:<{rcpt}>" for rcpt in (
        "a@ok.example", "a@sub.ok.example", "kim@any.example", "lee@one.example",
        "a@mta.sender.example", "a@other.example", "lee@two.example",
    )]  # fmt: skip
    async with loopback.running() as daemon:
        async with client(loopback.address) as smtp:
            await smtp.mail("a@sender.example")
            assert await codes(smtp, *tried) == [250] * 5 + [550, 550]
            hops = "Received: by x\r\n" * 3
            with pytest.raises(aiosmtplib.SMTPDataError, match=r"5\.4\.6"):
                await smtp.data(f"{hops}Subject: x\r\n\r\nx\r\n")
        async with client(loopback.address, source="127.0.0.2") as smtp:
            await smtp.mail("a@sender.example")
            assert await codes(smtp, *tried) == [250] * 7
        with pytest.raises(
            aiosmtplib.SMTPConnectResponseError,
            match=r"521.*mta\.sender\.example does not accept",
        ):
            async with client(loopback.address, source="127.0.0.3"):
                pass
        text = (loopback.directory / "petrel.conf").read_text()
        (loopback.directory / "petrel.conf").write_text(f"relay-debug yes\n{text}")
        assert (await daemon.command("reload")).code == 0
        async with client(loopback.address) as smtp:
            await smtp.mail("a@sender.example")
            assert await codes(smtp, "RCPT TO:<a@other.example>") == [450]


async def test_a_client_that_says_nothing_is_not_waited_for(loopback):
    loopback.configured("smtp-command-timeout 1s\nsmtp-data-timeout 1s")

    def ends_with(*said):
        with socket.create_connection(loopback.address, timeout=20) as peer:
            for line in said:
                peer.sendall(line)
            return peer.makefile("rb").readlines()[-1]

    mail = b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
    async with loopback.running():
        waits = [(), (b"EHLO a.example\r\n",), (mail, b"DATA\r\nSubject: x\r\n"),
                 (mail, b"BDAT 100\r\nhalf")]  # fmt: skip
        ends = await asyncio.gather(*(asyncio.to_thread(ends_with, *said) for said in waits))
    assert set(ends) == {b"421 4.4.2 timeout; closing\r\n"}


async def test_the_source_of_a_listener_and_its_versions_of_tls(loopback):
    certificate = self_signed("mta.sender.example").tls_certificate
    loopback.configure(
        top="<source 127/8>\nallow-starttls no\nmax-message-size 1k\n</source>\n"
        "<source door>\nallow-starttls yes\nalways-allow-relaying yes\n</source>",
        listener=f"source door\ntls-certificate {certificate}\ntls-allow-tlsv1.3 no\n"
        "tls-ciphers ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384",
    )
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False

    def negotiated():
        with smtplib.SMTP(*loopback.address, timeout=20) as smtp:
            smtp.ehlo("a.example")
            assert smtp.esmtp_features["size"] == "1024"
            smtp.starttls(context=context)
            smtp.ehlo("a.example")
            assert smtp.mail("a@b.example")[0] == smtp.rcpt("c@d.example")[0] == 250
            return smtp.sock.version(), smtp.sock.cipher()[0]

    async with loopback.running():
        version, cipher = await asyncio.to_thread(negotiated)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(negotiated)
    assert version == "TLSv1.2"
    assert cipher.endswith("AES256-GCM-SHA384")


async def test_what_is_for_postmaster_and_abuse_reaches_a_person(loopback):
    """Whoever writes it, and in whatever case; anybody else at this host is like any mail."""
    loopback.configured("always-allow-relaying no", "alias abuse desk@example.com")
    async with loopback.running():
        for local in ("PostMaster", "abuse", "kim"):
            await loopback.submit(Letter(f"{local}@mta.sender.example"))
        with smtplib.SMTP(*loopback.address, timeout=20) as smtp:
            smtp.ehlo("client.example")
            smtp.sendmail("", ["postmaster"], b"Subject: x\r\n\r\nhello\r\n")
        await until(lambda: len(loopback.rows("d,b")) == 4, 30, loopback.told)
    assert sorted(r["rcpt"] for r in loopback.rows("d,b")) == [
        "desk@example.com",
        "kim@mta.sender.example",
        "postmaster@sender.example",
        "postmaster@sender.example",
    ]
