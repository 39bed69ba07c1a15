"""Mail merge: from XMRG to what providers receive and what the accounting says."""

import asyncio
from pathlib import Path

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import stays, until
from tests.e2e.loopback import Loopback
from tests.e2e.mailbox import Mailbox
from tests.e2e.submission import client
from tests.e2e.test_dkim_delivery import Signing

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

GUIDE = (Path(__file__).parents[1] / "data" / "mailmerge" / "bsmtp.txt").read_bytes()
VMTAS = """
<virtual-mta vmta1>
</virtual-mta>
<virtual-mta vmta2>
</virtual-mta>
"""


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        provider.keeps_bodies = True
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider

        def configured(source="", top=VMTAS, **sections):
            opened.configure(
                top=f"{top}\n<source 127/8>\nalways-allow-relaying yes\n"
                f"always-allow-api-submission yes\n{source}\n</source>",
                acct="records d,b,r\nrecord-fields r *\nrecord-fields d *,envId",
                domain="max-smtp-out 5\nmax-msg-per-connection 100",
                **sections,
            )

        opened.configured = configured
        configured()
        yield opened


class Talk:
    """A connection on which a test says octets."""

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def opened(cls, address):
        talk = cls(*await asyncio.open_connection(*address))
        assert await talk.replies(1) == ["220"]
        assert await talk.say(b"EHLO client.example\r\n", 1) == ["250"]
        return talk

    async def say(self, octets, count):
        """The codes of so many replies to what is said."""
        self._writer.write(octets)
        return await self.replies(count)

    async def replies(self, count):
        found = []
        while len(found) < count:
            line = await asyncio.wait_for(self._reader.readline(), 60)
            if not line:
                return found
            if line[3:4] == b" ":
                found.append(line[:3].decode())
            self.last = line.decode().strip()
        return found

    def close(self):
        self._writer.close()


def recipients(count, *, vmta=""):
    """XDFN and RCPT for `r0@example.com` and so on, each with a name of its own."""
    more = f" *vmta={vmta}" if vmta else ""
    return b"".join(
        b'XDFN FName="Name %d"%s\r\nRCPT TO:<r%d@d%d.example>\r\n' % (n, more.encode(), n, n % 7)
        for n in range(count)
    )


def submission(count, body=b"Hey [FName], you are [*to].\r\n", xack=b"XACK OFF\r\n"):
    return (
        xack
        + b"XMRG FROM:<news@sender.example>\r\n"
        + recipients(count)
        + b"XPRT 1 LAST\r\nSubject: for [fname]\r\nTo: [*to]\r\n\r\n"
        + body
        + b".\r\n"
    )


async def test_the_guides_two_recipients(loopback):
    received = loopback.provider.journal
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        assert await talk.say(GUIDE, 14) == ["250"] * 8 + ["354", "250"] * 3
        assert "2.6.0 message received; 2 messages, the first has id" in talk.last
        talk.close()
        await until(lambda: len(loopback.rows("d")) == 2, 20, loopback.told)
    jim, tim = sorted(received, key=lambda one: one.rcpt)
    assert jim.mail_from == "bounce-jim=example.net@b.example.com"
    assert tim.mail_from == "tim-b@b.example.com"
    assert b'\r\nFrom: "Customer Service" bounce-jim=example.net@b.example.com\r\n' in jim.headers
    assert b'\r\nTo: "Tim" tim@example.net\r\nSubject: Plans []\r\n' in tim.headers
    assert jim.body.endswith(b"Hey Jim,\r\nYour favorite food is pizza.\r\nBye.\r\n")
    assert tim.body.endswith(b"Hey Tim,\r\nBye.\r\nYour favorite food is sushi.\r\n")
    for kind in "rd":
        rows = sorted(loopback.rows(kind), key=lambda row: row["rcpt"])
        assert [row["jobId"] for row in rows] == ["1234", "5678"]
        assert [row["vmta"] for row in rows] == ["vmta1", "vmta2"]
        assert [row["envId"] for row in rows] == ["", "e-2"]
        assert [row["orig"] for row in rows] == [jim.mail_from, tim.mail_from]


async def test_thousands_of_recipients_in_several_slices(loopback):
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        assert await talk.say(submission(2500), 4) == ["250", "250", "354", "250"]
        talk.close()
        await until(lambda: len(loopback.rows("d")) >= 2500, 60, loopback.told)
    received = loopback.provider.journal
    assert sorted(one.rcpt for one in received) == sorted(
        f"r{n}@d{n % 7}.example" for n in range(2500)
    )
    for one in received:
        number = one.rcpt[1:].partition("@")[0].encode()
        assert b"\r\nSubject: for Name %b\r\n" % number in one.headers
        assert b"Hey Name %b, you are %b.\r\n" % (number, one.rcpt.encode()) in one.body
    assert len(loopback.rows("r")) == len(loopback.rows("d")) == 2500


