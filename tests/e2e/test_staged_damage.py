"""Mail that is damaged on its way to another worker bounces, once, and costs no other."""

import contextlib
from operator import methodcaller

import pytest

from mta import clock
from mta.admin.client import is_answered
from mta.admin.socket_path import NAME
from mta.daemon import partition
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.sim.provider import Provider
from mta.spool.store import Spool
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

COUNT = 8
THEIRS = next(
    key
    for key in (QueueKey(f"d{number}.example", "{default}") for number in range(100))
    if partition.owner(key, 2) == 1
)


async def stage(directory):
    """What the first worker accepted for the second; of two messages a part is damaged."""
    spool, now = Spool.open(directory), clock.now()
    for n in range(COUNT):
        number = spool.next_message_id()
        content = b"Subject: x\r\n\r\nbody\r\n"
        envelope = Envelope(
            message_id=number, mail_from="a@sender.example", time_queued=now, size=20, head_size=14
        )
        recipient = Recipient(number << 16, envelope, f"r{n}@{THEIRS.domain}", THEIRS, now)
        staged = [(recipient.recipient_id, number, 1)]
        await spool.begin_accept(envelope, content, [recipient], staged=staged)
    for damage in (
        "UPDATE message SET content = x'00' WHERE id = (SELECT MIN(id) FROM message)",
        "UPDATE recipient SET orcpt = 'x' WHERE id = (SELECT MAX(id) FROM recipient)",
    ):
        await spool._change(methodcaller("execute", damage))
    await spool.close()


@contextlib.asynccontextmanager
async def whole(loopback):
    async with loopback.running() as daemon:
        await until(lambda: is_answered(loopback.spool / NAME), 30, loopback.told)
        yield daemon


@pytest.mark.own_workers
async def test_staged_mail_that_is_damaged_bounces_once_and_the_rest_is_delivered(tmp_path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top="workers 2")
        async with whole(loopback):
            pass  # so that there is a spool for each of two
        await stage(loopback.spool)
        async with whole(loopback):
            await until(lambda: len(loopback.rows("d,b")) == COUNT, 30, loopback.told)
        async with whole(loopback):
            pass
    bounced = {row["rcpt"]: row["dsnStatus"][:5] for row in loopback.rows("b")}
    assert bounced == {f"r{n}@{THEIRS.domain}": "5.3.0" for n in (0, COUNT - 1)}
    assert len(provider.journal) == len(loopback.rows("d")) == COUNT - 2
    assert loopback.told().count("is damaged and bounces") == 2
    assert len(list((loopback.spool / "damaged").glob("*.envelope"))) == 2
