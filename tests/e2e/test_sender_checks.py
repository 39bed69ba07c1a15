"""SPF, reverse DNS and DKIM of who submits: what is found out stands in the message."""

import base64
import re
from types import SimpleNamespace
from zlib import crc32

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mta.daemon.sender_checks import SenderChecks
from mta.model.message import FileContent
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.nameserver import Nameserver
from tests.e2e.submission import client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
PUBLIC = base64.b64encode(
    KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
).decode()
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)
ZONE = f"""
good.example. 60 IN TXT "v=spf1 ip4:127.0.0.0/8 " "-all"
soft.example. 60 IN TXT "v=spf1 ~all"
bad.example. 60 IN TXT "v=spf1 -all"
twice.example. 60 IN TXT "v=spf1 -all"
twice.example. 60 IN TXT "v=spf1 +all"
1.0.0.127.in-addr.arpa. 60 IN PTR client.sender.example.
client.sender.example. 60 IN A 127.0.0.1
voids.example. 60 IN TXT "v=spf1 a:x.example a:y.example a:z.example ?all"
2.0.0.127.in-addr.arpa. 60 IN PTR liar.example.
liar.example. 60 IN A 192.0.2.1
s1._domainkey.good.example. 60 IN TXT "v=DKIM1; k=rsa; p={PUBLIC[:200]}" "{PUBLIC[200:]}"
"""
MESSAGE = b"From: <a@good.example>\r\nSubject: signed\r\n\r\nhello\r\n"


@pytest.fixture
async def loopback(tmp_path):
    with Nameserver(ZONE, port=0) as nameserver:
        nameserver.servfail |= {"silent.example", "4.0.0.127.in-addr.arpa"}
        async with Provider() as provider:
            opened = Loopback(tmp_path, provider.port)
            opened.provider = provider

            def configured(source):
                opened.configure(
                    top=f"name-server 127.0.0.1:{nameserver.port}\n<source 127/8>\n"
                    f"always-allow-relaying yes\n{source}\n</source>"
                )

            opened.configured = configured
            yield opened


async def head_of(loopback, content, mail_from="a@good.example"):
    """The header block with which a message reaches the provider, unfolded."""
    before = len(loopback.provider.journal)
    async with client(loopback.address) as smtp:
        await smtp.sendmail(mail_from, ["kim@example.com"], content)
    await until(lambda: len(loopback.provider.journal) > before, 30, loopback.told)
    return re.sub(r"\r\n[ \t]+", " ", loopback.provider.journal[-1].headers.decode())


@pytest.mark.parametrize("is_large", [False, True])
async def test_results_are_added_and_forged_ones_removed(loopback, is_large):
    loopback.configured("check-spf-inbound yes\ncheck-iprev-inbound yes\ncheck-dkim-inbound yes")
    content = MESSAGE + (b"line\r\n" * 60_000 if is_large else b"")
    signature = dkim.sign(content, b"s1", b"good.example", PRIVATE, include_headers=[b"from"])
    forged = b"Authentication-Results: MTA.sender.example; dkim=pass header.d=bank.example\r\n"
    foreign = b"Authentication-Results: other.example; spf=fail\r\n"
    async with loopback.running():
        head = await head_of(loopback, forged + foreign + signature + content)
    assert "bank.example" not in head
    assert "Authentication-Results: other.example; spf=fail" in head
    ours = re.search(r"^Authentication-Results: mta\.sender\.example; (.*)\r$", head, re.MULTILINE)
    spf, iprev, signed = ours[1].split("; ")
    assert spf == "spf=pass (ip4:127.0.0.0/8 of good.example) smtp.mailfrom=a@good.example"
    assert iprev == "iprev=pass (client.sender.example) policy.iprev=127.0.0.1"
    assert signed.startswith("dkim=pass header.d=good.example header.s=s1 header.b=")
    assert head.index("Received:") < head.index("Authentication-Results: mta")


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_the_checksum_of_large_content_is_still_that_of_what_came(tmp_path, is_damaged):
    """Forged results are removed from the file; damage it has by then is not vouched for."""
    forged = b"Authentication-Results: mta.sender.example; dkim=pass\r\n"
    head, body = forged + b"Subject: x\r\n\r\n", b"line\r\n" * 500_000
    path = tmp_path / "large"
    path.write_bytes(head + (b"lime\r\n" + body[6:] if is_damaged else body))
    came = FileContent(path, len(head + body), crc32(head + body))
    session = SimpleNamespace(findings=(), source=SimpleNamespace(check_dkim_inbound=False))
    checks = SenderChecks(None, 0)
    content, clean, _ = await checks.results(session, came, head, "mta.sender.example")
    assert content.size == len(clean + body)
    assert content.crc == crc32(clean + body)
    assert (content.crc != crc32(content.path.read_bytes())) == is_damaged