async def test_submissions_to_one_long_queue_go_out_once(loopback):
    """Pages of the queue are read while slices are written."""

    async def submit(first):
        talk = await Talk.opened(loopback.address)
        lines = b"".join(b"RCPT TO:<r%d@d.example>\r\n" % (first + n) for n in range(2500))
        sent = b"XACK OFF\r\nXMRG FROM:<news@sender.example>\r\n" + lines
        assert await talk.say(sent + b"XPRT 1 LAST\r\nA: [*to]\r\n.\r\n", 4) == [
            "250", "250", "354", "250",
        ]  # fmt: skip
        talk.close()

    async with loopback.running():
        await asyncio.gather(*(submit(first) for first in (0, 2500)))
        await until(lambda: len(loopback.rows("d")) >= 5000, 90, loopback.told)
        await stays(lambda: len(loopback.rows("d")) == 5000, 1)
    received = [one.rcpt for one in loopback.provider.journal]
    assert sorted(received) == sorted(f"r{n}@d.example" for n in range(5000))


async def test_what_is_wrong_with_one_refuses_all(loopback):
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        lines = b"XMRG FROM:<news@sender.example>\r\n" + recipients(3)
        lines += b"XDFN *vmta=nowhere\r\nRCPT TO:<x@d.example>\r\n"
        await talk.say(lines, 9)
        assert await talk.say(b"XPRT 1 LAST\r\nA: b\r\n.\r\n", 2) == ["354", "550"]
        assert talk.last == "550 5.5.0 specified Virtual MTA 'nowhere' does not exist"
        # The connection goes on.
        assert await talk.say(submission(1, xack=b""), 5) == ["250", "250", "250", "354", "250"]
        talk.close()
        await until(lambda: len(loopback.rows("d")) == 1, 20, loopback.told)
    assert len(loopback.rows("r")) == len(loopback.provider.journal) == 1


async def test_large_messages_and_large_parts(loopback):
    line = b"x" * 70 + b"\r\n"
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        await talk.say(b"XMRG FROM:<news@sender.example>\r\n" + recipients(4), 9)
        one = b"XPRT 1\r\nSubject: [FName]\r\n\r\n" + line * 6000 + b"[FName]\r\n.\r\n"
        assert await talk.say(one, 2) == ["354", "250"]
        assert await talk.say(b"XPRT 2 LAST\r\n" + line * 6000 + b".\r\n", 2) == ["354", "250"]
        talk.close()
        await until(lambda: len(loopback.rows("d")) == 4, 30, loopback.told)
        for spool in loopback.spools:
            assert list((spool / "incoming").iterdir()) == []
    for one in loopback.provider.journal:
        name = b"Name " + one.rcpt[1:2].encode()
        assert one.body.endswith(line * 6000 + name + b"\r\n" + line * 6000)


@pytest.mark.parametrize(("failpoint", "count"), [("before", 0), ("after", 50)])
async def test_a_kill_around_the_commit_leaves_none_or_all(loopback, failpoint, count):
    async with loopback.running(PETREL_FAILPOINT=f"spool.{failpoint}-commit"):
        talk = await Talk.opened(loopback.address)
        assert await talk.say(submission(50), 4) == ["250", "250", "354"]
        await loopback.dies()
        talk.close()
    async with loopback.running():
        await until(lambda: len(loopback.rows("d")) >= count, 30, loopback.told)
        await stays(lambda: len(loopback.rows("d")) == count, 1)
    assert len(loopback.provider.journal) == count
    assert len(loopback.rows("r")) == count


@pytest.mark.parametrize("failpoint", ["spool.after-commit", "move.before-commit"])
async def test_a_kill_amid_a_large_submission_leaves_none(loopback, failpoint):
    async with loopback.running(PETREL_FAILPOINT=failpoint):
        talk = await Talk.opened(loopback.address)
        assert await talk.say(submission(2100), 4) == ["250", "250", "354"]
        await loopback.dies()
        talk.close()
    async with loopback.running() as daemon:
        await stays(lambda: not loopback.rows(), 1)
        assert "gathering" not in (await daemon.command("list")).text
    assert loopback.provider.journal == []


async def test_a_submission_that_breaks_off_leaves_nothing(loopback):
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        await talk.say(submission(5)[:-3], 3)
        talk.close()
        await stays(lambda: not loopback.rows(), 1)


async def test_header_rules_of_the_source_hold_for_each_message(loopback):
    loopback.configured(
        "process-x-job yes\nprocess-x-virtual-mta yes\njobid-prefix p-\n"
        "add-message-id-header yes\nverp-default yes"
    )
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        lines = (
            b"XMRG FROM:<news@sender.example>\r\n"
            b"XDFN *jobid=merge vmta=vmta1\r\nRCPT TO:<a@d.example>\r\n"
            b"XDFN *vmta=vmta2\r\nRCPT TO:<b@d.example>\r\n"
            b"XPRT 1 LAST\r\nX-Job: header\r\nX-Virtual-MTA: vmta1\r\n"
            b"X-From: [*from]\r\n\r\nHi\r\n.\r\n"
        )
        assert (await talk.say(lines, 7))[-1] == "250"
        talk.close()
        await until(lambda: len(loopback.rows("d")) == 2, 20, loopback.told)
    a, b = sorted(loopback.rows("d"), key=lambda row: row["rcpt"])
    assert (a["jobId"], a["vmta"]) == ("p-merge", "vmta1")
    assert (b["jobId"], b["vmta"]) == ("p-header", "vmta2")
    for one in loopback.provider.journal:
        sender = f"news-{one.rcpt[0]}=d.example@sender.example"
        assert one.mail_from == sender
        assert f"\r\nX-From: {sender}\r\n".encode() in one.headers
        assert b"X-Job" not in one.headers
        assert b"X-Virtual-MTA" not in one.headers
        assert one.headers.count(b"\r\nMessage-ID: <") == 1
    ids = {
        one.headers.partition(b"Message-ID: ")[2].split()[0] for one in loopback.provider.journal
    }
    assert len(ids) == 2


