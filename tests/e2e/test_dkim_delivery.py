"""What is signed verifies where it is received, whatever happened to its header block."""

import re

import dkim
import pytest

from mta.signing import keys
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.mailbox import Mailbox
from tests.e2e.nameserver import Nameserver
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 30


class Signing(Loopback):
    """A daemon with keys; their records are what dkimpy sees as DNS."""

    def __init__(self, directory, mailbox):
        super().__init__(directory, mailbox.port)
        self.mailbox = mailbox
        self.records = {}

    def new_key(self, selector, domain, kind="rsa-2048", mode=0o600):
        """The path of a new key whose record is published."""
        key = keys.new_key(kind)
        path = self.directory / f"{selector}.{domain}.pem"
        path.write_bytes(key.pem())
        path.chmod(mode)
        self.publish(selector, domain, key)
        return path

    def publish(self, selector, domain, key):
        self.records[f"{selector}._domainkey.{domain}.".encode()] = key.record.encode()

    async def deliver(self, *letters):
        """Submit, and what arrived for it."""
        before = len(self.mailbox.messages)
        await self.submit(*letters)
        await until(lambda: len(self.mailbox.messages) == before + len(letters), WAIT_S, self.told)
        return self.mailbox.messages[before:]

    def verified(self, message):
        """The tags of each signature that verifies; AssertionError if one does not."""
        found = []
        for index in range(count(message)):
            verifier = dkim.DKIM(message, minkey=1024)
            assert verifier.verify(idx=index, dnsfunc=self._lookup), message
            found.append({k.decode(): v.decode() for k, v in verifier.signature_fields.items()})
        return found

    def _lookup(self, name, timeout=5):
        return self.records.get(name if name.endswith(b".") else name + b".")


def count(message):
    return len(re.findall(rb"^DKIM-Signature:", message.partition(b"\r\n\r\n")[0], re.MULTILINE))


@pytest.fixture
async def signing(tmp_path):
    async with Mailbox() as mailbox:
        yield Signing(tmp_path, mailbox)


SOURCE = """<source 127.0.0.1>
always-allow-relaying yes
{}
</source>
"""


async def test_rsa_and_ed25519_together_verify_after_every_edit_of_the_header_block(signing):
    rsa, ed = (
        signing.new_key("r", "sender.example"),
        signing.new_key("e", "sender.example", "ed25519"),
    )
    signing.configure(
        top=f"""domain-key e, sender.example, {ed}
domain-key r, sender.example, {rsa}
add-header "X-Company: Sender"
add-header "Reply-To: answers@sender.example"
"""
        + SOURCE.format("remove-header X-Internal,Received"),
        domain="dkim-sign yes\nsecond-dkim-sign yes\nsecond-dkim-algorithm ed25519-sha256",
    )
    head = (
        "Reply-To: nobody@sender.example\r\nX-Internal: 7\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain;\r\n\tcharset=utf-8\r\n"
        "To: second@example.com\r\n"
    )
    bodies = [
        "Hello.\r\n",
        ".\r\n..two dots\r\n.\r\n",
        "trailing \t \r\n\r\n\r\n \r\n\r\n",
        "Grüße, ünd 日本\r\n",
        "x" * 20000 + "\r\n",
        "\r\n",
        "line of a large file  \t.\r\n" * 20000,
    ]
    async with signing.running():
        letters = [Letter("anna@example.com", head, body) for body in bodies]
        messages = await signing.deliver(*letters)
    for message in messages:
        found = signing.verified(message)
        assert [tags["a"] for tags in found] == ["rsa-sha256", "ed25519-sha256"]
        assert [tags["s"] for tags in found] == ["r", "e"]
        assert {tags["i"] for tags in found} == {"news@sender.example"}
        assert b"X-Internal" not in message
        assert b"\r\nX-Company: Sender\r\n" in message
        names = found[0]["h"].split(":")
        assert names.count("to") == 2
        assert names.count("reply-to") == 1
        assert "received" not in names


