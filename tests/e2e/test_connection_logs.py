"""The dialogue with clients and peers in the log, where log-connections and its like ask for it."""

import re

import pytest

from mta.sim.certificate import self_signed
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

EVERYTHING = "log-connections yes\nlog-commands yes\nlog-tls yes\n"
USER = "<smtp-user anna>\npassword pencil(1)\nsource trusted\n</smtp-user>\n"
WAIT_S = 20
SECRETS = ("pencil(1)", "cGVuY2ls", "YW5uY")
"""The password, in base64 too, and the beginning of the name with it."""


async def delivered(loopback, tmp_path, source, domain, *, login=False, trusted=""):
    """The log of one message, once its connection is closed."""
    certificate = self_signed("mta.sender.example").tls_certificate
    loopback.configure(
        top=f"{USER}<source trusted>\nalways-allow-relaying yes\n{trusted}</source>\n"
        f"<source 127/8>\nalways-allow-relaying yes\nallow-unencrypted-plain-auth yes\n{source}"
        "</source>",
        listener=f"tls-certificate {certificate}",
        domain=domain,
    )
    letter = Letter("kim@example.com")
    async with loopback.running():
        async with client(loopback.address) as smtp:
            if login:
                await smtp.auth_plain("anna", "pencil(1)")
            await smtp.sendmail(letter.mail_from, [letter.rcpt], letter.content)
        await until(lambda: loopback.rows("c"), WAIT_S, loopback.told)
    return loopback.log.read_text()


