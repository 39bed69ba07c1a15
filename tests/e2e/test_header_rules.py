"""From what a client submits to the octets a provider gets: VirtualMTA, fields, senders."""

import email
import re
from email.utils import parsedate_to_datetime

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.mailbox import Mailbox
from tests.e2e.submission import Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

VMTAS = "".join(f"<virtual-mta {name}>\n</virtual-mta>\n" for name in ("a", "b", "c"))
POOL = "<virtual-mta-pool p>\nvirtual-mta b\n</virtual-mta-pool>\n"
LISTS = """<pattern-list choose>
rcpt-to /@two/ virtual-mta=p, recipient-priority=90
header X-Kind /^ offer/ recipient-priority=10
mail-from /^news/ <pattern-list>
  header Subject /a test/ call-to: last
</pattern-list>
</pattern-list>
<pattern-list last>
* virtual-mta=c
</pattern-list>
"""


class Submitting(Loopback):
    """A daemon whose only source is configured by the test, and a mailbox behind it."""

    def __init__(self, directory, mailbox):
        super().__init__(directory, mailbox.port)
        self.mailbox = mailbox

    def configured(self, source="", top="", **sections):
        source = f"<source 127.0.0.1>\nalways-allow-relaying yes\n{source}\n</source>"
        self.configure(top=f"{VMTAS}{POOL}{top}\n{source}", acct="records d,b,r", **sections)

    async def deliver(self, *letters):
        """Submit, and the octets that arrived for it."""
        before = len(self.mailbox.messages)
        await self.submit(*letters)
        await until(lambda: len(self.mailbox.messages) == before + len(letters), 30, self.told)
        return self.mailbox.messages[before:]

    async def vmtas(self, *letters):
        """The VirtualMTA each went through."""
        before = len(self.rows("d,b"))
        await self.submit(*letters)
        await until(lambda: len(self.rows("d,b")) == before + len(letters), 30, self.told)
        by_rcpt = {row["rcpt"]: row["vmta"] for row in self.rows("d,b")[before:]}
        return [by_rcpt[letter.rcpt] for letter in letters]


@pytest.fixture
async def submitting(tmp_path):
    async with Mailbox() as mailbox:
        yield Submitting(tmp_path, mailbox)


def names(message):
    """The fields of a message in their order, lower case, without our Received field."""
    head = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    found = [name.lower() for name in re.findall(rb"(?m)^([^\s:]+):", head)]
    assert found.pop(0) == b"received"
    return [name.decode() for name in found]


async def test_the_virtual_mta_is_chosen_in_the_documented_order(submitting):
    submitting.configured(
        "process-x-virtual-mta yes\npattern-list choose\ndefault-virtual-mta a",
        LISTS,
    )
    async with submitting.running() as daemon:
        chosen = await submitting.vmtas(
            Letter("u@one.example", "X-Virtual-MTA: b\r\n"),
            Letter("v@one.example"),
            Letter("w@two.example"),
            Letter("x@one.example", "X-Kind: offer\r\n"),
            Letter("y@one.example", mail_from="joe@sender.example"),
            Letter("z@two.example", "X-Virtual-MTA: a\r\n"),
        )
        assert chosen == ["b", "c", "b", "a", "a", "a"]
        async with client(submitting.address) as smtp:
            assert (await smtp.mail("joe@sender.example")).code == 250
            for rcpt in ("m@one.example", "n@two.example"):
                assert (await smtp.rcpt(rcpt)).code == 250
            await smtp.data(b"Subject: x\r\n\r\nx\r\n")
        await until(lambda: len(submitting.rows("d")) == 8, 30, submitting.told)
        assert {row["vmta"] for row in submitting.rows("d")[6:]} == {"b"}
        await daemon.command("pause", "queue", "*/*")
        async with client(submitting.address) as smtp:
            _, said = await smtp.sendmail("joe@sender.example", ["q@two.example"], b"\r\nx\r\n")
        assert re.search(r'"priority": ?90', (await daemon.command("list", "--json")).text)
        explained = (await daemon.command("explain", said.rpartition("id ")[2])).text
        assert re.search(r"by pattern-list choose \(.*petrel.conf:\d+\)", explained), explained


async def test_fields_are_added_where_a_message_has_none(submitting):
    submitting.configured(
        "add-date-header yes\nadd-message-id-header yes\nadd-x-virtual-mta-header yes\n"
        "default-virtual-mta p\njobid-header X-Campaign\njobid-prefix web-\n"
        "process-x-envid yes",
    )
    own = "Date: Tue, 24 Nov 2026 04:00:00 +0000\r\nmessage-id: <own@one>\r\nX-Virtual-MTA: x\r\n"
    async with submitting.running():
        bare, full = [
            *await submitting.deliver(Letter("u@one.example", "X-Campaign: spring\r\n")),
            *await submitting.deliver(Letter("v@one.example", own + "X-Envid: e1\r\n")),
        ]
        await until(lambda: len(submitting.rows("d")) == 2, 30, submitting.told)
    assert names(bare)[:3] == ["date", "message-id", "x-virtual-mta"]
    fields = email.message_from_bytes(bare)
    assert fields["X-Virtual-MTA"] == "b"
    assert re.fullmatch(r"<[0-9A-Za-z.]+@mta\.sender\.example>", fields["Message-ID"])
    assert parsedate_to_datetime(fields["Date"])
    assert names(full) == ["from", "to", "subject", "date", "message-id", "x-virtual-mta"]
    first, second = submitting.rows("d")
    assert (first["jobId"], second["jobId"], second["envId"]) == ("web-spring", "", "e1")


