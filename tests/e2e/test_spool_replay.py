"""What the journal has comes to the database once, however the disk and the last life ended."""

import os
import shutil
import sqlite3

import pytest

from mta.model.message import PRIORITY, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.spool import journal, pending, replay, schema
from mta.spool.shards import content_path
from mta.spool.store import Spool

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

KEY = QueueKey("example.net", "v")
CONTENT = b"Subject: x\r\n\r\nhello\r\n"


async def accept(spool, content=CONTENT):
    number = spool.next_message_id()
    size = content.size if isinstance(content, FileContent) else len(content)
    envelope = Envelope(message_id=number, mail_from="", time_queued=1.0, size=size, head_size=14)
    recipient = Recipient(number << 16, envelope, f"r{number}@example.net", KEY, 1.0)
    await spool.accept(envelope, content, [recipient])
    return recipient


async def large(spool, octets=b"large\r\n"):
    """A message whose content is a file, and that file."""
    path = spool.spill_directory / "spilled"
    path.write_bytes(octets)
    recipient = await accept(spool, FileContent(path, len(octets)))
    return recipient, content_path(spool.directory, recipient.envelope.message_id)


async def waiting(directory, said=None):
    """The addresses that wait, and what was said at the start."""
    spool = Spool.open(directory, log=(said if said is not None else []).append)
    try:
        page = await spool.due(KEY, PRIORITY, None, 100)
        return [one.address for one in page.recipients]
    finally:
        await spool.close()


async def test_a_commit_that_failed_and_comes_back_hides_nothing_after_it(tmp_path):
    """The sync of the database failed, and the disk had it all the same."""
    alive, left = tmp_path / "alive", tmp_path / "left"
    spool = Spool.open(alive)
    before = [await accept(spool) for _ in range(3)]
    done = before.pop()
    left.mkdir()
    for name in ("spool.db", "spool.db-wal", journal.NAME):
        shutil.copyfile(alive / name, left / name)
    await waiting(left)  # Now the database of the copy has what was in the journal.
    await spool.settle([done], [], [])
    after = [await accept(spool) for _ in range(2)]
    shutil.copyfile(alive / journal.NAME, left / journal.NAME)
    await spool.close()
    expected = [one.address for one in (*before, *after)]
    assert await waiting(left) == expected
    assert await waiting(left) == expected


async def test_a_spool_that_did_not_count_frames_has_all_of_them(tmp_path):
    """As those have it that were written before they were counted."""
    spool = Spool.open(tmp_path)
    there, done = [await accept(spool) for _ in range(2)]
    await spool.close()
    spool = Spool.open(tmp_path)
    await spool.settle([done], [], [])
    await spool.priorities(KEY)
    await spool.close()
    with sqlite3.connect(tmp_path / "spool.db") as connection:
        connection.execute("DELETE FROM counter WHERE name = ?", (pending.JOURNAL_FRAMES,))
    connection.close()
    for _ in range(2):
        assert await waiting(tmp_path) == [there.address]


async def test_a_start_on_a_full_disk_says_so_and_salvages_nothing(tmp_path):
    alive, left = tmp_path / "alive", tmp_path / "left"
    spool = Spool.open(alive)
    recipient = await accept(spool, b"Subject: x\r\n\r\n" + b"x" * 3_000_000)
    left.mkdir()
    for name in ("spool.db", "spool.db-wal", journal.NAME):
        shutil.copyfile(alive / name, left / name)
    await spool.close()
    connection = schema.connect(str(left / "spool.db"))
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        replay.replay(left, connection, print)
    connection.close()
    said = []
    assert await waiting(left, said) == [recipient.address]
    assert said == []


async def test_a_journal_that_is_damaged_is_kept_though_the_start_is_killed(tmp_path, monkeypatch):
    alive, left = tmp_path / "alive", tmp_path / "left"
    spool = Spool.open(alive)
    await accept(spool)
    lost = await accept(spool)
    there = await accept(spool)
    left.mkdir()
    for name in ("spool.db", "spool.db-wal", journal.NAME):
        shutil.copyfile(alive / name, left / name)
    await spool.close()
    octets = bytearray((left / journal.NAME).read_bytes())
    octets[octets.index(lost.address.encode())] ^= 0xFF
    (left / journal.NAME).write_bytes(octets)

    class KilledError(BaseException):
        pass

    def killed(point):
        if point == "apply.after-commit":
            raise KilledError

    connection = schema.connect(str(left / "spool.db"))
    with monkeypatch.context() as failing, pytest.raises(KilledError):
        failing.setattr(replay.failpoints, "reach", killed)
        replay.replay(left, connection, print)
    connection.close()
    assert there.address in await waiting(left)
    spool = Spool.open(left)
    await accept(spool)
    await spool.close()
    (kept,) = (left / "damaged").iterdir()
    assert kept.read_bytes() == octets


async def test_a_file_that_cannot_be_removed_fails_nothing(tmp_path):
    spool = Spool.open(tmp_path)
    said = []
    spool.log = said.append
    recipient, path = await large(spool)
    path.unlink()
    path.mkdir()  # nobody can unlink that
    try:
        await spool.settle([recipient], [], [])
        assert (await spool.tally.counts()).messages == 0
        await accept(spool)
        assert said == []
    finally:
        path.rmdir()
        await spool.close()


async def test_a_file_goes_after_what_says_so_is_on_disk(tmp_path, monkeypatch):
    """Else a power failure could leave a recipient without the content."""
    spool = Spool.open(tmp_path, sync_update=False)
    recipient, path = await large(spool)
    was_there = []
    fdatasync = os.fdatasync

    def noting(descriptor):
        was_there.append(path.exists())
        fdatasync(descriptor)

    monkeypatch.setattr(journal.os, "fdatasync", noting)
    await spool.settle([recipient], [], [])
    assert was_there == [True]
    assert not path.exists()
    await spool.close()


async def test_a_number_is_reserved_on_the_disk_whatever_need_not_be(tmp_path):
    """Another worker that has it would take a new message of that number for the old one."""
    spool = Spool.open(tmp_path, sync_update=False)
    await spool.save_queue(KEY, paused=True, retry_position=0)  # not synced
    said = []
    spool._writer._writer._connection.set_trace_callback(said.append)
    while not any("'message'" in one for one in said):
        spool.next_message_id()
        if spool.numbers._asked > spool.numbers._reserved:
            await spool._ask(lambda _: None)
    await spool.close()
    reserved = next(number for number, one in enumerate(said) if "'message'" in one)
    assert "PRAGMA synchronous=FULL" in said[:reserved]