@pytest.fixture
async def loopback(tmp_path):
    profile = Profile(starttls="offer")
    async with Provider({"*": profile}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.provider = provider
        yield loopback


def said(log):
    """Its lines after the time and the number of the connection."""
    return re.findall(r"^\S+ \S+ \( *\d+\)(.*)$", log, re.M)


async def test_nothing_is_logged_of_a_dialogue_by_default(loopback, tmp_path):
    log = await delivered(loopback, tmp_path, "", "use-starttls yes")
    assert said(log) == []


async def test_a_client_is_followed_command_by_command(loopback, tmp_path):
    lines = said(await delivered(loopback, tmp_path, EVERYTHING, "", login=True))
    assert re.fullmatch(r"connected from \[127.0.0.1\]:\d+ to \[127.0.0.1\]", lines[0])
    assert lines[1].startswith("<<< 220 mta.sender.example")
    assert ">>> AUTH PLAIN (authentication, not shown)" in lines
    assert [line for line in lines if line.upper().startswith(">>> MAIL FROM:<")]
    assert ">>> QUIT" in lines
    assert not any("Subject" in line for line in lines)  # content is not commands
    assert re.fullmatch(r"closed \[127.0.0.1\]:\d+ in=\d+ out=\d+", lines[-1])


async def test_data_is_dumped_and_a_password_is_not(loopback, tmp_path):
    log = await delivered(loopback, tmp_path, f"{EVERYTHING}log-data yes\n", "", login=True)
    assert ">>> rd " in log
    assert re.search(r"\)323230206D74612E73656E6465722E65 220 mta.sender.e$", log, re.M)
    assert not [secret for secret in SECRETS if secret in log]


async def test_the_source_of_a_user_may_ask_for_it(loopback, tmp_path):
    log = await delivered(loopback, tmp_path, "", "", login=True, trusted="log-commands yes\n")
    lines = said(log)
    assert any(line.startswith(">>> RCPT TO:<kim@example.com>") for line in lines)
    assert not any("AUTH" in line for line in lines)


async def test_a_peer_is_followed_from_its_greeting_on(loopback, tmp_path):
    domain = f"{EVERYTHING}log-resolution yes\nuse-starttls yes"
    lines = said(await delivered(loopback, tmp_path, "", domain))
    told = "\n".join(lines)
    for pattern in (
        r"^starting example.com/\{default\}$",
        r"^dns: a host of example.com is .*\[127.0.0.1\]$",
        r"^connecting from mta.sender.example \(",
        r"^connected from \[127.0.0.1\]:\d+$",
        r"^>>> 220 ",
        r"^<<< EHLO mta.sender.example$",
        r"^>>> 250-",
        r"^<<< STARTTLS$",
        r"^tls:TLSv1.[23] connected with \d+-bit \S+$",
        r"^tls:Cert: /CN=.*; issuer=/CN=.*; verified=no$",
        r"^<<< MAIL FROM:<\S+@sender.example>",
        r"^<<< \d+ octets of content$",
        r"^<<< QUIT$",
        r"^closed .*127.0.0.1.* in=\d+ out=\d+$",
    ):
        assert re.search(pattern, told, re.M), (pattern, told)


@pytest.mark.parametrize("tls", ["yes", "no"])
async def test_every_octet_for_a_peer_and_from_it_is_dumped(loopback, tmp_path, tls):
    log = await delivered(loopback, tmp_path, "", f"log-data yes\nuse-starttls {tls}")
    out, back = octets_of(said(log))
    ehlo = b"EHLO mta.sender.example\r\n"
    begin = ehlo + b"STARTTLS\r\n" + ehlo if tls == "yes" else ehlo
    assert out.startswith(begin + b"MAIL FROM:<")
    assert b"\r\nSubject: a test\r\n" in out
    assert out.endswith(b"\r\nHello.\r\n.\r\nQUIT\r\n")
    replies = [line[:4] for line in back.splitlines()]
    assert replies[0] == b"220 "
    assert replies.count(b"354 ") == 1
    assert replies.count(b"221 ") == 1
    assert replies.count(b"220 ") == (2 if tls == "yes" else 1)
    assert not [line for line in said(log) if "connecting from" in line]


def octets_of(lines):
    """What went and what came by the dump, each title telling how much."""
    found = {"<<< wr": b"", ">>> rd": b""}
    way, left = "", 0
    for line in lines:
        if title := re.fullmatch(r"(<<< wr|>>> rd) (\d+)", line):
            assert left == 0
            way, left = title[1], int(title[2])
        elif way:
            part = bytes.fromhex(line[:32].strip())
            found[way] += part
            left -= len(part)
    assert left == 0
    return found["<<< wr"], found[">>> rd"]


async def test_the_dump_of_a_large_message_is_whole(loopback, tmp_path):
    loopback.configure(domain="log-data yes")
    body = ".dots\r\n" + "0123456789" * 7 + "\r\n"
    async with loopback.running():
        await loopback.submit(Letter("kim@example.com", body=body * 4000))
        await until(lambda: loopback.rows("c"), WAIT_S, loopback.told)
    out, _ = octets_of(said(loopback.log.read_text()))
    assert ("." + body).encode() * 4000 + b".\r\nQUIT\r\n" in out
    (received,) = loopback.provider.journal
    assert received.rcpt == "kim@example.com"


@pytest.mark.parametrize(
    ("directive", "seen", "unseen"),
    [
        ("log-connections", "connecting from", ">>> "),
        ("log-tls", "tls:TLSv1", "connecting from"),
        ("log-resolution", "dns: ", "connecting from"),
    ],
)
async def test_each_says_its_own(loopback, tmp_path, directive, seen, unseen):
    lines = said(await delivered(loopback, tmp_path, "", f"{directive} yes\nuse-starttls yes"))
    assert [line for line in lines if line.startswith(seen)]
    assert not [line for line in lines if line.startswith(unseen)]


async def test_a_transfer_that_breaks_is_logged(tmp_path):
    profile = Profile(drop_at="content", drop=1.0)
    async with Provider({"*": profile}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="log-transfer-failures yes")
        async with loopback.running():
            await loopback.submit(Letter("kim@example.com"))
            await until(lambda: "broken off" in loopback.told(), WAIT_S, loopback.told)
    assert [x for x in said(loopback.log.read_text()) if x.startswith("broken off (")]
