"""Whoever changes what waits is told before anybody who read it: no mail is taken twice."""

import asyncio
import sqlite3
import threading
from contextlib import closing

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
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


async def test_what_a_long_look_finds_was_told_to_its_mover_before(tmp_path, monkeypatch):
    """The look goes past a writer that has committed and not told yet."""
    is_told = threading.Event()
    has_looked = is_held_back = False
    post = store.Spool._post_from_writer
    find_rows = store.find_rows

    def held_back(self, *posted):
        if is_held_back:
            assert is_told.wait(BOUND_S)
        post(self, *posted)

    def look(*arguments):
        nonlocal has_looked
        asyncio.run_coroutine_threadsafe(move(), loop).result(BOUND_S)
        found = find_rows(*arguments)
        has_looked = True
        return found

    def queues():
        with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
            return connection.execute("SELECT DISTINCT queue FROM recipient").fetchall()

    async def move():
        nonlocal moving, is_held_back
        is_held_back = True
        moving = loop.create_task(spool.move(recipients, KEY, QueueKey("d.example", "w"), ""))
        await until(lambda: queues() != before)

    monkeypatch.setattr(store.Spool, "_post_from_writer", held_back)
    monkeypatch.setattr(store, "find_rows", look)
    loop = asyncio.get_running_loop()
    moving = None
    spool = store.Spool.open(tmp_path)
    envelope, content, recipients = message(spool)
    await spool.accept(envelope, content, recipients)
    await spool.priorities(KEY)
    before = queues()

    async def find():
        (found,) = await spool.find(RecipientQuery(), 10)
        return found.queue.vmta, moving.done()

    finding = loop.create_task(find())
    await until(lambda: has_looked)
    for _ in range(10):  # Turns of the loop: more than the way back takes.
        await asyncio.sleep(0)
    is_told.set()
    assert await finding == ("w", True)
    await spool.close()
