"""No password and no key is in anything the program says, whatever it is asked."""

import asyncio
import base64
import re
import socket
import subprocess

import pytest

from mta.sim.certificate import self_signed
from tests.e2e.daemon import PROGRAM, until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SECRET = "hush"
"""Is in every secret of these tests, and in nothing else."""


def secrets(certificate, number):
    return f"""
http-api-key {SECRET}-http{number}
volume-audit-api-key {SECRET}-audit{number}
smtp-server-tls-certificate {certificate} {SECRET}-server{number}
<smtp-user anna>
password {SECRET}-anna{number}
</smtp-user>
<smtp-user carl>
authentication-method certificate
tls-certificate {certificate} {SECRET}-carl{number}
</smtp-user>
<source 127.0.0.1>
always-allow-relaying yes
allow-unencrypted-plain-auth yes
process-x-dkim-key yes
</source>
<domain login.example>
auth-username us
auth-password {SECRET}-peer{number}
smtp-client-certificate {certificate} {SECRET}-client{number}
use-unencrypted-plain-auth yes
</domain>
<vault>
access-token {SECRET}-vault{number}
</vault>
"""


def slips(certificate):
    """Lines that `check` has something to say of."""
    return f"""
<smtp-user eve>
pasword {SECRET}1
password {SECRET}2#{SECRET}3
</smtp-user>
<smtp-user otto>
password {{scrypt}}{SECRET}4
</smtp-user>
<domain x.example>
auth-passwrd {SECRET}5
smtp-client-certificat {certificate} {SECRET}6
api-token {SECRET}7
</domain>
<transmissions-api>
api-key {SECRET}8
</transmissions-api>
<smtp-listener 127.0.0.1:2>
tls-certificates {certificate} {SECRET}9
</smtp-listener>
"""


@pytest.fixture
def certificate():
    return self_signed("mta.sender.example").tls_certificate


async def test_check_shows_lines_without_what_is_secret_in_them(tmp_path, certificate):
    loopback = Loopback(tmp_path, 1)
    loopback.configure(top=slips(certificate))
    said = await loopback.daemon.check()
    assert said.code == 1
    for line in ("pasword", "auth-passwrd", "api-token", "api-key"):
        assert f"    {line} (hidden)\n" in said.text
    assert f"    smtp-client-certificat {certificate} (hidden)\n" in said.text
    assert SECRET not in said.text
    assert SECRET not in (await loopback.daemon.run_to_end()).text


async def test_a_daemon_that_is_asked_everything_tells_no_secret(tmp_path, certificate):
    async with ScriptedPeer(offers=("AUTH PLAIN LOGIN",)) as peer:
        loopback = Loopback(tmp_path, peer.host.port)
        loopback.configure(top=secrets(certificate, 1))
        old = tmp_path / "old.conf"
        old.write_text((tmp_path / "petrel.conf").read_text())
        loopback.configure(top=secrets(certificate, 2))
        async with loopback.running() as daemon:
            trace = subprocess.Popen(
                [*PROGRAM, "trace", "login.example/*", "--config", str(daemon.config)],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            try:
                said = await everything(loopback, old)
                so_far = logins(peer)
                await until(lambda: logins(peer) > so_far + 1, 30, loopback.told)
            finally:
                trace.terminate()
                traced, _ = trace.communicate(timeout=30)
    assert "login.example" in said
    assert "connecting" in traced
    for text in (said, traced, loopback.told(), "".join(map(str, loopback.rows()))):
        assert SECRET not in text


def logins(peer):
    return sum(line.startswith("AUTH") for line in peer.heard)


async def everything(loopback, old):
    """Log in well and badly, send, and put every question there is."""
    async with client(loopback.address) as smtp:
        for password in (f"{SECRET}-wrong", f"{SECRET}-anna2"):
            plain = base64.b64encode(f"\0anna\0{password}".encode()).decode()
            reply = await smtp.execute_command(b"AUTH", b"PLAIN", plain.encode())
        assert reply.code == 235
    head = f"X-DKIM-Options: s=x\r\nX-DKIM-Key: -----BEGIN PRIVATE KEY----- {SECRET}\r\n"
    await loopback.submit(Letter("kim@login.example", head=head))
    daemon = loopback.daemon
    answers = []
    config = str(daemon.config)
    for words in (
        ["explain", "login.example/{default}"],
        ["explain", "login.example/{default}", "auth-password"],
        ["explain", "login.example/{default}", "--file", config],
        ["show", "settings", "login.example/{default}"],
        ["show", "settings", "login.example/{default}", "--file", config],
        ["show", "queues"],
        ["show", "status"],
        ["list"],
        ["reload"],
        ["plan", config, "--against", str(old)],
        ["plan", str(old), "--against", config],
        ["directives", "auth-password"],
    ):
        answers.append(await daemon.command(*words))
        answers.append(await daemon.command(*words, "--json"))
    answers.append(await daemon.check())
    return "".join(answer.text for answer in answers)


PLAIN = base64.b64encode(f"\0anna\0{SECRET}-anna1".encode())
LOGIN = [base64.b64encode(text.encode()) + b"\r\n" for text in ("anna", f"{SECRET}-anna1")]
EXCHANGES = (
    [b"AUTH PLAIN " + PLAIN + b"\r\n"],
    [b"auth plain\r\n", PLAIN + b"\r\n"],
    [b"AUTH LOGIN\r\n", *LOGIN],
)


def shown(log):
    """Every octet and every character that a log shows."""
    dumps = re.findall(r"\b((?:[0-9A-F]{2}){1,16})\b ", log)
    return log.encode() + bytes.fromhex("".join(dumps))


@pytest.mark.parametrize("size", [1, 7, 13, 1000])
async def test_no_log_shows_what_is_said_to_authenticate(tmp_path, certificate, size):
    """However it is cut into segments, and whether the client waits for an answer or not."""
    loopback = Loopback(tmp_path, 1)
    logs = "log-connections yes\nlog-commands yes\nlog-data yes\nlog-tls yes\n"
    top = secrets(certificate, 1).replace("<source 127.0.0.1>\n", f"<source 127.0.0.1>\n{logs}")
    loopback.configure(top=top)
    async with loopback.running():
        for exchange in EXCHANGES:
            octets = b"".join([b"EHLO c.example\r\n", *exchange, b"NOOP\r\n", b"QUIT\r\n"])
            said = await asyncio.to_thread(told, loopback.address, octets, size)
            assert b"\r\n235 " in said
        told_so_far = loopback.told
        await until(lambda: told_so_far().count("closed [127.0.0.1]") >= 3, 30, told_so_far)
    everything_shown = shown(loopback.told())
    assert b"NOOP" in everything_shown
    for secret in (PLAIN, LOGIN[1].strip()):
        whole = [secret[at : at + 6] for at in range(6, len(secret) - 6)]
        assert not any(part in everything_shown for part in whole)


def told(address, octets, size):
    """All that was answered to octets that came in segments of that size."""
    with socket.create_connection(address, timeout=20) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(octets), size):
            peer.sendall(octets[at : at + size])
        return b"".join(iter(lambda: peer.recv(4096), b""))