async def test_a_foreign_signature_over_other_fields_outlives_every_edit(signing):
    path = signing.new_key("r", "sender.example")
    foreign = signing.new_key("f", "author.example")
    fields = signing.directory / "fields.txt"
    fields.write_text("X-File: 1,\n 2\n")
    signing.configure(
        top=f"""domain-key r, sender.example, {path}
include-headers-from {fields}
add-header "X-Company: Sender"
<virtual-mta a>
add-header "Precedence: bulk"
rewrite-list w
</virtual-mta>
<rewrite-list w>
mail-from *@* bounce@*
</rewrite-list>
"""
        + SOURCE.format(
            "default-virtual-mta a\nremove-header X-Internal\nremove-received-headers yes\n"
            "add-message-id-header yes\nadd-date-header yes\nadd-x-virtual-mta-header yes"
        ),
        domain="dkim-sign yes\nremove-header X-More",
    )
    head = (
        "Received: from a\r\n\tby b\r\nX-Internal: 7\r\nSUBJECT:  odd \t spacing\r\n"
        "Precedence: first\r\nX-More: 1\r\n\t2\r\nX-Kept:no blank\r\n \tfolded \r\n"
    )
    content = Letter("anna@example.com", head, "Grüße.\r\n\r\n").content
    signed = dkim.sign(
        content, b"f", b"author.example", foreign.read_bytes(), canonicalize=(b"simple", b"simple"),
        include_headers=[b"from", b"to", b"subject", b"x-kept"],
    )  # fmt: skip
    async with signing.running(), client(signing.address) as smtp:
        await smtp.sendmail("news@sender.example", ["anna@example.com"], signed + content)
        await until(lambda: signing.mailbox.messages, WAIT_S, signing.told)
    (message,) = signing.mailbox.messages
    assert [tags["d"] for tags in signing.verified(message)] == ["sender.example", "author.example"]
    assert b"\r\nX-Kept:no blank\r\n \tfolded \r\n\r\nGr" in message
    for gone in (b"X-Internal", b"X-More", b"Precedence: first", b"from a\r\n"):
        assert gone not in message


def field(key):
    return "X-DKIM-Key: " + key.pem().decode().strip().replace("\n", "\r\n ") + "\r\n"


async def test_what_a_message_asks_is_heard_from_sources_that_may_and_never_shown(signing):
    path = signing.new_key("r", "sender.example")
    key = keys.new_key("rsa-1024")
    signing.publish("own", "sender.example", key)
    asks = "X-DKIM-Options: s=own; d=sender.example\r\n" + field(key)
    letter = Letter("anna@example.com", asks)

    def configure(source):
        signing.configure(
            top=f"domain-key r, sender.example, {path}\n" + SOURCE.format(source),
            domain="dkim-sign yes",
        )

    async def sent(source):
        configure(source)
        assert (await signing.daemon.command("reload")).code == 0
        (message,) = await signing.deliver(letter)
        names = re.findall(rb"^(X-DKIM-\w+):", message, re.MULTILINE | re.IGNORECASE)
        return message, [tags["s"] for tags in signing.verified(message)], names

    process = "process-x-dkim-options yes\nprocess-x-dkim-key yes\n"
    configure("")
    async with signing.running():
        message, selectors, names = await sent("")
        assert (selectors, names) == (["r"], [b"X-DKIM-Options"])
        assert b"PRIVATE KEY" not in message
        assert (await sent("process-x-dkim-options yes"))[1:] == ([], [])
        assert (await sent(process))[1:] == (["own"], [])
        retain = process + "retain-x-dkim-options yes\nretain-x-dkim-key yes\n"
        assert (await sent(retain))[1:] == (["own"], [b"X-DKIM-Options", b"X-DKIM-Key"])
        assert (await sent("process-x-dkim-key yes"))[1:] == (["r"], [b"X-DKIM-Options"])
    assert "X-DKIM-Key is refused: it needs s= in X-DKIM-Options" in signing.told()
    assert "PRIVATE KEY" not in signing.told()


async def test_keys_are_watched_and_explained(signing):
    path = signing.new_key("r", "sender.example", mode=0o644)
    signing.configure(
        top=f"domain-key gone, sender.example, {signing.directory}/gone.pem\n"
        f"domain-key r, sender.example, {path}",
        domain="dkim-sign yes",
    )
    letter = Letter("anna@example.com")
    async with signing.running():
        for remark in ("gone.pem: there is no such file", f"{path}: others than its owner may"):
            await until(lambda text=remark: text in signing.told(), WAIT_S, signing.told)
        (message,) = await signing.deliver(letter)
        assert [tags["s"] for tags in signing.verified(message)] == ["r"]
        said = (await signing.daemon.command("explain", "example.com/{default}")).text
        assert "dkim-sign yes (" in said
        assert f"r._domainkey.sender.example {path}, RSA 2048 (" in said
        assert "gone.pem, passed over: there is no such file (" in said
        assert "under these rules 1 signed, 0 not" in said

        path.unlink()
        signing.new_key("r", "sender.example")
        assert (await signing.daemon.command("reload")).code == 0
        (message,) = await signing.deliver(letter)
        signing.verified(message)
        (signing.directory / "received.eml").write_bytes(message)
        zone = (await signing.daemon.command("dkim", "dns", str(signing.daemon.config))).text
        with Nameserver(f"$TTL 60\n{zone}", port=0) as nameserver:
            server = f"--name-server=127.0.0.1:{nameserver.port}"
            for subject in (["received.eml"], [path.name, "r", "sender.example"]):
                subject[0] = str(signing.directory / subject[0])
                checked = await signing.daemon.command("dkim", "check", *subject, server)
                assert checked.code == 0, checked.text

        path.write_text("no key any more")
        assert (await signing.daemon.command("reload")).code == 0
        (message,) = await signing.deliver(letter)
        assert count(message) == 0
        said = (await signing.daemon.command("explain", "example.com/{default}")).text
        assert "0 signed, 1 not; the last: no key for news@sender.example" in said
