"""What waits is counted as it comes and goes: always what the tables hold."""

import random
import sqlite3
from contextlib import closing

import pytest

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool.query import RecipientQuery
from mta.spool.store import Spool

KEY = QueueKey("d.example", "v")


async def accept(spool, count):
    number = spool.next_message_id()
    envelope = Envelope(message_id=number, mail_from="", time_queued=0, size=4, head_size=0)
    found = [
        Recipient(number << 16 | i, envelope, f"u{i}@d.example", KEY, 0.0) for i in range(count)
    ]
    await spool.accept(envelope, b"hi\r\n", found)
    return found


def in_tables(tmp_path):
    with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
        return tuple(
            connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            for table in ("message", "recipient")
        )


@pytest.mark.parametrize("asked_first", [True, False])
async def test_it_is_what_the_tables_hold(tmp_path, asked_first):
    dice = random.Random(1)
    spool = Spool.open(tmp_path)
    waiting = [one for _ in range(5) for one in await accept(spool, 3)]
    await spool.close()
    spool = Spool.open(tmp_path)
    if asked_first:
        assert await spool.tally.counts() == (5, 15)
    for _ in range(20):
        waiting += await accept(spool, dice.randrange(1, 4))
        dice.shuffle(waiting)
        done = [waiting.pop() for _ in range(dice.randrange(3))]
        await spool.settle(done, (), ())
        if dice.random() < 0.5 or not asked_first:
            assert await spool.tally.counts() == in_tables(tmp_path)
    gone = await spool.find(RecipientQuery(address="u0@*"), 5)
    await spool.settle(gone, (), ())
    assert await spool.tally.counts() == in_tables(tmp_path)
    await spool.close()


async def of_job(spool, job_id, sizes):
    """Messages of a job, of those sizes, to two recipients each."""
    for size in sizes:
        number = spool.next_message_id()
        envelope = Envelope(
            message_id=number, mail_from="", time_queued=0, size=size, head_size=0, job_id=job_id
        )
        found = [
            Recipient(number << 16 | i, envelope, f"u{i}@d.example", KEY, 0.0) for i in range(2)
        ]
        await spool.accept(envelope, b"x" * size, found)
    return found


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "autumn"), ("rcpt", "spring"), ("size", "winter")]
)
async def test_jobs_are_summed_and_sorted(tmp_path, sort, first):
    spool = Spool.open(tmp_path)
    await of_job(spool, "spring", [10, 10, 10])
    await of_job(spool, "winter", [1000])
    last = await of_job(spool, "autumn", [10, 10])
    await accept(spool, 3)
    found, total = await spool.tally.jobs(sort, 10)
    assert sorted(found) == [("autumn", 4, 40), ("spring", 6, 60), ("winter", 2, 2000)]
    assert (found[0].job_id, total) == (first, 3)
    assert await spool.tally.jobs(sort, 1) == (found[:1], 3)
    await spool.settle(last, (), ())
    assert ("autumn", 2, 20) in (await spool.tally.jobs(sort, 10))[0]
    await spool.close()


async def test_a_damaged_message_does_not_hide_the_jobs_of_others(tmp_path):
    spool = Spool.open(tmp_path)
    (damaged, *_) = await of_job(spool, "autumn", [10])
    await of_job(spool, "spring", [10])
    number = damaged.recipient_id >> 16

    def damage(connection):
        connection.execute("UPDATE message SET envelope = '{\"job' WHERE id = ?", (number,))

    await spool._change(damage)
    assert await spool.tally.jobs("name", 10) == ([("spring", 2, 20)], 1)
    await spool.close()


async def test_without_jobs_there_are_none(tmp_path):
    spool = Spool.open(tmp_path)
    await accept(spool, 3)
    assert await spool.tally.jobs("name", 10) == ([], 0)
    await spool.close()


async def test_what_was_rolled_back_was_never_there(tmp_path):
    spool = Spool.open(tmp_path)
    await accept(spool, 2)

    def breaks(connection):
        connection.execute("DELETE FROM recipient")
        raise ValueError

    with pytest.raises(Exception, match="ValueError"):
        await spool._change(breaks)
    assert await spool.tally.counts() == (1, 2)
    await spool.close()


async def test_it_counts_once_however_much_waits(tmp_path):
    spool = Spool.open(tmp_path)
    await accept(spool, 300)
    assert await spool.tally.counts() == (1, 300)
    steps = 0

    def count_step():
        nonlocal steps
        steps += 1

    await spool._ask(lambda connection: connection.set_progress_handler(count_step, 1))
    assert await spool.tally.counts() == (1, 300)
    await spool.close()
    assert 0 < steps < 100
