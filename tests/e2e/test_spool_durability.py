"""The spool: what it accepted is there after a restart, and only what still waits."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mta.errors import SpoolError
from mta.model.message import PRIORITY, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool.query import RecipientQuery
from mta.spool.store import Spool

KEY = QueueKey("example.net", "vmta1")


def message(spool, *, recipients=1, due=1.0, content=b"Subject: x\r\n\r\nbody\r\n", **values):
    number = spool.next_message_id()
    envelope = Envelope(
        message_id=number,
        mail_from="a@example.org",
        time_queued=due,
        size=len(content) if isinstance(content, bytes) else content.size,
        head_size=14,
        **values,
    )
    found = [
        Recipient(number << 16 | i, envelope, f"r{i}@x.y", KEY, due) for i in range(recipients)
    ]
    return envelope, content, found


async def reopened(spool):
    await spool.close()
    return Spool.open(spool.directory)


async def test_what_was_accepted_is_there_after_a_restart(tmp_path):
    spool = Spool.open(tmp_path / "spool")
    envelope, content, recipients = message(
        spool, recipients=3, job_id="j", remove_fields=("x-job",), acct_headers={"from": "é"}
    )
    await spool.accept(envelope, content, recipients, [Record("r", {"rcpt": "x"})])
    spool = await reopened(spool)
    try:
        (state,) = await spool.queues()
        assert (state.key, state.recipients, state.octets) == (KEY, 3, 3 * len(content))
        page = await spool.due(KEY, PRIORITY, None, 10)
        assert page.is_last
        assert [r.address for r in page.recipients] == ["r0@x.y", "r1@x.y", "r2@x.y"]
        assert page.recipients[0].envelope == envelope
        assert await spool.content(envelope) == content
        assert await spool.outbox.pending() == [(1, [Record("r", {"rcpt": "x"})])]
        assert spool.next_message_id() > envelope.message_id
    finally:
        await spool.close()


async def test_a_message_goes_with_its_last_recipient(tmp_path):
    spool = Spool.open(tmp_path)
    try:
        envelope, content, recipients = message(spool, recipients=2)
        await spool.accept(envelope, content, recipients)
        await spool.settle(recipients[:1], (), [])
        assert await spool.tally.counts() == (1, 1)
        recipients[1].due, recipients[1].attempts = 99.0, 1
        await spool.settle((), recipients[1:], [])
        found = await spool.message(envelope.message_id)
        assert [(r.due, r.attempts) for r in found[1]] == [(99.0, 1)]
        await spool.settle(recipients[1:], (), [])
        assert await spool.tally.counts() == (0, 0)
        assert await spool.message(envelope.message_id) is None
    finally:
        await spool.close()


async def test_pages_follow_the_order_of_due_and_id(tmp_path):
    spool = Spool.open(tmp_path)
    try:
        for due in (5.0, 1.0, 3.0, 3.0):
            await spool.accept(*message(spool, due=due))
        first = await spool.due(KEY, PRIORITY, None, 3)
        assert [r.due for r in first.recipients] == [1.0, 3.0, 3.0]
        assert not first.is_last
        last = first.recipients[-1]
        rest = await spool.due(KEY, PRIORITY, (last.due, last.recipient_id), 3)
        assert [r.due for r in rest.recipients] == [5.0]
        assert rest.is_last
    finally:
        await spool.close()


async def test_large_content_is_a_file_that_goes_with_the_message(tmp_path):
    spool = Spool.open(tmp_path)
    path = spool.spill_directory / "one"
    path.write_bytes(b"x" * 1000)
    try:
        envelope, _, recipients = message(spool, content=FileContent(path, 1000))
        await spool.accept(envelope, FileContent(path, 1000), recipients)
        assert not path.exists()
        kept = await spool.content(envelope)
        assert kept.path.read_bytes() == b"x" * 1000
        await spool.settle(recipients, (), [])
        await spool.queues()  # The database has heard of it.
        assert not kept.path.exists()
    finally:
        await spool.close()


async def test_files_that_belong_to_nothing_are_removed_at_start(tmp_path):
    spool = Spool.open(tmp_path)
    await spool.close()
    orphan = tmp_path / "content" / "40" / "0000000020"
    orphan.parent.mkdir()
    orphan.write_bytes(b"x")
    (tmp_path / "incoming" / "half").write_bytes(b"x")
    spool = Spool.open(tmp_path)
    await spool.close()
    assert not orphan.exists()
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_pause_and_retry_position_outlive_a_restart(tmp_path):
    spool = Spool.open(tmp_path)
    await spool.save_queue(KEY, paused=True, retry_position=2)
    spool = await reopened(spool)
    try:
        (state,) = await spool.queues()
        assert (state.key, state.recipients, state.paused, state.retry_position) == (
            KEY,
            0,
            True,
            2,
        )
    finally:
        await spool.close()


async def test_operators_find_recipients_by_pattern(tmp_path):
    spool = Spool.open(tmp_path)
    try:
        for job in ("news-1", "News-2", "receipts"):
            await spool.accept(*message(spool, job_id=job))
        found = await spool.find(RecipientQuery(job_id="news-*"), 10)
        assert sorted(r.envelope.job_id for r in found) == ["News-2", "news-1"]
        assert len(await spool.find(RecipientQuery(domain="example.*"), 2)) == 2
        assert await spool.find(RecipientQuery(mail_from="<>"), 10) == []
        assert len(await spool.find(RecipientQuery(queued_before=1.0), 10)) == 3
    finally:
        await spool.close()


async def test_a_second_process_is_refused_by_name(tmp_path):
    spool = Spool.open(tmp_path)
    try:
        with pytest.raises(SpoolError, match=f"in use by process {os.getpid()}"):
            Spool.open(tmp_path)
    finally:
        await spool.close()


async def test_a_file_that_is_no_database_is_a_clear_error(tmp_path):
    (tmp_path / "spool.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(SpoolError, match="cannot be opened"):
        Spool.open(tmp_path)


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from mta.spool.store import Spool
from mta.model.message import PRIORITY, Envelope, Recipient
from mta.model.queue_key import QueueKey

async def main():
    spool = Spool.open(Path(sys.argv[1]))
    async def one():
        n = spool.next_message_id()
        e = Envelope(message_id=n, mail_from="a@b", time_queued=1.0, size=5000, head_size=2)
        await spool.accept(e, b"x" * 5000, [Recipient(n << 16, e, "r@x", QueueKey("x", "v"), 1.0)])
        print(n, flush=True)
    while True:
        await asyncio.gather(*(one() for _ in range(20)))

asyncio.run(main())
"""


