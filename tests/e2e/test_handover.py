"""Mail reaches the shard that owns its queue once, whoever is down, slow or asks again."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from zlib import crc32

import pytest

from mta.daemon import partition
from mta.daemon.handover import Handover
from mta.daemon.parcel_wire import ACK, Fate, Kind, frame, parcel_frame
from mta.daemon.takeover import SOCKET_NAME, Takeover
from mta.daemon.together import Together
from mta.errors import SpoolDamagedError, SpoolError, SpoolFullError
from mta.model.message import Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool.shards import shard_directory
from mta.spool.store import Spool

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
CONTENT = b"Subject: x\r\n\r\nbody\r\n"
MINE, YOURS = (
    next(
        key
        for key in (QueueKey(f"d{number}.example", "v") for number in range(100))
        if partition.owner(key, 2) == shard
    )
    for shard in (0, 1)
)


class Pair:
    """Two shards in one process; the first accepts, the second may be there or not."""

    def __init__(self, root) -> None:
        self.root = root
        self.arrived: list[Recipient] = []
        self.sender = Spool.open(root, shard=0)
        self.said: list[str] = []
        self.given_up: list[Recipient] = []
        self.handover = Handover(self.sender, root, shard=0, shards=2, log=self.said.append)
        self.handover.begin(self.give_up)
        self.link = self.handover.links[1]

    def give_up(self, recipients, why) -> None:
        self.given_up += recipients
        self.sender.settle(recipients, (), ()).add_done_callback(lambda done: done.result())

    @contextlib.asynccontextmanager
    async def owner(self, min_free: int = 0) -> AsyncIterator[Spool]:
        spool = Spool.open(shard_directory(self.root, 1), shard=1, min_free=min_free)
        takeover = Takeover(
            spool,
            inbox=lambda recipients, _: self.arrived.extend(recipients),
            records_inbox=None,
            shards=2,
            log=print,
        )
        try:
            async with takeover:
                await until(lambda: self.link.is_up)
                yield spool
        finally:
            await spool.close()
        await until(lambda: not self.link.is_up)

    def message(self, *queues: QueueKey, content=CONTENT):
        number = self.sender.next_message_id()
        size = content.size if isinstance(content, FileContent) else len(content)
        envelope = Envelope(
            message_id=number, mail_from="a@example.org", time_queued=1.0, size=size, head_size=14
        )
        recipients = [
            Recipient(number << 16 | i, envelope, f"r{i}@é.y", key, 1.0)
            for i, key in enumerate(queues)
        ]
        return envelope, content, recipients, [Record("r", {"rcpt": "é"})]


@pytest.fixture
async def pair(tmp_path):
    one = Pair(tmp_path)
    async with one.handover:
        yield one
    await one.sender.close()


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def numbers(spool, key=YOURS):
    return [r.recipient_id for r in (await spool.due(key, 50, None, 100)).recipients]


async def test_a_message_for_one_owner_is_written_there_only(pair):
    async with pair.owner() as owner:
        envelope, content, recipients, records = pair.message(YOURS, YOURS)
        await pair.handover.accept(envelope, content, recipients, records)
        assert await numbers(owner) == [r.recipient_id for r in recipients]
        assert (await owner.message(envelope.message_id))[0] == envelope
        assert await owner.content(envelope) == CONTENT
        assert await owner.outbox.pending() == [(1, records)]
        assert [r.address for r in pair.arrived] == ["r0@é.y", "r1@é.y"]
        assert await pair.sender.tally.counts() == (0, 0)


async def test_a_message_of_two_owners_is_accepted_whole_and_each_gets_its_part(pair):
    async with pair.owner() as owner:
        envelope, content, recipients, records = pair.message(MINE, YOURS, MINE)
        await pair.handover.accept(envelope, content, recipients, records)
        await until(lambda: pair.arrived)
        assert await numbers(owner) == [recipients[1].recipient_id]
        while await numbers(pair.sender):
            await asyncio.sleep(0.005)
        assert len(await numbers(pair.sender, MINE)) == 2
        assert await owner.outbox.pending() == []
        assert await pair.sender.outbox.pending() == [(1, records)]


async def test_mail_for_an_owner_that_is_down_is_accepted_and_goes_when_it_is_up(pair):
    envelope, content, recipients, records = pair.message(YOURS)
    await pair.handover.accept(envelope, content, recipients, records)
    assert await numbers(pair.sender) == [recipients[0].recipient_id]
    async with pair.owner() as owner:
        await until(lambda: pair.arrived)
        assert await numbers(owner) == [recipients[0].recipient_id]
        while (await pair.sender.tally.counts()).messages:
            await asyncio.sleep(0.005)
    assert len(pair.arrived) == 1


async def test_messages_that_belong_together_go_when_they_are_released(pair):
    messages = [pair.message(key) for key in (YOURS, MINE, YOURS)]
    async with pair.owner() as owner:
        await asyncio.gather(*(pair.handover.begin_together(*one) for one in messages))
        assert await pair.sender.tally.counts() == (3, 3)
        assert await numbers(owner) == []
        pair.handover.release()
        await until(lambda: len(pair.arrived) == 2)
        assert len(await numbers(owner)) == 2
        while (await pair.sender.tally.counts()).messages > 1:
            await asyncio.sleep(0.005)
        assert len(await numbers(pair.sender, MINE)) == 1


async def test_what_was_gathered_goes_when_all_is_let_go(pair):
    together = Together(pair.sender, pair.handover)
    messages = [pair.message(key) for key in (YOURS, MINE, YOURS, YOURS)]
    recipients = [one for _, _, some, _ in messages for one in some]
    async with pair.owner() as owner:
        await asyncio.gather(*(together.gather(*one[:3]) for one in messages))
        await pair.handover.accept(*pair.message(MINE, YOURS))  # Others wake the link.
        await until(lambda: pair.arrived)
        assert await numbers(pair.sender) == []
        assert len(await numbers(pair.sender, MINE)) == len(await numbers(owner)) == 1
        together.forget(recipients[3:])
        there = await together.let_go(recipients[:3])
        assert there == {one.recipient_id for one in recipients[:3]}
        await until(lambda: len(pair.arrived) == 3)
        while (await pair.sender.tally.counts()).recipients > 2:
            await asyncio.sleep(0.005)
        assert len(await numbers(pair.sender, MINE)) == 2
        assert await owner.content(messages[2][0]) == CONTENT


async def test_staged_mail_goes_although_the_spool_could_not_be_read_once(pair, monkeypatch):
    monkeypatch.setattr("mta.daemon.handover.RETRY_S", 0.01)
    staged, failures = pair.sender.parcels.staged, []

    async def unreadable_once(owner, limit, after=0):
        if not failures:
            failures.append(owner)
            raise SpoolError("the spool cannot be read")
        return await staged(owner, limit, after)

    monkeypatch.setattr(pair.sender.parcels, "staged", unreadable_once)
    await pair.handover.accept(*pair.message(YOURS))
    async with pair.owner():
        await until(lambda: pair.arrived)
    assert failures


async def test_a_parcel_that_comes_again_after_it_was_settled_is_not_taken_twice(pair):
    async with pair.owner() as owner:
        envelope, content, recipients, _ = pair.message(YOURS)
        await pair.handover.accept(envelope, content, recipients, [])
        await owner.settle(pair.arrived, (), ())
    async with pair.owner() as owner:
        path = str(owner.directory / SOCKET_NAME)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(frame(Kind.HELLO, 0, b'{"shard": 0, "shards": 2}'))
        again = parcel_frame(envelope.message_id, envelope, content, recipients, [])
        writer.write(again + again)
        for _ in range(2):
            acknowledged = ACK.unpack(await reader.readexactly(ACK.size))
            assert acknowledged == (Fate.TAKEN, envelope.message_id)
        writer.write(frame(Kind.FORGET, envelope.message_id + 1))
        writer.close()
        assert await numbers(owner) == []
        while await owner.parcels.taken():
            await asyncio.sleep(0.005)
    assert len(pair.arrived) == 1


async def test_who_loses_the_owner_while_waiting_stages_the_message(pair):
    silent = []
    server = await asyncio.start_unix_server(
        lambda _, writer: silent.append(writer), make_directory(pair.root) / SOCKET_NAME
    )
    await until(lambda: pair.link.is_up)
    envelope, content, recipients, _ = pair.message(YOURS)
    accepting = asyncio.create_task(pair.handover.accept(envelope, content, recipients, []))
    await until(lambda: silent)
    server.close()
    for writer in silent:
        writer.close()
    await accepting
    assert await numbers(pair.sender) == [recipients[0].recipient_id]
    async with pair.owner() as owner:
        await until(lambda: pair.arrived)
        assert await numbers(owner) == [recipients[0].recipient_id]


def make_directory(root):
    directory = shard_directory(root, 1)
    directory.mkdir()
    return directory


async def test_a_full_disk_of_the_owner_is_said_to_the_submitter(pair):
    async with pair.owner(min_free=1 << 60):
        envelope, content, recipients, _ = pair.message(YOURS)
        with pytest.raises(SpoolFullError):
            await pair.handover.accept(envelope, content, recipients, [])
        assert await pair.sender.tally.counts() == (0, 0)
        assert pair.arrived == []


async def test_large_content_gets_a_second_name_and_no_second_copy(pair):
    for queues in ((YOURS,), (MINE, YOURS)):
        path = pair.sender.spill_directory / "large"
        path.write_bytes(CONTENT * 1000)
        inode = path.stat().st_ino
        async with pair.owner() as owner:
            pair.arrived.clear()
            content = FileContent(path, path.stat().st_size, crc32(path.read_bytes()))
            envelope, _, recipients, _ = pair.message(*queues, content=content)
            await pair.handover.accept(envelope, content, recipients, [])
            await until(lambda: pair.arrived)
            path.unlink(missing_ok=True)
            kept = await owner.content(envelope)
            assert kept.crc == content.crc
            assert kept.path.is_relative_to(owner.directory)
            assert kept.path.stat().st_ino == inode
            assert kept.path.read_bytes() == CONTENT * 1000
            assert list(owner.spill_directory.iterdir()) == []
            with kept.path.open("r+b") as file:
                file.write(b"s")
            with pytest.raises(SpoolDamagedError):
                await owner.content(envelope)
            await owner.settle(pair.arrived, (), ())


async def damaged(pair, what, envelope):
    """Something of a message in the sender's spool is not what was written."""
    changes = {
        "its row": "UPDATE recipient SET address = 'someone@else.example' WHERE id >> 16 = ?",
        "its envelope": "UPDATE message SET envelope = replace(envelope, 'a@', 'b@') WHERE id = ?",
        "its content": "UPDATE message SET content = x'00' WHERE id = ?",
    }
    number = envelope.message_id
    await pair.sender._change(lambda connection: connection.execute(changes[what], [number]))


