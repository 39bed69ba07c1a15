"""Damaged spool files: found, kept aside and said, and the rest of the mail is still there."""

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3

import pytest

from mta import clock
from mta.errors import SpoolDamagedError, SpoolError
from mta.model.message import PRIORITY, Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool import journal, recovery, wal
from mta.spool.store import Spool

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

KEY = QueueKey("example.net", "vmta1")
CONTENT = b"Subject: x\r\n\r\n" + b"Lorem ipsum dolor sit amet.\r\n" * 100


async def accept(spool, count, *, in_journal=False):
    """Messages, each committed by itself."""
    for _ in range(count):
        number = spool.next_message_id()
        envelope = Envelope(
            message_id=number, mail_from="a@example.org", time_queued=1.0,
            size=len(CONTENT), head_size=14,
        )  # fmt: skip
        recipient = Recipient(number << 16, envelope, f"r{number}@example.net", KEY, 1.0)
        await spool.accept(envelope, CONTENT, [recipient])
        if not in_journal:
            await spool.priorities(KEY)  # A question has it in the database.


async def left_by_a_crash(tmp_path, *, in_journal):
    """The files of a spool with 60 messages, of which a crash left 40 where they say."""
    spool = Spool.open(tmp_path / "alive")
    await accept(spool, 20)
    await spool.close()
    spool = Spool.open(tmp_path / "alive")
    await accept(spool, 40, in_journal=in_journal)
    left = tmp_path / "left"
    left.mkdir()
    for name in ("spool.db", "spool.db-wal", journal.NAME):
        shutil.copyfile(tmp_path / "alive" / name, left / name)
    await spool.close()
    return left


@pytest.fixture
async def crashed(tmp_path):
    """40 messages are in the log of the database alone."""
    return await left_by_a_crash(tmp_path, in_journal=False)


@pytest.fixture
async def crashed_early(tmp_path):
    """40 messages are in the journal alone."""
    return await left_by_a_crash(tmp_path, in_journal=True)


class Opened:
    """What a spool holds after its files were damaged, and what was said about it.

    Damage that shows only while it is read has the next start salvage; here that comes at once.
    """

    def __init__(self, directory):
        self.directory = directory
        self.said = []

    async def __aenter__(self):
        try:
            await self._open()
        except SpoolError:
            await self.spool.close()
            await self._open()
        return self

    async def _open(self):
        self.spool = Spool.open(self.directory, log=self.said.append)
        (state,) = await self.spool.queues()
        self.waiting = state.recipients
        self.page = (await self.spool.due(KEY, PRIORITY, None, 1000)).recipients

    async def __aexit__(self, *_):
        await self.spool.close()


def damage(path, at, octets=b"\xff"):
    with path.open("r+b") as file:
        file.seek(at)
        was = file.read(len(octets))
        file.seek(at)
        file.write(bytes(one ^ other for one, other in zip(was, octets, strict=True)))


async def test_a_crash_alone_says_nothing_and_keeps_nothing_aside(crashed):
    async with Opened(crashed) as opened:
        assert len(opened.page) == opened.waiting == 60
        assert opened.said == []
    assert not (crashed / "damaged").exists()


def frames_at(crashed):
    """Where the frames of the journal begin."""
    octets = (crashed / journal.NAME).read_bytes()
    return list(journal._places(octets, journal.mark_of(crashed / journal.NAME)))


async def test_what_is_in_the_journal_alone_is_there_after_a_crash(crashed_early):
    assert len(frames_at(crashed_early)) == 40
    for _ in range(2):
        async with Opened(crashed_early) as opened:
            assert len(opened.page) == opened.waiting == 60
            assert opened.said == []


async def test_a_damaged_commit_in_the_journal_costs_no_other(crashed_early):
    places = frames_at(crashed_early)
    damage(crashed_early / journal.NAME, places[3] + journal.HEAD.size + 50)
    async with Opened(crashed_early) as opened:
        assert len(opened.page) == opened.waiting == 59
        (said,) = opened.said
        assert "the journal of the spool is damaged, 1 commits cannot be read" in said
        await accept(opened.spool, 1)
    (kept,) = (crashed_early / "damaged").iterdir()
    assert kept.name.endswith(journal.NAME)
    async with Opened(crashed_early) as opened:
        assert (opened.waiting, opened.said) == (60, [])


async def test_damaged_content_in_the_journal_bounces_like_any_other(crashed_early):
    places = frames_at(crashed_early)
    damage(crashed_early / journal.NAME, places[4] - 100)
    async with Opened(crashed_early) as opened:
        assert opened.waiting == 60
        with pytest.raises(SpoolDamagedError):
            for recipient in opened.page:
                await opened.spool.content(recipient.envelope)