async def test_variables_that_are_not_defined_may_stay(loopback):
    loopback.configured(top=VMTAS + "mailmerge-expands-undefined-variables no")
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        assert (await talk.say(submission(1, b"Hey [nobody].\r\n"), 4))[-1] == "250"
        talk.close()
        await until(lambda: len(loopback.rows("d")) == 1, 20, loopback.told)
    assert loopback.provider.journal[0].body.endswith(b"Hey [nobody].\r\n")


async def test_it_is_refused_where_no_source_allows_it(loopback):
    loopback.configured("always-allow-api-submission no")
    async with loopback.running(), client(loopback.address) as smtp:
        assert not smtp.supports_extension("xmrg")
        assert (await smtp.execute_command(b"XMRG FROM:<a@b.example>"))[0] == 502


async def test_each_recipient_may_have_times_of_its_own(loopback):
    async with loopback.running():
        talk = await Talk.opened(loopback.address)
        await talk.say(b"XMRG FROM:<news@sender.example>\r\n", 1)
        late = b'XDFN *schedule="2099-01-01 00:00:00 / 2099-01-02 00:00:00"\r\n'
        late += b"RCPT TO:<a@d.example>\r\n"
        assert await talk.say(late + b"RCPT TO:<b@d.example>\r\n", 3) == ["250"] * 3
        assert await talk.say(b"XPRT 1 LAST\r\nA: b\r\n.\r\n", 2) == ["354", "250"]
        await until(lambda: loopback.rows("d"), 20, loopback.told)
        await stays(lambda: len(loopback.rows("d")) == 1, 1)
        await talk.say(b"XMRG FROM:<news@sender.example>\r\nXDFN *schedule=never\r\n", 2)
        await talk.say(b"RCPT TO:<a@d.example>\r\n", 1)
        assert await talk.say(b"XPRT 1 LAST\r\nA: b\r\n.\r\n", 2) == ["354", "554"]
        talk.close()
    assert [one.rcpt for one in loopback.provider.journal] == ["b@d.example"]


async def test_each_message_is_signed_with_the_key_its_variables_say(tmp_path):
    async with Mailbox() as mailbox:
        signing = Signing(tmp_path, mailbox)
        keys = "".join(
            f"domain-key {name}, sender.example, {signing.new_key(name, 'sender.example')}\n"
            for name in ("a", "b")
        )
        signing.configure(
            top=f"{keys}<source 127/8>\nalways-allow-relaying yes\nallow-mailmerge yes\n"
            "process-x-dkim-options yes\n</source>",
            domain="dkim-sign yes",
        )
        async with signing.running():
            talk = await Talk.opened(signing.address)
            await talk.say(b"XACK OFF\r\nXMRG FROM:<news@sender.example>\r\n", 2)
            for selector in (b"a", b"b"):
                lines = b"XDFN s=%b\r\nRCPT TO:<%b@d.example>\r\n"
                await talk.say(lines % (selector, selector), 0)
            part = b"X-DKIM-Options: s=[s]\r\nFrom: news@sender.example\r\n\r\nHi [s]\r\n"
            assert await talk.say(b"XPRT 1 LAST\r\n" + part + b".\r\n", 2) == ["354", "250"]
            talk.close()
            await until(lambda: len(mailbox.messages) == 2, 20, signing.told)
        signed = {}
        for message in mailbox.messages:
            ((tags,), body) = signing.verified(message), message.partition(b"\r\n\r\n")[2]
            signed[tags["s"]] = body
        assert signed == {"a": b"Hi a\r\n", "b": b"Hi b\r\n"}


async def test_operators_see_and_change_nothing_that_is_not_taken_yet(loopback):
    count = 4000
    async with loopback.running() as daemon:
        talk = await Talk.opened(loopback.address)
        taken = asyncio.ensure_future(talk.say(submission(count), 4))
        while not taken.done():
            await daemon.command("set", "priority", "60", "--rcpt=r*")
            assert "gathering" not in (await daemon.command("list")).text
        assert (await taken)[-1] == "250"
        talk.close()
        await until(lambda: len(loopback.rows("d")) >= count, 60, loopback.told)
        await stays(lambda: len(loopback.rows("d")) == count, 1)
    assert loopback.rows("b") == []
    assert len(loopback.provider.journal) == count