@pytest.mark.parametrize("what", ["its row", "its envelope", "its content"])
async def test_staged_mail_that_is_damaged_bounces_and_the_rest_goes(pair, what, monkeypatch):
    monkeypatch.setattr("mta.daemon.handover.RETRY_S", 0.01)
    monkeypatch.setattr("mta.daemon.handover.PAGE_PARCELS", 2)
    messages = [pair.message(YOURS) for _ in range(6)]
    for one in messages:
        await pair.handover.accept(*one)
    pair.sender._cache.clear()
    for envelope, *_ in messages[:4]:
        await damaged(pair, what, envelope)
    async with pair.owner() as owner:
        await until(lambda: len(pair.arrived) == 2 and len(pair.given_up) == 4)
        while (await pair.sender.tally.counts()).messages:
            await asyncio.sleep(0.005)
        assert len(await numbers(owner)) == 2
    assert (await pair.sender.parcels.staged(1, 10)).last == 0
    assert [r.envelope.message_id for r in pair.given_up] == [
        envelope.message_id for envelope, *_ in messages[:4]
    ]


async def test_staged_mail_that_the_owner_cannot_store_holds_up_no_other_and_is_said_once(
    pair, monkeypatch
):
    monkeypatch.setattr("mta.daemon.handover.RETRY_S", 0.01)
    monkeypatch.setattr("mta.daemon.handover.PAGE_PARCELS", 2)
    messages = [pair.message(YOURS) for _ in range(5)]
    for one in messages:
        await pair.handover.accept(*one)
    bad = [envelope.message_id for envelope, *_ in messages[:4]]
    first, accept, refused = bad[0], Spool.begin_accept, []

    def begin_accept(spool, envelope, *more, **named):
        if envelope.message_id not in bad:
            return accept(spool, envelope, *more, **named)
        refused.append(envelope.message_id)
        future = asyncio.get_running_loop().create_future()
        future.set_exception(SpoolError("no"))
        return future

    monkeypatch.setattr(Spool, "begin_accept", begin_accept)
    async with pair.owner():
        await until(lambda: pair.arrived and refused.count(first) > 3)
        assert len(pair.said) == 4
        bad.clear()
        await until(lambda: len(pair.arrived) == 5)
        while (await pair.sender.tally.counts()).messages:
            await asyncio.sleep(0.005)
    assert len(pair.said) == 4