async def test_a_signature_that_does_not_fit_is_told(loopback):
    loopback.configured("check-dkim-inbound yes\ntrace-dkim-check yes")
    signed = dkim.sign(MESSAGE, b"s1", b"good.example", PRIVATE) + MESSAGE
    other = dkim.sign(MESSAGE, b"s2", b"good.example", PRIVATE) + MESSAGE
    wanted = {
        "changed": (signed.replace(b"hello", b"hullo"), r"dkim=fail \(body hash\)"),
        "no key": (other, r"dkim=permerror \(there is no key\)"),
        "nonsense": (b"DKIM-Signature: v=1; a=x\r\n" + MESSAGE, "dkim=permerror"),
        "none": (MESSAGE, "dkim=none"),
    }
    async with loopback.running():
        for content, result in wanted.values():
            head = await head_of(loopback, content)
            assert re.search(f"Authentication-Results: mta.sender.example; {result}", head)
        assert "(TXT s1._domainkey.good.example: 1 strings)" in await head_of(loopback, signed)


async def codes(smtp, mail_from):
    code, text = await smtp.execute_command(f"MAIL FROM:<{mail_from}>".encode())
    await smtp.execute_command(b"RSET")
    return code, text.split()[0]


async def test_senders_are_refused_as_the_directives_say(loopback):
    loopback.configured("check-spf-inbound yes")
    async with loopback.running() as daemon:
        async with client(loopback.address) as smtp:
            assert await codes(smtp, "a@good.example") == (250, "2.1.0")
            assert await codes(smtp, "a@soft.example") == (250, "2.1.0")
            assert await codes(smtp, "a@nothing.example") == (250, "2.1.0")
            assert await codes(smtp, "a@bad.example") == (550, "5.7.23")
            assert await codes(smtp, "a@twice.example") == (550, "5.7.24")
            assert await codes(smtp, "a@voids.example") == (550, "5.7.24")
            assert await codes(smtp, "a@silent.example") == (451, "4.7.24")
        loopback.configured(
            "check-spf-inbound yes\nreject-spf-check-fail no\nreject-spf-check-permerror no\n"
            "reject-spf-check-temperror no\ncheck-spf-inbound-max-void-lookups 3\n"
            "check-iprev-inbound yes\ntrace-iprev-check yes\ntrace-spf-check yes"
        )
        assert (await daemon.command("reload")).code == 0
        async with client(loopback.address) as smtp:
            for name in ("bad", "twice", "silent"):
                assert await codes(smtp, f"a@{name}.example") == (250, "2.1.0")
        head = await head_of(loopback, MESSAGE, "a@bad.example")
        assert "spf=neutral" in await head_of(loopback, MESSAGE, "a@voids.example")
    assert "(TXT bad.example: 1 strings)" in head
    assert "(PTR 127.0.0.1: client.sender.example)" in head
    assert "spf=fail (all of bad.example) smtp.mailfrom=a@bad.example" in head


async def test_clients_without_a_name_are_refused_where_that_is_wanted(loopback):
    loopback.configured(
        "check-iprev-inbound yes\nreject-iprev-check-fail yes\nreject-iprev-check-permerror yes\n"
        "reject-iprev-check-temperror yes"
    )
    async with loopback.running():
        for source, expected in [
            ("127.0.0.1", (250, "2.1.0")),
            ("127.0.0.2", (550, "5.7.25")),
            ("127.0.0.3", (550, "5.7.25")),
            ("127.0.0.4", (451, "4.7.25")),
        ]:
            async with client(loopback.address, source=source) as smtp:
                assert await codes(smtp, "a@good.example") == expected
