"""Users: who may authenticate, what holds for them then, and what is never told in clear text."""

import base64
import contextlib
import smtplib
import ssl

import pytest

from mta.model.secret import scram_of, scrypt_of
from mta.sim.certificate import self_signed
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SALT = b"0123456789abcdef"
USERS = f"""
<smtp-user anna>
password pencil(1)
source trusted
</smtp-user>
<smtp-user otto@sender.example>
password {scrypt_of("pencil(1)", SALT, ln=10)}
</smtp-user>
<smtp-user ida>
password {scram_of("pencil(1)", SALT)}
</smtp-user>
<smtp-user cert>
authentication-method certificate
tls-certificate CERTIFICATE
</smtp-user>
<source trusted>
max-message-size 1M
</source>
<source {{auth}}>
always-allow-relaying yes
max-message-size 10k
</source>
"""


@pytest.fixture
async def loopback(tmp_path):
    certificate = self_signed("mta.sender.example").tls_certificate
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.certificate = certificate
        opened.provider = provider

        def configure(source, **sections):
            top = USERS.replace("CERTIFICATE", certificate)
            opened.configure(
                top=f"{top}\n<source 127/8>\n{source}\n</source>",
                listener=f"tls-certificate {certificate}\ntls-ca-file {certificate}",
                acct="records d,r\nrecord-fields r *,rcvSmtpUser\nrecord-fields d *,rcvSmtpUser",
                **sections,
            )

        opened.configured = configure
        yield opened


@contextlib.contextmanager
def plain_client(loopback):
    with smtplib.SMTP(*loopback.address, timeout=20) as smtp:
        smtp.ehlo("client.example")
        yield smtp


def trusting(loopback):
    context = ssl.create_default_context(cafile=loopback.certificate)
    context.check_hostname = False
    return context


async def test_a_user_may_what_the_source_of_the_user_says(loopback):
    loopback.configured("require-auth yes\nallow-unencrypted-plain-auth yes")
    letter = Letter("kim@example.com")
    large = Letter("kim@example.com", body="x" * 20_000 + "\r\n")
    async with loopback.running():
        async with client(loopback.address) as smtp:
            code, text = await smtp.execute_command(b"MAIL FROM:<news@sender.example>")
            assert (code, text.split()[0]) == (530, "5.7.0")
            await smtp.login("anna", "pencil(1)")
            await smtp.sendmail(letter.mail_from, [letter.rcpt], large.content)
        async with client(loopback.address) as smtp:
            await smtp.login("otto@sender.example", "pencil(1)")
            code, text = await smtp.execute_command(b"MAIL FROM:<a@b.example> SIZE=20000")
            assert code == 552, text
            await smtp.sendmail(letter.mail_from, [letter.rcpt], letter.content)
        await until(lambda: len(loopback.rows("d")) == 2, 30, loopback.told)
    assert {row["rcvSmtpUser"] for row in loopback.rows("r,d")} == {"anna", "otto@sender.example"}
    assert b"with ESMTPA id" in loopback.provider.journal[0].headers


async def test_nothing_that_gives_a_password_away_is_offered_in_clear_text(loopback):
    loopback.configured("allow-starttls yes")
    async with loopback.running():
        with plain_client(loopback) as smtp:
            assert smtp.esmtp_features["auth"].split() == ["SCRAM-SHA-256", "CRAM-MD5"]
            given = base64.b64encode(b"\0anna\0pencil(1)").decode()
            assert smtp.docmd("AUTH", f"PLAIN {given}")[0] == 538
            smtp.starttls(context=trusting(loopback))
            smtp.ehlo("client.example")
            offered = smtp.esmtp_features["auth"].split()
            assert offered == ["SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"]
            assert smtp.login("anna", "pencil(1)")[0] == 235