async def test_a_submitter_that_is_gone_leaves_nothing_unresolved(pair, monkeypatch):
    """Else the owner would remember numbers for ever, and a stop would wait for one."""
    monkeypatch.setattr("mta.daemon.handover.FORGET_EVERY", 1)
    async with pair.owner() as owner:
        accept, late = owner.begin_accept, []

        def begin_accept(*arguments, **named):
            late.append(asyncio.get_running_loop().create_future())
            late[-1].accepts = lambda: accept(*arguments, **named)
            return late[-1]

        monkeypatch.setattr(owner, "begin_accept", begin_accept)
        accepting = asyncio.create_task(pair.handover.accept(*pair.message(YOURS)))
        await until(lambda: late)
        accepting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepting
        monkeypatch.setattr(owner, "begin_accept", accept)
        await late[0].accepts()
        late[0].set_result(None)
        await until(lambda: len(pair.arrived) == 1)
        assert not pair.link._waiting
        for _ in range(2):
            pair.link._has_staged = False
            await pair.handover.accept(*pair.message(YOURS))
        while len(await owner.parcels.taken()) > 1:
            await asyncio.sleep(0.005)
        assert not pair.link._unresolved


@pytest.mark.parametrize("is_full", [False, True])
async def test_mail_that_was_being_staged_when_its_submitter_left_goes_or_is_forgotten(
    pair, is_full
):
    writing, gathered = threading.Event(), threading.Event()
    pair.sender._change(lambda _: writing.set() or gathered.wait(10))
    await until(writing.is_set)
    accepting = asyncio.create_task(pair.handover.accept(*pair.message(MINE, YOURS)))
    await until(lambda: pair.link._unresolved)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    if is_full:
        pair.sender._min_free = 1 << 60
    gathered.set()
    if is_full:
        await until(lambda: not pair.link._unresolved)
        return
    async with pair.owner() as owner:
        await until(lambda: pair.arrived)
        assert len(await numbers(owner)) == 1


