"""What a provider took is copied to another address: each once, and never a copy of a copy."""

import email
from contextlib import AsyncExitStack

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import ADDRESS, Loopback
from tests.e2e.mailbox import Mailbox
from tests.e2e.submission import SENDER, Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
ARCHIVE = "archive@copies.example"
BCC = f"bcc-upon-delivery {ARCHIVE}"


@pytest.fixture
async def site(tmp_path):
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Mailbox())
        archive = await stack.enter_async_context(Mailbox())
        loopback = Loopback(tmp_path, provider.port)
        loopback.provider, loopback.archive = provider, archive
        loopback.top = (
            f"<domain copies.example>\nsmtp-hosts [{ADDRESS}]:{archive.port}\n</domain>\n"
        )
        loopback.configure(top=loopback.top, domain=BCC)
        yield loopback


def accounted(site):
    return sorted((row["type"], row["rcpt"], row["orig"]) for row in site.rows("d,b"))


async def test_what_is_delivered_is_copied_as_it_went_out(site):
    large = "0123456789" * 7 + "\r\n"
    async with site.running():
        await site.submit(
            Letter("r1@one.example", "X-Mark: 1\r\n"),
            Letter("r2@one.example", body=large * 5000),
        )
        await until(lambda: len(site.archive.messages) == 2, DELIVERY_S, site.told)
        await until(lambda: len(site.rows("d")) == 4, DELIVERY_S, site.told)
    assert set(site.archive.envelopes) == {(SENDER, (ARCHIVE,))}
    for body in (b"Hello.", large.encode() * 5000):
        (copy,) = [one for one in site.archive.messages if body in one]
        (original,) = [one for one in site.provider.messages if body in one]
        assert copy.partition(b"\r\n\r\n")[2] == original.partition(b"\r\n\r\n")[2]
    marks = [email.message_from_bytes(one)["X-Mark"] for one in site.archive.messages]
    assert sorted(marks, key=str) == ["1", None]
    assert accounted(site) == [
        ("d", ARCHIVE, SENDER),
        ("d", ARCHIVE, SENDER),
        ("d", "r1@one.example", SENDER),
        ("d", "r2@one.example", SENDER),
    ]


async def test_one_transaction_makes_one_copy_and_an_empty_address_none(site):
    site.configure(
        top=site.top + '<domain none.example>\nbcc-upon-delivery ""\n</domain>\n',
        domain=BCC,
    )
    async with site.running():
        async with client(site.address) as smtp:
            rcpts = ["n@none.example", "a@one.example", "b@one.example"]
            await smtp.sendmail(SENDER, rcpts, Letter(rcpts[0]).content)
        await until(lambda: len(site.rows("d")) == 4, DELIVERY_S, site.told)
    assert [rcpt for _, rcpt, _ in accounted(site)] == sorted([ARCHIVE, *rcpts])


async def test_a_copy_that_bounces_is_accounted_and_told_to_nobody(site):
    async with (
        Provider({"*": Profile(unknown=("archive*",))}) as refusing,
        AsyncExitStack() as stack,
    ):
        to_refusing = f"smtp-hosts [{ADDRESS}]:{refusing.port}\n"
        top = f"<domain copies.example>\n{to_refusing}</domain>\n"
        site.configure(top=top, domain=BCC, is_sender_told=True)
        await stack.enter_async_context(site.running())
        await site.submit(Letter("r1@one.example"))
        await until(lambda: len(site.rows("d,b")) == 2, DELIVERY_S, site.told)
    assert accounted(site) == [("b", ARCHIVE, SENDER), ("d", "r1@one.example", SENDER)]
    assert len(site.provider.messages) == 1


@pytest.mark.parametrize("point", ["report.owed", "settle.after-commit"])
async def test_a_kill_between_the_outcome_and_its_copy_loses_no_copy(site, point):
    await site.daemon.start(PETREL_FAILPOINT=point)
    await site.submit(Letter("r1@one.example"))
    await site.dies()
    async with site.running():
        await until(lambda: site.archive.messages, DELIVERY_S, site.told)
        await until(
            lambda: ARCHIVE in {row["rcpt"] for row in site.rows("d")}, DELIVERY_S, site.told
        )
    assert len(site.archive.messages) <= 2
    assert {rcpt for _, rcpt, _ in accounted(site)} == {"r1@one.example", ARCHIVE}
