"""Submitters hear what became of their mail, as they asked to, through the queues, once."""

import asyncio
import email
import email.policy
import sqlite3
from contextlib import closing

import pytest
from aiosmtpd.smtp import SMTP

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import ADDRESS, Loopback
from tests.e2e.submission import SENDER, Letter, client, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
PROFILES = {"corp.*": Profile(unknown=("nobody*",)), "*": Profile()}


class Mailbox:
    """Of the sender: an aiosmtpd that keeps what it takes."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        assert envelope.mail_from in ("", None, "<>")
        message = email.message_from_bytes(envelope.content, policy=email.policy.SMTP)
        self.messages.append((envelope.rcpt_tos, message))
        return "250 ok"

    @property
    def reports(self):
        """The status part of each report, as text."""
        return [str(message.get_payload()[1]) for _, message in self.messages]


@pytest.fixture
async def site(tmp_path):
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop), ADDRESS, 0)
    port = server.sockets[0].getsockname()[1]
    async with Provider(PROFILES) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.provider = provider
        loopback.mailbox = mailbox
        loopback.to_sender = f"<domain sender.example>\nsmtp-hosts [{ADDRESS}]:{port}\n</domain>\n"
        loopback.configure(top=loopback.to_sender, is_sender_told=True)
        yield loopback
    server.close()


async def send(loopback, rcpts, *, mail=(), rcpt=(), sender=SENDER):
    letter = Letter(rcpts[0])
    async with client(loopback.address) as smtp:
        await smtp.mail(sender, options=list(mail))
        for one in rcpts:
            await smtp.rcpt(one, options=list(rcpt))
        await smtp.data(letter.content)


async def heard(loopback, count):
    await until(lambda: len(loopback.mailbox.messages) == count, DELIVERY_S, loopback.told)


async def test_a_failure_is_told_to_the_sender_with_the_header_of_the_message(site):
    async with site.running():
        await send(site, ["nobody1@corp.example"], mail=["ENVID=QQ1"], rcpt=["ORCPT=rfc822;o@x.y"])
        await heard(site, 1)
    ((rcpts, message),) = site.mailbox.messages
    assert rcpts == [SENDER]
    assert message["To"] == SENDER
    (report,) = site.mailbox.reports
    for field in (
        "Original-Envelope-Id: QQ1",
        "Original-Recipient: rfc822;o@x.y",
        "Final-Recipient: rfc822;nobody1@corp.example",
        "Action: failed",
        "Status: 5.1.1 (bad destination mailbox address)",
        "Diagnostic-Code: smtp;550 5.1.1 <nobody1@corp.example>: user unknown",
        "X-PowerMTA-BounceCategory: bad-mailbox",
    ):
        assert field in report
    assert "Subject: a test" in str(message.get_payload()[2])
    assert [row["type"] for row in site.rows("d,b")] == ["b", "d"]


@pytest.mark.parametrize(
    ("source", "domain", "rcpt", "sender"),
    [
        ("suppress-local-dsn yes", "", [], SENDER),
        ("", "deliver-local-dsn no", [], SENDER),
        ("", "", ["NOTIFY=NEVER"], SENDER),
        ("", "", ["NOTIFY=SUCCESS"], SENDER),
        ("", "", [], ""),
    ],
)
async def test_nobody_is_told_who_does_not_want_to_know(site, source, domain, rcpt, sender):
    top = f"<source 127.0.0.1>\nalways-allow-relaying yes\n{source}\n</source>\n{site.to_sender}"
    site.configure(top=top, is_sender_told=not domain)
    others = [] if source or domain else ["other@sender.example"]
    async with site.running():
        await send(site, ["nobody1@corp.example"], rcpt=rcpt, sender=sender)
        await send(site, ["nobody2@corp.example"], sender="other@sender.example", rcpt=[])
        await until(lambda: len(site.rows("b")) == 2, DELIVERY_S, site.told)
        await heard(site, len(others))
    assert [rcpts for rcpts, _ in site.mailbox.messages] == [[one] for one in others]
    assert len(site.spools) == site.worker_count
    for directory in site.spools:
        with closing(sqlite3.connect(directory / "spool.db")) as spool:
            for table in ("report", "recipient"):
                assert spool.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)


async def test_a_success_is_told_where_the_next_host_cannot_tell_it(site):
    async with site.running():
        await send(site, ["r1@one.example"], rcpt=["NOTIFY=SUCCESS"])
        await heard(site, 1)
    (report,) = site.mailbox.reports
    assert "Action: relayed" in report
    assert "Status: 2.0.0 (success)" in report


async def test_several_recipients_of_a_message_are_told_together(site):
    async with site.running():
        await send(site, [f"nobody{n}@corp.example" for n in range(3)])
        await heard(site, 1)
    (report,) = site.mailbox.reports
    assert report.count("Action: failed") == 3


async def test_a_notification_that_bounces_is_told_to_nobody(site):
    async with site.running():
        await send(site, ["nobody1@corp.example"], sender="nobody2@corp.example")
        await until(lambda: len(site.rows("b")) == 2, DELIVERY_S, site.told)
    assert [row["orig"] for row in site.rows("b")] == ["nobody2@corp.example", ""]
    assert site.mailbox.messages == []


async def test_what_an_operator_deletes_is_told_only_on_demand(site):
    async with site.running() as daemon:
        assert (await daemon.command("pause", "queue", "corp.example")).code == 0
        await site.submit(*letters(2, "corp.example"))
        assert (
            await daemon.command("delete", "--rcpt=r0@corp.example", "--queue=corp.example")
        ).code == 0
        await until(lambda: len(site.rows("b")) == 1, DELIVERY_S, site.told)
        deleted = await daemon.command("delete", "--dsn", "--queue=corp.example")
        assert deleted.code == 0, deleted.text
        await heard(site, 1)
    (report,) = site.mailbox.reports
    assert "Final-Recipient: rfc822;r1@corp.example" in report


def owes(directory):
    with closing(sqlite3.connect(directory / "spool.db")) as spool:
        return spool.execute("SELECT COUNT(*) FROM report").fetchone() != (0,)


async def test_what_is_owed_is_told_after_a_kill(site):
    """The outcome is settled, the notification not yet written: it must not be forgotten."""
    await site.daemon.start(PETREL_FAILPOINT="report.owed")
    await send(site, ["nobody1@corp.example"])
    await site.dies()
    async with site.running():
        await until(lambda: site.mailbox.messages, DELIVERY_S, site.told)
        await until(lambda: len(site.rows("d,b")) >= 2, DELIVERY_S, site.told)
    assert all("nobody1@corp.example" in report for report in site.mailbox.reports)


async def test_a_notification_that_cannot_be_written_is_kept_and_holds_up_no_other(site):
    """Rows that are not what was written, and a time that no calendar has."""
    await site.daemon.start(PETREL_FAILPOINT="report.owed")
    await send(site, ["nobody1@corp.example"])
    await site.dies()
    (owing,) = filter(owes, site.spools)
    with closing(sqlite3.connect(owing / "spool.db")) as spool, spool:
        ((body, content),) = spool.execute("SELECT body, content FROM report")
        timeless = body.replace('"retry_until": null', '"retry_until": 1e99')
        assert timeless != body
        for number, bad in enumerate(('{"told', "{}", timeless)):
            spool.execute("INSERT INTO report VALUES (?, ?, ?)", (-number, bad, content))
    async with site.running():
        await until(lambda: site.mailbox.messages, DELIVERY_S, site.told)
        await send(site, ["nobody2@corp.example"])
        await until(lambda: "nobody2" in "".join(site.mailbox.reports), DELIVERY_S, site.told)
    assert site.told().count("cannot be written") == 3
    kept = [path for path in (owing / "damaged").iterdir() if "report" in path.name]
    assert sorted(path.read_text() for path in kept if path.suffix == ".json") == sorted(
        ['{"told', "{}", timeless]
    )
    assert all(path.read_bytes() == content for path in kept if path.suffix == ".eml")


async def test_templates_and_format_are_as_configured(site, tmp_path):
    template = tmp_path / "body.txt"
    template.write_text("${recipient} will not have it.\n")
    site.configure(
        top='dsn-failed-from-template "Bounces <b@${hostname}>"\n'
        'dsn-failed-subject-template "Undelivered: ${subject}"\n'
        f"dsn-failed-body-template-from {template}\n{site.to_sender}",
        is_sender_told=True,
    )
    async with site.running():
        await send(site, ["nobody1@corp.example"])
        await heard(site, 1)
    ((_, message),) = site.mailbox.messages
    assert message["From"] == "Bounces <b@mta.sender.example>"
    assert message["Subject"] == "Undelivered: a test"
    assert "nobody1@corp.example will not have it." in str(message.get_payload()[0])
