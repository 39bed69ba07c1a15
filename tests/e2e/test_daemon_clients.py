"""Mail programs that others wrote get along with the daemon."""

import asyncio
import json
import os
import re
import smtplib
import ssl
import tempfile
from pathlib import Path

import aiosmtplib
import pytest

from benchmarks.peers import Place
from benchmarks.peers.postfix import Postfix
from mta.sim.certificate import self_signed
from mta.sim.provider import Provider
from tests.conftest import require
from tests.e2e.daemon import free_port, until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PROGRAM_S = 60
USER, PASSWORD = "anna@sender.example", "pencil(1)"
CONTENT = "From: <news@sender.example>\r\nSubject: hello\r\n\r\n.a dot\r\n..two\r\nlast\r\n"
STUFFED = "..a dot\r\n...two\r\nlast\r\n"
"""Its body, as it goes over the wire."""


@pytest.fixture
async def loopback(tmp_path):
    """Relays for whoever authenticates, over TLS, and for nobody else."""
    certificate = self_signed("mta.sender.example").tls_certificate
    async with Provider() as provider:
        provider.keeps_bodies = True
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        opened.certificate = certificate
        opened.configure(
            top=f"<smtp-user {USER}>\npassword {PASSWORD}\n</smtp-user>\n"
            "<source {auth}>\nalways-allow-relaying yes\n</source>\n"
            "<source 127/8>\nallow-starttls yes\nrequire-auth yes\n</source>",
            listener=f"tls-certificate {certificate}",
            acct="records d,r\nrecord-fields d *,rcvSmtpUser",
        )
        yield opened


@pytest.fixture
async def trusting(tmp_path):
    """Relays for this host."""
    async with Provider() as provider:
        provider.keeps_bodies = True
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        yield opened


async def run(*command, **environment):
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | environment,
    )
    async with asyncio.timeout(PROGRAM_S):
        said, _ = await process.communicate()
    return process.returncode, said.decode()


async def delivered(loopback, client, *bodies):
    """The headers the provider received, once these bodies are delivered; -s shows all of it."""
    await until(lambda: len(loopback.rows("d")) == len(bodies), 30, loopback.told)
    assert {row["rcvSmtpUser"] for row in loopback.rows("d")} == {USER}
    return received(loopback, client, *bodies)


def received(loopback, client, *bodies):
    """The same of one to whom anybody may submit."""
    journal = loopback.provider.journal
    for one in journal[:2]:
        lines = (one.headers + one.body).decode("utf-8", "replace").splitlines()
        print(f"\n{client}, {one.mail_from} to {one.rcpt}:", *lines[:24], sep="\n    ")
    for one, body in zip(journal, bodies, strict=True):
        assert re.fullmatch(
            body if isinstance(body, re.Pattern) else re.escape(body), one.body.decode()
        )
    return [one.headers.decode() for one in journal]


def trust(loopback):
    context = ssl.create_default_context(cafile=loopback.certificate)
    context.check_hostname = False
    return context


async def test_smtp_source_of_postfix_injects(trusting):
    require("smtp-source")
    async with trusting.running():
        target = f"inet:{trusting.address[0]}:{trusting.address[1]}"
        code, said = await run(
            *("smtp-source", "-s", "5", "-m", "200", "-l", "5000", "-f", "news@sender.example"),
            *("-N", "-t", "anna@example.com", target),
        )
        assert code == 0, said
        await until(lambda: len(trusting.provider.journal) == 200, 30)
    assert len(trusting.rows("d")) == 200
    assert all(int(row["dlvSize"]) > 5000 for row in trusting.rows("d"))


async def test_swaks_with_its_own_pipelining_and_two_recipients(trusting):
    require("swaks")
    async with trusting.running():
        host, port = trusting.address
        code, said = await run(
            *("swaks", "--server", host, "--port", str(port), "--pipeline"),
            *("--from", "news@sender.example", "--to", "anna@example.com,otto@other.example"),
            *("--header", "X-Test: yes", "--body", "..a line that begins with a dot\n.\nlast"),
        )
        assert code == 0, said
        await until(lambda: len(trusting.provider.journal) == 2, 30)
    assert {r["rcpt"] for r in trusting.rows("d")} == {"anna@example.com", "otto@other.example"}
    body = "...a line that begins with a dot\r\n..\r\nlast\r\n\r\n\r\n"
    assert all("X-Test: yes" in head for head in received(trusting, "swaks", body, body))


async def test_swaks_authenticates(loopback):
    require("swaks")
    host, port = loopback.address
    ways = [("PLAIN", "--tls"), ("LOGIN", "--tls"), ("CRAM-MD5",)]
    async with loopback.running():
        for mechanism, *more in ways:
            code, said = await run(
                *("swaks", "--server", host, "--port", str(port), "--auth", mechanism, *more),
                *("--auth-user", USER, "--auth-password", PASSWORD),
                *("--from", "news@sender.example", "--to", "kim@example.com"),
            )
            assert code == 0, said
            assert re.search(r"<[~-] +235 2\.7\.0", said)
        code, said = await run(
            *("swaks", "--server", host, "--port", str(port), "--auth", "PLAIN"),
            *("--auth-user", USER, "--auth-password", PASSWORD, "--to", "kim@example.com"),
        )
        assert code != 0, said
        said = "This is a test mailing\r\n\r\n\r\n"
        heads = await delivered(loopback, "swaks", *[said] * 3)
    assert [re.search(r" with (\w+) id", head)[1] for head in heads] == [
        "ESMTPSA", "ESMTPSA", "ESMTPA",
    ]  # fmt: skip


