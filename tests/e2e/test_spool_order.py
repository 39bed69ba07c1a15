"""Whoever has mail committed is told before anybody who read it: it is not taken twice."""

import asyncio
import sqlite3
import threading
from contextlib import closing

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool import store
from mta.spool.query import RecipientQuery

KEY = QueueKey("d.example", "v")
BOUND_S = 10


def message(spool):
    number = spool.next_message_id()
    envelope = Envelope(message_id=number, mail_from="", time_queued=0, size=4, head_size=0)
    return envelope, b"hi\r\n", [Recipient(number << 16, envelope, "u@d.example", KEY, 0.0)]


async def until(condition):
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_a_long_look_finds_was_told_to_its_sender_before(tmp_path, monkeypatch):
    """The look goes past a writer that has committed and not told yet."""
    is_told = threading.Event()
    has_looked = False
    post = store.Spool._post_from_writer

    def held_back(self, *posted):
        if posted[-1]:  # the receipt of the message
            assert is_told.wait(BOUND_S)
        post(self, *posted)

    monkeypatch.setattr(store.Spool, "_post_from_writer", held_back)
    find_rows = store.find_rows

    def committed():
        with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
            return connection.execute("SELECT COUNT(*) FROM recipient").fetchone() == (1,)

    accepting = None

    def look(*arguments):
        nonlocal has_looked
        asyncio.run_coroutine_threadsafe(accept(), loop).result(BOUND_S)
        found = find_rows(*arguments)
        has_looked = True
        return found

    async def accept():
        nonlocal accepting
        accepting = loop.create_task(spool.accept(*message(spool), [Record("r", {})]))
        await until(committed)

    monkeypatch.setattr(store, "find_rows", look)
    loop = asyncio.get_running_loop()
    spool = store.Spool.open(tmp_path)

    async def find():
        found = await spool.find(RecipientQuery(), 10)
        return len(found), accepting.done()

    finding = loop.create_task(find())
    await until(lambda: has_looked)
    for _ in range(10):  # Turns of the loop: more than the way back takes.
        await asyncio.sleep(0)
    is_told.set()
    assert await finding == (1, True)
    await spool.close()
