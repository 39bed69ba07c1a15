import asyncio
import errno
import sqlite3
import threading

import pytest

from mta.errors import SpoolError, SpoolFullError
from mta.model.message import PRIORITY, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.spool import writer
from mta.spool.store import Spool

KEY = QueueKey("d.example", "v")


class Journaling:
    """A journal on a disk."""

    def __init__(self, journal, disk):
        self._journal = journal
        self.append = disk.append

    def __getattr__(self, name):
        return getattr(self._journal, name)


class Disk:
    """Stands before journal and connection; while it is full nothing can be committed."""

    def __init__(self, journal, connection):
        self._journal = journal
        self._connection = connection
        self.is_full = False
        self.is_full_for_database = False

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *parameters):
        if (self.is_full or self.is_full_for_database) and statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._connection.execute(statement, *parameters)

    def append(self, *arguments, **options):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._journal.append(*arguments, **options)


@pytest.fixture
async def spool(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    opened = Spool.open(tmp_path)
    writing = opened._writer._writer
    opened.disk = Disk(writing._journal, writing._connection)
    writing._connection = opened.disk
    monkeypatch.setattr(writing, "_journal", Journaling(writing._journal, opened.disk))
    yield opened
    opened.disk.is_full = opened.disk.is_full_for_database = False
    await opened.close()


def message(spool, key=KEY, mail_from="", number=None):
    number = number or spool.next_message_id()
    envelope = Envelope(message_id=number, mail_from=mail_from, time_queued=0, size=4, head_size=0)
    return envelope, b"hi\r\n", [Recipient(number << 16, envelope, "u@d.example", key, 0.0)]


async def accepted(spool):
    envelope, content, recipients = message(spool)
    await spool.accept(envelope, content, recipients)
    return recipients[0]


async def test_a_full_disk_refuses_new_mail(spool):
    await accepted(spool)
    spool.disk.is_full = True
    with pytest.raises(SpoolFullError):
        await accepted(spool)
    spool.disk.is_full = False
    await accepted(spool)
    assert (await spool.tally.counts()).messages == 2


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
    assert (await spool.tally.counts()).messages == 0


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


async def together(spool, *messages, before=lambda: None):
    """Have messages stored by one transaction; the error of each, None of those stored."""
    gathered = threading.Event()
    spool._change(lambda _: gathered.wait(10), about=())
    before()
    futures = [spool.begin_accept(*one) for one in messages]
    gathered.set()
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_of_a_batch_only_the_message_that_cannot_be_stored_is_refused(spool):
    """A number that is taken, octets that are no text, and content that is not there."""
    taken = (await accepted(spool)).envelope.message_id
    envelope, _, recipients = message(spool, QueueKey("gone.example", "v"))
    missing = FileContent(spool.spill_directory / "gone", 4)
    said = await together(
        spool,
        message(spool),
        message(spool, QueueKey("new.example", "v"), number=taken),
        message(spool, mail_from="\udcff@x.example"),
        message(spool, QueueKey("new.example", "v")),
        (envelope, missing, recipients),
        message(spool),
    )
    assert [type(one) for one in said] == [
        type(None), SpoolError, SpoolError, type(None), SpoolError, type(None)
    ]  # fmt: skip
    assert (await spool.tally.counts()).messages == 4
    assert {state.key.domain for state in await spool.queues()} == {"d.example", "new.example"}


async def test_a_change_that_cannot_be_made_holds_nothing_up(spool):
    recipient = await accepted(spool)

    def break_a_constraint(connection):
        connection.execute("INSERT INTO message VALUES (NULL, NULL, NULL)")

    changed = spool._change(break_a_constraint)
    settled = spool.settle([recipient], [], [])
    await accepted(spool)
    with pytest.raises(SpoolError, match="NOT NULL"):
        await changed
    await settled
    assert (await spool.tally.counts()).messages == 1


async def test_a_disk_that_is_full_for_the_database_takes_what_it_has_room_for(spool):
    """What is in the journal is safe there; who asks waits."""
    recipient = await accepted(spool)
    spool.disk.is_full_for_database = True
    page = asyncio.ensure_future(spool.due(KEY, PRIORITY, None, 10))
    moved = asyncio.ensure_future(spool.move([recipient], KEY, QueueKey("d.example", "w"), ""))
    for _ in range(20):  # Also behind what is held, and while that is tried again.
        with pytest.raises(SpoolFullError):
            await asyncio.wait_for(accepted(spool), 10)
        await asyncio.sleep(0)
    assert not page.done()
    assert not moved.done()
    spool.disk.is_full_for_database = False
    assert recipient.recipient_id in await asyncio.wait_for(moved, 10)
    assert recipient.recipient_id not in {r.recipient_id for r in (await page).recipients}


async def test_a_message_the_database_cannot_take_is_set_aside_and_holds_nothing_up(spool):
    said = []
    spool.log = said.append
    taken = await accepted(spool)
    await spool.priorities(KEY)  # Now it is in the database.
    envelope, _, recipients = message(spool, number=taken.envelope.message_id)
    await spool.accept(envelope, b"again\r\n", recipients)
    await accepted(spool)
    assert (await spool.tally.counts()).messages == 2
    assert "cannot be stored" in said[0]
    kept = {path.suffix: path.read_bytes() for path in (spool.directory / "damaged").iterdir()}
    assert kept[".eml"] == b"again\r\n"
    assert b'"message_id":' in kept[".envelope"]


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_a_recipient_that_comes_back_is_refused_until_it_is_gone_from_the_database(
    spool, is_flushed
):
    """It would be there twice for a moment, which the database does not take."""
    envelope, content, recipients = message(spool)
    staged = [(recipients[0].recipient_id, envelope.message_id, 1)]
    await spool.begin_accept(envelope, content, recipients, staged=staged)
    if is_flushed:
        await spool.priorities(KEY)

    def comes_back():
        return spool.begin_accept(envelope, content, recipients, parcel=envelope.message_id + 1)

    gathered = threading.Event()
    spool._change(lambda _: gathered.wait(10), about=())
    futures = [comes_back(), spool.settle(recipients, (), ()), comes_back()]
    gathered.set()
    said = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(one) for one in said] == [SpoolError, type(None), SpoolError]
    await spool.parcels.unstage(recipients)
    await comes_back()
    assert (await spool.tally.counts()) == (1, 1)
    assert (await spool.parcels.staged(1, 1)).last == 0
    assert not (spool.directory / "damaged").exists()


async def test_a_writer_that_fails_by_a_defect_says_so(spool, capsys):
    """Nobody would ever hear of what is asked of it."""
    failed = asyncio.Event()
    said = []
    spool.log, spool.on_failure = said.append, failed.set

    def defect():
        raise RuntimeError("a defect")

    spool._writer._writer._has_room = defect
    spool.begin_accept(*message(spool))
    await asyncio.wait_for(failed.wait(), 10)
    assert "RuntimeError('a defect') at test_spool_trouble.py" in said[0]
    assert "Traceback" in capsys.readouterr().err


async def test_a_question_that_fails_is_its_askers_alone(spool):
    with pytest.raises(SpoolError, match="unheard_of"):
        await spool._ask(lambda _: sqlite3.connect(None, unheard_of=1))
    await accepted(spool)
