"""The last tries of recipients that wait are kept, and go when they do."""

import contextlib
import itertools
import sqlite3

from mta.model.attempt import Try
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool.store import Spool
from mta.spool.tries import REPLY_CHARACTERS_MAX, TRIES_KEPT, Tries

KEY = QueueKey("d.example", "v")


async def accepted(spool, count=1):
    number = spool.next_message_id()
    envelope = Envelope(message_id=number, mail_from="", time_queued=0, size=4, head_size=0)
    found = [
        Recipient(number << 16 | i, envelope, f"u{i}@d.example", KEY, 0.0) for i in range(count)
    ]
    await spool.accept(envelope, b"hi\r\n", found)
    return found


async def defer(spool, recipient, time, reply="451 later"):
    recipient.attempts += 1
    recipient.last_reply = reply
    recipient.due = time + 10
    await spool.settle((), [recipient], (), Try(time, "192.0.2.1", "mx (192.0.2.9)", ""))


def rows(tmp_path):
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM try").fetchone()
    connection.close()
    return count


async def test_of_each_recipient_the_last_tries_are_kept_in_order(tmp_path):
    spool = Spool.open(tmp_path)
    one, other = await accepted(spool, 2)
    for time in range(TRIES_KEPT + 3):
        await defer(spool, one, float(time), f"451 {time}")
    await defer(spool, other, 5.0, "x" * 10_000)
    found = await spool.tries.of(one.envelope.message_id)
    assert [one.reply for one in found[one.recipient_id]] == [
        f"451 {time}" for time in range(3, TRIES_KEPT + 3)
    ]
    assert found[other.recipient_id] == [
        Try(5.0, "192.0.2.1", "mx (192.0.2.9)", "x" * REPLY_CHARACTERS_MAX)
    ]
    await spool.close()


async def test_tries_outlive_a_restart_and_go_with_the_recipient(tmp_path):
    spool = Spool.open(tmp_path)
    one, other = await accepted(spool, 2)
    await defer(spool, one, 1.0)
    await defer(spool, other, 1.0)
    await spool.close()
    spool = Spool.open(tmp_path)
    assert len(await spool.tries.of(one.envelope.message_id)) == 2
    await spool.settle([one], (), ())
    assert list(await spool.tries.of(one.envelope.message_id)) == [other.recipient_id]
    await spool.settle([other], (), ())
    await spool.close()
    assert rows(tmp_path) == 0


async def test_tries_of_nobody_go_at_the_next_start(tmp_path):
    spool = Spool.open(tmp_path)
    (one,) = await accepted(spool)
    await defer(spool, one, 1.0)
    await spool.tries.of(one.envelope.message_id)  # Now it is in the database.
    one.attempts = 0
    await spool.settle([one], (), ())
    await spool.close()
    assert rows(tmp_path) == 1
    await Spool.open(tmp_path).close()
    assert rows(tmp_path) == 0


async def test_the_place_in_the_queue_is_that_of_delivery(tmp_path):
    spool = Spool.open(tmp_path)
    found = [(await accepted(spool))[0] for _ in range(4)]
    await defer(spool, found[0], 100.0)
    assert [await spool.tries.before(recipient, 9) for recipient in found] == [3, 0, 1, 2]
    await spool.set_priority([found[2]], 90)
    found[2].priority = 90
    assert [await spool.tries.before(recipient, 9) for recipient in found] == [3, 1, 0, 2]
    assert [await spool.tries.before(recipient, 2) for recipient in found] == [2, 1, 0, 2]
    await spool.close()


async def test_a_place_costs_no_more_than_what_is_counted(tmp_path):
    """However many are before it, in steps of SQLite's machine."""
    spool = Spool.open(tmp_path)
    (last,) = await accepted(spool)
    others = await accepted(spool, 400)
    await spool.set_priority(others[200:], 90)
    await defer(spool, last, 1000.0)
    await spool.close()
    look, steps = looking(tmp_path)
    assert await Tries(look).before(last, 10_000) == 400
    for_all = next(steps)
    assert await Tries(look).before(last, 5) == 5
    assert (next(steps) - for_all) * 10 < for_all


async def test_the_first_of_many_due_together_is_found_at_once(tmp_path):
    spool = Spool.open(tmp_path)
    first, *_ = await accepted(spool, 400)
    await spool.close()
    look, steps = looking(tmp_path)
    assert await Tries(look).before(first, 10_000) == 0
    assert next(steps) < 400  # a step for each of them would be more


def looking(tmp_path):
    """A way to ask a spool, and a count of the steps it took."""
    steps = itertools.count()

    async def look(question):
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
            connection.set_progress_handler(lambda: next(steps) < 0, 1)
            return question(connection)

    return look, steps