async def test_who_accepts_for_several_owners_hears_of_it_before_who_reads_the_queue(pair):
    """Both are answered by one commit; who reads first would have the recipients twice."""
    order = []

    async def accept():
        await pair.handover.accept(*pair.message(MINE, YOURS))
        order.append("accepted")

    async def read():
        order.append(len(await numbers(pair.sender, MINE)))

    await asyncio.gather(accept(), read())
    assert order == ["accepted", 1]


async def ask(spool, shard, *frames):
    """What a shard's spool acknowledges to another shard."""
    reader, writer = await asyncio.open_unix_connection(str(spool.directory / SOCKET_NAME))
    writer.write(frame(Kind.HELLO, 0, json.dumps({"shard": shard, "shards": 2}).encode()))
    writer.write(b"".join(frames))
    said = [ACK.unpack(await reader.readexactly(ACK.size)) for _ in frames]
    writer.close()
    return [Fate(fate) for fate, _ in said]


async def test_a_recipient_that_comes_back_waits_until_its_sender_has_heard_that_it_went(pair):
    """Where the owner of one queue moves it to another's, that may be who accepted it."""
    back = []
    takeover = Takeover(
        pair.sender,
        inbox=lambda recipients, _: back.extend(recipients),
        records_inbox=None,
        shards=2,
        log=print,
    )
    envelope, content, recipients, _ = pair.message(MINE, YOURS)
    await pair.handover.accept(envelope, content, recipients, [])
    async with takeover:
        moved = replace(recipients[1], queue=MINE)
        again = parcel_frame(envelope.message_id + 1, envelope, content, [moved], [])
        assert await ask(pair.sender, 1, again) == [Fate.BROKEN]
        assert await numbers(pair.sender) == [moved.recipient_id]
        assert await ask(pair.sender, 1, again) == [Fate.BROKEN]
        async with pair.owner():
            while await numbers(pair.sender):
                await asyncio.sleep(0.005)
        assert await ask(pair.sender, 1, again) == [Fate.TAKEN]
        assert [one.recipient_id for one in back] == [moved.recipient_id]
        assert len(await numbers(pair.sender, MINE)) == 2
        assert (await pair.sender.parcels.staged(1, 10)).last == 0


