import asyncio
import sqlite3

import pytest

from mta.errors import SpoolFullError
from mta.model.message import PRIORITY, Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool import writer
from mta.spool.store import Spool

KEY = QueueKey("d.example", "v")


class Disk:
    """Stands before a connection; while it is full nothing can be committed."""

    def __init__(self, connection):
        self._connection = connection
        self.is_full = False

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *parameters):
        if self.is_full and statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *parameters)


@pytest.fixture
async def spool(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    opened = Spool.open(tmp_path)
    writing = opened._writer._writer
    opened.disk = writing._connection = Disk(writing._connection)
    yield opened
    opened.disk.is_full = False
    await opened.close()


async def accepted(spool):
    number = spool.next_message_id()
    envelope = Envelope(message_id=number, mail_from="", time_queued=0, size=4, head_size=0)
    recipient = Recipient(number << 16, envelope, "u@d.example", KEY, 0.0)
    await spool.accept(envelope, b"hi\r\n", [recipient])
    return recipient


async def test_a_full_disk_refuses_new_mail(spool):
    await accepted(spool)
    spool.disk.is_full = True
    with pytest.raises(SpoolFullError):
        await accepted(spool)
    spool.disk.is_full = False
    await accepted(spool)
    assert (await spool.counts()).messages == 2


async def test_an_outcome_waits_for_the_disk_and_is_not_lost(spool):
    recipient = await accepted(spool)
    spool.disk.is_full = True
    settled = spool.settle([recipient], [], [])
    for _ in range(3):
        with pytest.raises(SpoolFullError):
            await accepted(spool)
    assert not settled.done()
    spool.disk.is_full = False
    await asyncio.wait_for(settled, 10)
    assert (await spool.counts()).messages == 0


async def test_a_question_behind_a_held_outcome_waits_for_it(spool):
    """Otherwise a queue read back would have recipients that were delivered."""
    recipient = await accepted(spool)
    spool.disk.is_full = True
    settled = spool.settle([recipient], [], [])
    with pytest.raises(SpoolFullError):
        await accepted(spool)
    page = asyncio.ensure_future(spool.due(KEY, PRIORITY, None, 10))
    spool.disk.is_full = False
    assert (await asyncio.wait_for(page, 10)).recipients == []
    assert settled.done()


async def test_who_was_settled_is_not_moved_by_the_same_transaction(spool):
    """Else the mover would tell the other queue of a recipient that was delivered."""
    recipient = await accepted(spool)
    spool.settle([recipient], [], [])
    assert await spool.move([recipient], KEY, QueueKey("d.example", "w"), "") == {}


async def test_what_a_settlement_deferred_is_moved_with_its_new_due(spool):
    recipient = await accepted(spool)
    recipient.due, recipient.attempts, recipient.last_reply = 700.0, 1, "smtp;451 later"
    spool.settle([], [recipient], [])
    moved = await spool.move([recipient], KEY, QueueKey("d.example", "w"), "")
    assert moved == {recipient.recipient_id: (700.0, 1, "smtp;451 later")}
