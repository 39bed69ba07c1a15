"""What is signed verifies where it is received, whatever happened to its header block."""

import re

import dkim
import pytest

from mta.signing import keys
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.mailbox import Mailbox
from tests.e2e.submission import Letter

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