async def test_smtplib_authenticates(loopback):
    def send():
        with smtplib.SMTP(*loopback.address, timeout=20) as smtp:
            smtp.starttls(context=trust(loopback))
            assert smtp.login(USER, PASSWORD)[0] == 235
            assert smtp.sendmail("news@sender.example", ["kim@example.com"], CONTENT) == {}

    async with loopback.running():
        await asyncio.to_thread(send)
        (head,) = await delivered(loopback, "smtplib", STUFFED)
    assert "with ESMTPSA id" in head


async def test_aiosmtplib_authenticates(loopback):
    async with loopback.running():
        smtp = aiosmtplib.SMTP(
            hostname=loopback.address[0], port=loopback.address[1], start_tls=True,
            tls_context=trust(loopback), username=USER, password=PASSWORD,
        )  # fmt: skip
        async with smtp:
            await smtp.sendmail("news@sender.example", ["kim@example.com"], CONTENT)
        await delivered(loopback, "aiosmtplib", STUFFED)


NODEMAILER = """
const [host, port, user, pass] = JSON.parse(process.env.TARGET);
const transport = require("nodemailer").createTransport({
  host, port, requireTLS: true, tls: { rejectUnauthorized: false }, auth: { user, pass },
  logger: true, debug: true,
});
const message = { from: "news@sender.example", to: ["kim@example.com", "lee@example.com"],
                  subject: "Grüße", text: ".\\n..dots\\n", html: "<p>ä</p>" };
transport.sendMail(message).then((info) => console.log(info.response),
                                 (error) => { console.error(error); process.exit(1); });
"""


async def test_nodemailer_authenticates(loopback):
    require("node", "/usr/share/nodejs/nodemailer")
    target = json.dumps([*loopback.address, USER, PASSWORD])
    async with loopback.running():
        code, said = await run(
            "node", "-e", NODEMAILER, NODE_PATH="/usr/share/nodejs", TARGET=target
        )
        assert code == 0, said
        assert "235 2.7.0" in said
        assert "250 2.6.0 message received" in said
        body = re.compile(r".*\r\n\r\n\.\.\r\n\.\.\.dots\r\n.*\r\n<p>=C3=A4</p>\r\n.*", re.DOTALL)
        heads = await delivered(loopback, "nodemailer", body, body)
    assert "Subject: =?UTF-8?" in heads[0]


PHPMAILER = r"""
require "/usr/share/php/libphp-phpmailer/autoload.php";
[$host, $port, $user, $password] = json_decode(getenv("TARGET"));
$mail = new PHPMailer\PHPMailer\PHPMailer(true);
$mail->isSMTP();
$mail->SMTPDebug = 2;
$mail->Host = $host;
$mail->Port = $port;
$mail->SMTPAuth = true;
$mail->Username = $user;
$mail->Password = $password;
$mail->SMTPSecure = "tls";
$mail->SMTPOptions = ["ssl" => ["verify_peer" => false, "verify_peer_name" => false]];
$mail->setFrom("news@sender.example");
$mail->addAddress("kim@example.com");
$mail->Subject = "hello";
$mail->Body = ".dot\r\nlast";
$mail->send();
"""


async def test_phpmailer_authenticates(loopback):
    require("php", "/usr/share/php/libphp-phpmailer/autoload.php")
    target = json.dumps([*loopback.address, USER, PASSWORD])
    async with loopback.running():
        code, said = await run("php", "-r", PHPMAILER, TARGET=target)
        assert code == 0, said
        assert "235 2.7.0" in said
        await delivered(loopback, "PHPMailer", "..dot\r\nlast\r\n\r\n")


@pytest.fixture
def work():
    """A directory that other users can reach, as pytest's own cannot be."""
    with tempfile.TemporaryDirectory(prefix="petrel-postfix-") as directory:
        yield Path(directory)


async def test_postfix_relays_through_us(trusting, work):
    require("root", "postfix")
    port = free_port()

    def submit():
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as smtp:
            for number in range(5):
                to = [f"kim{number}@example.com", f"lee{number}@other.example"]
                smtp.sendmail("news@sender.example", to, CONTENT, rcpt_options=["NOTIFY=NEVER"])

    async with trusting.running():
        with Postfix().running(Place(work, port, trusting.address[1])):
            await asyncio.to_thread(submit)
            await until(lambda: len(trusting.rows("d")) == 10, 30, trusting.told)
    head, *_ = received(trusting, "Postfix", *[STUFFED] * 10)
    assert "by bench.example (Postfix)" in head
    assert "from bench.example ([127.0.0.1])" in head