async def test_no_auth_before_tls_where_that_is_required(loopback):
    loopback.configured("allow-starttls yes\nrequire-starttls-before-auth yes")
    async with loopback.running():
        with plain_client(loopback) as smtp:
            assert "auth" not in smtp.esmtp_features
            assert smtp.docmd("AUTH", "CRAM-MD5")[0] == 538
            smtp.starttls(context=trusting(loopback))
            assert smtp.login("ida", "pencil(1)")[0] == 235


async def test_a_source_without_auth_and_one_without_starttls(loopback):
    loopback.configured("allow-auth no")
    async with loopback.running():
        with plain_client(loopback) as smtp:
            assert not {"auth", "starttls"} & set(smtp.esmtp_features)
            assert smtp.docmd("AUTH", "CRAM-MD5")[0] == 504
            assert smtp.docmd("STARTTLS")[0] == 502


async def test_a_certificate_is_a_user(loopback):
    loopback.configured("allow-starttls yes\nrequire-auth yes")
    async with loopback.running():
        context = trusting(loopback)
        context.load_cert_chain(loopback.certificate)
        with plain_client(loopback) as smtp:
            smtp.starttls(context=context)
            smtp.ehlo("client.example")
            assert "EXTERNAL" in smtp.esmtp_features["auth"]
            assert smtp.docmd("AUTH", "EXTERNAL =")[0] == 235
            smtp.sendmail("a@sender.example", ["kim@example.com"], "Subject: x\r\n\r\nx\r\n")
        await until(lambda: loopback.rows("r"), 30, loopback.told)
    assert loopback.rows("r")[0]["rcvSmtpUser"] == "cert"


async def test_who_guesses_is_locked_out_and_nobody_else(loopback):
    loopback.configured("smtp-max-auth-failure-rate 3/h\nallow-unencrypted-plain-auth yes")
    wrong = base64.b64encode(b"\0anna\r\n250 ok\0x").decode()
    right = base64.b64encode(b"\0anna\0pencil(1)").decode()
    async with loopback.running():
        for _ in range(3):
            with plain_client(loopback) as smtp:
                assert smtp.docmd("AUTH", f"PLAIN {wrong}")[0] == 535
        answers = []

        def is_locked_out():
            with plain_client(loopback) as smtp:
                answers.append(smtp.docmd("AUTH", f"PLAIN {right}")[0])
            return answers[-1] == 454

        # One worker hears from another of a failure: at once, but after its client.
        await until(is_locked_out, 10)
        assert loopback.worker_count > 1 or answers == [454]
        with smtplib.SMTP(*loopback.address, source_address=("127.0.0.2", 0)) as smtp:
            smtp.ehlo("client.example")
            assert smtp.docmd("AUTH", f"PLAIN {right}")[0] == 235
        await until(lambda: "locked out" in loopback.told(), 10)
    assert loopback.told().count("failed to authenticate as 'anna\\r\\n250 ok'") == 3


async def test_an_immediate_tls_listener(loopback):
    loopback.configured("require-auth yes\nalways-allow-relaying yes")
    text = (loopback.directory / "petrel.conf").read_text()
    (loopback.directory / "petrel.conf").write_text(
        text.replace("tls-ca-file", "immediate-tls yes\ntls-ca-file")
        + f"<smtp-listener 127.0.0.3:{loopback.address[1]}>\n</smtp-listener>\n"
    )
    host, port = loopback.address
    loopback.daemon.address = ("127.0.0.3", port)
    async with loopback.running():
        with smtplib.SMTP_SSL(host, port, context=trusting(loopback), timeout=20) as smtp:
            smtp.ehlo("client.example")
            assert "starttls" not in smtp.esmtp_features
            assert "requiretls" in smtp.esmtp_features
            smtp.login("anna", "pencil(1)")
            smtp.sendmail("a@sender.example", ["kim@example.com"], "Subject: x\r\n\r\nx\r\n")
        await until(lambda: loopback.provider.journal, 30, loopback.told)
    assert b"with ESMTPSA id" in loopback.provider.journal[0].headers