@pytest.mark.parametrize("failpoint", ["spool.before-commit:7", "spool.after-commit:7"])
async def test_no_message_acknowledged_is_lost_when_killed(tmp_path, failpoint):
    root = str(Path(__file__).parents[2])
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(root=root), str(tmp_path)],
        env={**os.environ, "PETREL_FAILPOINT": failpoint},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    acknowledged = {int(line) for line in child.stdout.split()}
    assert len(acknowledged) >= 20
    spool = Spool.open(tmp_path)
    try:
        page = await spool.due(QueueKey("x", "v"), PRIORITY, None, 100_000)
        stored = {r.envelope.message_id for r in page.recipients}
        assert acknowledged <= stored
        assert len(stored - acknowledged) <= 20
        assert spool.next_message_id() not in stored
    finally:
        await spool.close()


async def test_a_spool_of_the_first_version_opens_and_has_the_usual_priority(tmp_path):
    spool = Spool.open(tmp_path)
    envelope, content, recipients = message(spool, recipients=2)
    await spool.accept(envelope, content, recipients)
    await spool.close()
    with closing(sqlite3.connect(tmp_path / "spool.db")) as old:
        old.executescript(
            "DROP INDEX recipient_due; ALTER TABLE recipient DROP COLUMN priority;"
            "ALTER TABLE recipient DROP COLUMN sum;"
            "CREATE INDEX recipient_due ON recipient (queue, due, id, size);"
            "PRAGMA user_version=1;"
        )
    spool = Spool.open(tmp_path)
    try:
        page = await spool.due(KEY, PRIORITY, None, 10)
        assert [(r.address, r.priority) for r in page.recipients] == [
            ("r0@x.y", 50),
            ("r1@x.y", 50),
        ]
    finally:
        await spool.close()


async def test_a_priority_is_kept_and_each_is_read_by_itself(tmp_path):
    spool = Spool.open(tmp_path)
    for priority in (50, 90, 0, 90):
        envelope, content, recipients = message(spool)
        recipients[0].priority = priority
        await spool.accept(envelope, content, recipients)
    spool = await reopened(spool)
    try:
        assert await spool.priorities(KEY) == [90, 50, 0]
        high = (await spool.due(KEY, 90, None, 10)).recipients
        assert [r.priority for r in high] == [90, 90]
        await spool.set_priority(high, 0)
        assert await spool.priorities(KEY) == [50, 0]
        (state,) = await spool.queues()
        assert state.recipients == 4
        assert await spool.priorities(QueueKey("no.such", "v")) == []
    finally:
        await spool.close()


async def test_a_number_is_never_given_out_again_though_nothing_of_it_was_committed(tmp_path):
    """Another shard may have taken the message before this one died, and would know its number."""
    spool = Spool.open(tmp_path / "alive")
    try:
        given = [spool.next_message_id() for _ in range(3)]
        assert all(map(spool.numbers.is_reserved, given))
        shutil.copytree(tmp_path / "alive", tmp_path / "left")
        while spool.numbers.is_reserved(late := spool.next_message_id()):
            pass
        await spool.priorities(KEY)  # Behind what was asked before.
        assert spool.numbers.is_reserved(late)
    finally:
        await spool.close()
    again = Spool.open(tmp_path / "left")
    assert again.next_message_id() not in given
    await again.close()
