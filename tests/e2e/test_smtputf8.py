"""What of internationalized mail (RFC 6531) a peer without SMTPUTF8 gets, and what bounces."""

from contextlib import AsyncExitStack

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer
from tests.e2e.submission import SENDER, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
ASCII = b"From: <news@sender.example>\r\nSubject: plain\r\n\r\n"
UTF8 = "From: <news@sender.example>\r\nSubject: δοκιμή\r\n\r\n".encode()
BODY = "δοκιμή\r\n".encode()
AWARE, PLAIN = "aware.example", "plain.example"
"""The domain of a peer with SMTPUTF8, and of one without."""
RULES = f"""\
alias info@sender.example δοκ@{AWARE}
<smtp-pattern-list none>
reply /553|5\\.6\\.[79]/ bounce-queue
</smtp-pattern-list>
"""


class Site:
    """A daemon, and a peer of either kind."""

    def __init__(self, loopback, aware, plain):
        self.loopback = loopback
        self.aware = aware
        self.plain = plain

    async def send(self, *rcpts, sender=SENDER, content=ASCII + BODY, options=("SMTPUTF8",)):
        """One message."""
        async with client(self.loopback.address) as smtp:
            await smtp.mail(sender, options=options, encoding="utf-8")
            for rcpt in rcpts:
                await smtp.rcpt(rcpt, encoding="utf-8")
            await smtp.data(content)

    async def rows(self, count):
        """The accounting of that many recipients: what became of each, and why."""
        await until(lambda: len(self.loopback.rows("d,b")) >= count, DELIVERY_S, self.loopback.told)
        return {
            row["rcpt"]: (row["type"], row["dsnStatus"][:5], row["dsnDiag"])
            for row in self.loopback.rows("d,b")
        }


@pytest.fixture
async def site(tmp_path):
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        aware = await enter(ScriptedPeer(offers=("PIPELINING", "8BITMIME", "SMTPUTF8")))
        plain = await enter(ScriptedPeer(offers=("PIPELINING", "8BITMIME")))
        loopback = Loopback(tmp_path, 1)
        loopback.configure(
            top=RULES
            + f"<domain {AWARE}>\nsmtp-hosts [127.0.0.1]:{aware.port}\n</domain>\n"
            + f"<domain {PLAIN}>\nsmtp-hosts [127.0.0.1]:{plain.port}\n</domain>\n",
            domain="smtp-pattern-list none\nmax-smtp-out 1",
        )
        await enter(loopback.running())
        yield Site(loopback, aware, plain)


def mails(peer):
    return [line for line in peer.heard if line.startswith("MAIL")]


def rcpts(peer):
    return [line for line in peer.heard if line.startswith("RCPT")]


def lacking(status, row):
    kind, said, diagnostic = row
    is_ours = diagnostic.startswith("x-pmta;SMTPUTF8: ")
    return (kind, said) == ("b", status) and is_ours and diagnostic.endswith("is not offered")


async def test_an_alias_beyond_ascii_goes_with_smtputf8_where_it_is_offered(site):
    await site.send("info@sender.example", options=())
    assert (await site.rows(1))[f"δοκ@{AWARE}"][0] == "d"
    assert mails(site.aware)[0].endswith(" SMTPUTF8")


async def test_those_who_need_it_bounce_and_the_others_get_the_message(site):
    await site.send(f"δοκ@{PLAIN}", f"one@{PLAIN}", f"two@{PLAIN}")
    rows = await site.rows(3)
    assert lacking("5.6.7", rows[f"δοκ@{PLAIN}"])
    assert (rows[f"one@{PLAIN}"][0], rows[f"two@{PLAIN}"][0]) == ("d", "d")
    assert rcpts(site.plain) == [f"RCPT TO:<one@{PLAIN}>", f"RCPT TO:<two@{PLAIN}>"]
    assert not mails(site.plain)[0].endswith(" SMTPUTF8")


async def test_a_sender_beyond_ascii_bounces_all_and_no_reply_rule_matches_it(site):
    await site.send(f"one@{PLAIN}", f"two@{PLAIN}", sender="δοκ@sender.example")
    rows = await site.rows(2)
    assert lacking("5.6.7", rows[f"one@{PLAIN}"])
    assert lacking("5.6.7", rows[f"two@{PLAIN}"])
    await site.send(f"three@{PLAIN}")
    assert (await site.rows(3))[f"three@{PLAIN}"][0] == "d"
    assert "bounce-queue" not in site.loopback.told()


async def test_header_fields_beyond_ascii_bounce_if_smtputf8_was_said_and_else_go_as_ever(site):
    await site.send(f"said@{PLAIN}", content=UTF8 + BODY)
    await site.send(f"unsaid@{PLAIN}", content=UTF8 + BODY, options=("BODY=8BITMIME",))
    await site.send(f"said@{AWARE}", content=UTF8 + BODY)
    rows = await site.rows(3)
    assert lacking("5.6.9", rows[f"said@{PLAIN}"])
    assert rows[f"unsaid@{PLAIN}"][0] == rows[f"said@{AWARE}"][0] == "d"
    assert UTF8[-12:] in b"".join(site.plain.segments)


async def test_a_sender_beyond_ascii_is_told_in_utf8(site):
    await site.send(f"δοκ+x@{PLAIN}", sender=f"δοκ@{AWARE}", content=UTF8 + BODY)
    await site.rows(2)
    (mail,), (rcpt,) = mails(site.aware), rcpts(site.aware)
    assert mail.startswith("MAIL FROM:<> ")
    assert "SMTPUTF8" in mail.split()
    assert "BODY=8BITMIME" in mail.split()
    assert rcpt.startswith(f"RCPT TO:<δοκ@{AWARE}>")
    report = b"".join(site.aware.segments).decode()
    assert f"\r\nTo: δοκ@{AWARE}\r\n" in report
    assert f"\r\nFinal-Recipient: utf-8;\\x{{3B4}}\\x{{3BF}}\\x{{3BA}}\\x{{2B}}x@{PLAIN}" in report
    assert "\r\nContent-Type: message/global-headers\r\n" in report


async def test_a_sender_in_ascii_is_told_without_smtputf8(site):
    """Of a message that only went with it; the host of the sender may not know it."""
    await site.send(f"δοκ@{PLAIN}", sender=f"joe@{PLAIN}", content=UTF8 + BODY)
    rows = await site.rows(2)
    assert rows[f"joe@{PLAIN}"][0] == "d"
    (mail,) = mails(site.plain)
    assert mail == "MAIL FROM:<> BODY=8BITMIME"
    assert UTF8.strip() in b"".join(site.plain.segments)


async def test_a_sender_that_cannot_be_told_is_the_end_of_it(site):
    """RFC 5321 §4.5.5: of a notification that bounces nobody is told."""
    await site.send(f"δοκ@{PLAIN}", sender=f"joerg-δ@{PLAIN}")
    rows = await site.rows(2)
    assert lacking("5.6.9", rows[f"joerg-δ@{PLAIN}"])
    await site.send(f"last@{PLAIN}")
    assert len(await site.rows(3)) == 3
    assert sorted(row["orig"] for row in site.loopback.rows("b")) == ["", f"joerg-δ@{PLAIN}"]
    assert len(mails(site.plain)) == 1