async def test_files_of_fields_go_below_received_and_a_reload_reads_them_again(submitting):
    everywhere, of_vmta = (submitting.directory / name for name in ("all.txt", "vmta.txt"))
    everywhere.write_text("X-All: 1\nX-Folded: one,\n two\n")
    of_vmta.write_text("X-Vmta: a\r\n")
    submitting.configured(
        "default-virtual-mta a\nadd-date-header override\ndate-header-time delivery",
        f'include-headers-from {everywhere}\nadd-header "X-Top: 1"\nadd-header "X-Both: top"\n'
        f'<virtual-mta a>\ninclude-headers-from {of_vmta}\nadd-header "X-Own: 1"\n</virtual-mta>',
        domain='add-header "X-Both: domain"\nremove-header X-Secret,x-all,Message-ID',
    )
    letter = Letter("u@one.example", "X-Secret: 1\r\n 2\r\nDate: never\r\nX-Last: 1\r\n")
    async with submitting.running() as daemon:
        (message,) = await submitting.deliver(letter)
        assert names(message) == [
            "x-all", "x-folded", "x-vmta", "date", "x-top", "x-both", "x-own",
            "from", "to", "subject", "x-last",
        ]  # fmt: skip
        assert b"X-Folded: one,\r\n two\r\nX-Vmta: a\r\n" in message
        assert email.message_from_bytes(message)["X-Both"] == "domain"
        of_vmta.write_text("X-New: b\n")
        assert (await daemon.command("reload")).code == 0
        (message,) = await submitting.deliver(letter)
        assert names(message)[:3] == ["x-all", "x-folded", "x-new"]
        of_vmta.write_text("X-New: b\n\nno field\n")
        failed = await daemon.command("reload")
        assert failed.code != 0
        assert "vmta.txt:2: expected a header field" in failed.text


async def test_senders_and_from_fields_are_rewritten_and_bodies_are_not(submitting):
    submitting.configured(
        "rewrite-list sources\ndefault-virtual-mta a",
        "<rewrite-list sources>\nmail-from *@sender.example *@first.example\n"
        "from-domain sender.example first.example\n</rewrite-list>\n"
        "<rewrite-list vmtas>\nmail-from *@first.example bounce@*\nmail-from <> null@a.example\n"
        "from-domain first.example second.example\n</rewrite-list>\n"
        "<virtual-mta a>\nrewrite-list vmtas\n</virtual-mta>",
    )
    letter = Letter("u@one.example", 'X-Last: news@sender.example\r\n "x"\r\n')
    async with submitting.running():
        (message,) = await submitting.deliver(letter)
        await submitting.deliver(Letter("v@one.example", mail_from=""))
        await until(lambda: len(submitting.rows("d")) == 2, 30, submitting.told)
    assert submitting.mailbox.envelopes == [
        ("bounce@first.example", ("u@one.example",)),
        ("null@a.example", ("v@one.example",)),
    ]
    own = letter.content.replace(b"From: news@sender", b"From: news@second")
    assert message.endswith(b"\r\n" + own)
    assert [row["orig"] for row in submitting.rows("d")] == ["news@first.example", ""]


async def test_with_verp_each_recipient_has_a_sender_of_its_own(submitting):
    submitting.configured(
        "verp-default yes\ndefault-virtual-mta by-smtp-source-ip",
        "<virtual-mta c>\nsmtp-source-ip 127.0.0.1\n</virtual-mta>",
        domain="max-rcpt-per-message 10\nmax-smtp-out 1",
    )
    rcpts = ["joe@one.example", "jim+x@one.example"]
    async with submitting.running():
        async with client(submitting.address) as smtp:
            await smtp.sendmail("news@sender.example", rcpts, b"Subject: x\r\n\r\nx\r\n")
            await smtp.sendmail("", rcpts, b"Subject: x\r\n\r\nx\r\n")
        await until(lambda: len(submitting.rows("d")) == 4, 30, submitting.told)
    assert {row["vmta"] for row in submitting.rows("d")} == {"c"}
    assert sorted(row["orig"] for row in submitting.rows("d")) == [
        "",
        "",
        "news-jim+x=one.example@sender.example",
        "news-joe=one.example@sender.example",
    ]
    assert sorted(submitting.mailbox.envelopes) == [
        ("<>", tuple(rcpts)),
        ("news-jim+x=one.example@sender.example", ("jim+x@one.example",)),
        ("news-joe=one.example@sender.example", ("joe@one.example",)),
    ]