@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize("is_restarted", [True, False])
async def test_receipts_go_once_where_nobody_knows_whether_the_owner_has_the_message(
    tmp_path, monkeypatch, is_taken, is_restarted
):
    monkeypatch.setattr("mta.daemon.handover.WAIT_S", 0.01)
    pair = Pair(tmp_path)
    envelope, content, recipients, records = pair.message(YOURS)
    if is_taken:
        monkeypatch.setattr("mta.daemon.takeover._acknowledge", lambda *_: None)
    else:
        monkeypatch.setattr(Takeover, "_take", lambda *_: None)
    async with pair.handover, pair.owner():
        await pair.handover.accept(envelope, content, recipients, records)
        if is_taken:
            await until(lambda: pair.arrived)
    assert await numbers(pair.sender) == [recipients[0].recipient_id]
    monkeypatch.undo()
    if is_restarted:
        await pair.sender.close()
        pair = Pair(tmp_path)
    assert await pair.sender.outbox.pending() == []
    async with pair.handover, pair.owner() as owner:
        while await numbers(pair.sender):
            await asyncio.sleep(0.005)
        assert [rows for _, rows in await owner.outbox.pending()] == [records]
        assert await pair.sender.outbox.pending() == []
        assert await numbers(owner) == [recipients[0].recipient_id]
    await pair.sender.close()


async def test_receipts_of_a_message_that_bounces_before_its_owner_has_it_are_written_here(pair):
    envelope, content, recipients, records = pair.message(YOURS)
    staged = [(recipients[0].recipient_id, envelope.message_id, 1)]
    await pair.sender.begin_accept(envelope, content, recipients, staged=staged, receipts=records)
    await damaged(pair, "its content", envelope)
    async with pair.owner():
        await until(lambda: pair.given_up)
        while (await pair.sender.parcels.staged(1, 1)).last:
            await asyncio.sleep(0.005)
    assert [some for _, some in await pair.sender.outbox.pending()] == [records]