@pytest.mark.parametrize("octets_left", [10, 60, 600, 2000])
async def test_a_commit_that_a_crash_cut_short_is_left_out(crashed_early, octets_left):
    """Nobody was answered yet, so whoever sent it sends it again."""
    with (crashed_early / journal.NAME).open("r+b") as file:
        file.truncate(frames_at(crashed_early)[-1] + octets_left)
    async with Opened(crashed_early) as opened:
        assert opened.waiting == 59
        assert (
            opened.said == [] if octets_left < journal.HEAD.size else "cut short" in opened.said[0]
        )
        await accept(opened.spool, 1)
    async with Opened(crashed_early) as opened:
        assert (opened.waiting, opened.said) == (60, [])


async def test_a_commit_whose_content_did_not_reach_the_disk_is_left_out(crashed_early):
    """Its text did: the disk writes in any order before a sync."""
    path = crashed_early / journal.NAME
    damage(path, path.stat().st_size - 100)
    async with Opened(crashed_early) as opened:
        assert opened.waiting == 59
        assert "cut short" in opened.said[0]


async def test_a_journal_whose_label_is_damaged_is_read_by_what_the_database_knows(crashed_early):
    damage(crashed_early / journal.NAME, 9)
    async with Opened(crashed_early) as opened:
        assert opened.waiting == 60
        assert "0 commits cannot be read" in opened.said[0]
        await accept(opened.spool, 1)
    async with Opened(crashed_early) as opened:
        assert (opened.waiting, opened.said) == (61, [])


async def test_content_cannot_pass_for_a_commit(tmp_path):
    """Behind a damaged frame the next is looked for; a sender who knows our format gets nowhere."""
    spool = Spool.open(tmp_path / "alive")
    await accept(spool, 1, in_journal=True)
    octets = (tmp_path / "alive" / journal.NAME).read_bytes()
    mark = journal.mark_of(tmp_path / "alive" / journal.NAME)
    (start,) = journal._places(octets, mark)
    _, generation, *_ = journal.HEAD.unpack_from(octets, start)
    text = octets[start + journal.HEAD.size : octets.rindex(CONTENT)]
    forged = journal._head(mark + 1, generation, 2, text, len(CONTENT)) + text + CONTENT
    number = spool.next_message_id()
    envelope = Envelope(
        message_id=number, mail_from="", time_queued=1.0, size=len(forged), head_size=0
    )
    recipient = Recipient(number << 16, envelope, "r@example.net", KEY, 1.0)
    await spool.accept(envelope, forged, [recipient])
    await accept(spool, 1, in_journal=True)
    left = tmp_path / "left"
    shutil.copytree(tmp_path / "alive", left)
    await spool.close()
    damage(left / journal.NAME, frames_at(left)[1] + journal.HEAD.size + 50)
    async with Opened(left) as opened:
        assert opened.waiting == 2
        assert forged not in [await opened.spool.content(r.envelope) for r in opened.page]


async def test_a_damaged_octet_in_the_log_does_not_hide_what_was_committed_after_it(crashed):
    log = wal.read(crashed / "spool.db-wal")
    early = log.frames[3]
    damage(crashed / "spool.db-wal", early.at + wal.FRAME_HEADER_OCTETS + log.page_octets - 100)
    async with Opened(crashed) as opened:
        assert opened.waiting >= 59
        assert "damaged in 1 of" in opened.said[1]
    assert [path.name[-len("spool.db-wal") :] for path in (crashed / "damaged").iterdir()] == [
        "spool.db-wal"
    ]


async def test_what_a_half_written_last_transaction_took_in_is_still_in_the_journal(crashed):
    path = crashed / "spool.db-wal"
    log = wal.read(path)
    with path.open("r+b") as file:
        file.truncate(log.frames[-1].at + 1000)
    async with Opened(crashed) as opened:
        assert opened.waiting == 60
        assert opened.said == []


async def test_a_truncated_database_gives_what_is_left_of_it(crashed):
    async with Opened(crashed):
        pass
    path = crashed / "spool.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 8 // 10)
    async with Opened(crashed) as opened:
        assert 5 <= opened.waiting < 60
        whole = 0
        for recipient in opened.page:
            # The last one may go over the end of what is left.
            with contextlib.suppress(SpoolDamagedError):
                assert await opened.spool.content(recipient.envelope) == CONTENT
                whole += 1
        assert whole >= opened.waiting - 1
        told = "\n".join(opened.said)
        assert f"salvaged {opened.waiting} messages, {opened.waiting} recipients" in told
    assert len(list((crashed / "damaged").glob("*/spool.db"))) == 1


async def test_no_message_number_is_used_again_after_a_salvage(crashed):
    async with Opened(crashed) as opened:
        last = max(recipient.envelope.message_id for recipient in opened.page)
    path = crashed / "spool.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 8 // 10)
    async with Opened(crashed) as opened:
        assert opened.spool.next_message_id() > last


@pytest.mark.parametrize("seed", range(int(os.environ.get("PETREL_SEEDS", "12"))))
async def test_whatever_octets_are_wrong_the_spool_opens_and_invents_nothing(crashed, seed):
    rng = random.Random(seed)
    async with Opened(crashed) as opened:
        good = {r.recipient_id: r.address for r in opened.page}
        await opened.spool.tally.counts()
    path = crashed / "spool.db"
    for _ in range(rng.randint(1, 8)):
        damage(path, rng.randrange(100, path.stat().st_size), bytes([rng.randint(1, 255)]))
    async with Opened(crashed) as opened:
        assert opened.waiting >= 30
        assert {r.recipient_id: r.address for r in opened.page}.items() <= good.items()


async def test_damage_found_while_in_use_has_the_next_start_salvage(crashed):
    """Otherwise a start that finds nothing wrong would run into it again and again."""
    async with Opened(crashed) as opened:
        told = asyncio.Event()
        opened.spool.on_damage = told.set
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT

        def fail(connection):
            raise error

        with pytest.raises(SpoolError):
            await opened.spool._ask(fail)
        await asyncio.wait_for(told.wait(), 10)
    async with Opened(crashed) as opened:
        assert opened.waiting == 60
        assert any("salvaged 60 messages" in line for line in opened.said)
    async with Opened(crashed) as opened:
        assert opened.said == []


@pytest.mark.parametrize("at", [16, 120, 300, 9000, 16000])
async def test_a_damaged_first_page_costs_nothing_else(crashed, at):
    async with Opened(crashed):
        pass
    damage(crashed / "spool.db", at, b"\xff" * 40)
    async with Opened(crashed) as opened:
        assert opened.waiting == 60


async def test_two_salvages_within_a_second_are_two(crashed, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: 1_000_000_000.0)
    for times in (1, 2):
        recovery.want_salvage(crashed / "spool.db")
        async with Opened(crashed) as opened:
            assert any("salvaged 60 messages" in line for line in opened.said)
        assert len(list((crashed / "damaged").glob("*/spool.db"))) == times


LOST = {
    "nothing": "SELECT 1",
    "its row": "DELETE FROM queue WHERE domain = '{gathering}'",
    "its name": "UPDATE queue SET domain = 'gone.example' WHERE domain = '{gathering}'",
    "its number, as earlier programs chose it":
        "UPDATE recipient SET queue = 9 WHERE queue = 0; UPDATE queue SET id = 9 WHERE id = 0",
}  # fmt: skip


@pytest.mark.parametrize("is_salvaged", [True, False])
@pytest.mark.parametrize("lost", LOST)
async def test_of_a_mail_merge_that_was_not_accepted_damage_lets_nothing_go(
    tmp_path, lost, is_salvaged
):
    for _ in range(2):  # What it is told by is made again.
        spool = Spool.open(tmp_path)
        for _ in range(3):
            number = spool.next_message_id()
            envelope = Envelope(
                message_id=number, mail_from="a@example.org", time_queued=1.0,
                size=len(CONTENT), head_size=14,
            )  # fmt: skip
            recipient = Recipient(number << 16, envelope, f"m{number}@example.net", KEY, 1.0)
            await spool.begin_gathered(envelope, CONTENT, [recipient])
        await accept(spool, 3)
        await spool.close()
        with contextlib.closing(sqlite3.connect(tmp_path / "spool.db")) as database:
            (hidden,) = database.execute(
                "SELECT COUNT(*) FROM recipient WHERE address LIKE 'm%'"
            ).fetchone()
            assert hidden == 3
            database.executescript(LOST[lost])
        if is_salvaged:
            recovery.want_salvage(tmp_path / "spool.db")
        async with Opened(tmp_path) as opened:
            assert {recipient.address[0] for recipient in opened.page} == {"r"}
            told = "3 messages of mail merges that were not accepted yet are removed"
            assert (told in opened.said) is is_salvaged
    assert len(opened.page) == 6


@pytest.mark.parametrize("killed_before", ["rename", "replace", "unlink"])
async def test_a_crash_in_the_middle_of_a_salvage_costs_nothing(
    crashed, monkeypatch, killed_before
):
    async with Opened(crashed):
        pass
    path = crashed / "spool.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 8 // 10)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(type(path), killed_before, killed)
        recovery.opened(path, lambda _: None)
    async with Opened(crashed) as opened:
        assert opened.waiting > 5
    assert not (crashed / recovery.SALVAGE_WANTED).exists()
