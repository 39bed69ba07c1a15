"""However often the number of workers changes and the move is killed, mail is in one place."""

import random
import sqlite3
from dataclasses import replace

import pytest

from mta import failpoints
from mta.bounces.dsn import Action, Told
from mta.daemon import partition
from mta.errors import SpoolError
from mta.model.message import Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.routing.cold import ColdCounts, Count, part
from mta.spool.parcels import Parcel
from mta.spool.rehome import rehome
from mta.spool.shards import shard_directory, shards_of
from mta.spool.store import Spool

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
KEYS = [QueueKey(f"d{number}.example", "v") for number in range(20)]


class KilledError(BaseException):
    pass


def move(root, shards):
    rehome(root, shards, lambda key: partition.owner(key, shards), lambda _: None)


class Mail:
    """What was put into the spools of a daemon, to be found again."""

    def __init__(self, root) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        self.queues: dict[int, QueueKey] = {}

    async def put(
        self, shard, keys, *, large=False, staged=(), records=(), receipts=()
    ) -> list[Recipient]:
        spool = Spool.open(shard_directory(self.root, shard), shard=shard)
        number = spool.next_message_id()
        octets = f"Subject: {number}\r\n\r\n{number}\r\n".encode()
        content = octets
        if large:
            content = FileContent(spool.spill_directory / "large", len(octets))
            content.path.write_bytes(octets)
        envelope = Envelope(
            message_id=number, mail_from="", time_queued=1.0, size=len(octets), head_size=20
        )
        found = [
            Recipient(number << 16 | i, envelope, "a@b", key, 1.0) for i, key in enumerate(keys)
        ]
        rows = [(found[place].recipient_id, number, owner) for place, owner in staged]
        await spool.begin_accept(envelope, content, found, records, staged=rows, receipts=receipts)
        self.contents[number] = octets
        self.queues |= {recipient.recipient_id: recipient.queue for recipient in found}
        await spool.close()
        return found

    async def check(self, shards) -> None:
        """Every recipient is once in the spool of its owner, with its content."""
        seen = {}
        for shard in {*shards_of(self.root), *range(shards)}:
            spool = Spool.open(shard_directory(self.root, shard), shard=shard)
            files = {path.name for path in spool.directory.glob("content/*/*")}
            for state in await spool.queues():
                page = await spool.due(state.key, 50, None, 1000)
                for recipient in page.recipients:
                    assert partition.owner(recipient.queue, shards) == shard
                    assert recipient.recipient_id not in seen
                    seen[recipient.recipient_id] = recipient.queue
                    content = await spool.content(recipient.envelope)
                    if isinstance(content, FileContent):
                        files.discard(content.path.name)
                        content = content.path.read_bytes()
                    assert content == self.contents[recipient.envelope.message_id]
            assert not files
            await spool.close()
        assert seen == self.queues


@pytest.mark.parametrize("seed", range(2))
async def test_mail_is_where_its_owner_looks_whenever_the_move_is_killed(
    tmp_path, monkeypatch, seed
):
    rng = random.Random(seed)
    mail = Mail(tmp_path)
    for _ in range(10):
        await mail.put(0, rng.sample(KEYS, rng.randint(1, 4)), large=rng.random() < 0.3)
    reached = []
    dies_at = 0

    def reach(name):
        reached.append(name)
        if len(reached) == dies_at:
            raise KilledError

    monkeypatch.setattr(failpoints, "reach", reach)
    for _ in range(8):
        shards = rng.randint(1, 4)
        reached.clear()
        dies_at = rng.randint(1, 25)
        try:
            move(tmp_path, shards)
        except KilledError:
            continue
        await mail.check(shards)
    dies_at = 0
    for shards in (3, 1, 2):
        move(tmp_path, shards)
        await mail.check(shards)


async def test_a_parcel_that_was_taken_is_not_mail_of_its_sender_any_more(tmp_path):
    mail = Mail(tmp_path)
    yours = [key for key in KEYS if partition.owner(key, 2) == 1][:2]
    move(tmp_path, 2)
    (taken,) = await mail.put(0, yours[:1], staged=[(0, 1)])
    await mail.put(0, yours[1:], staged=[(0, 1)])
    owner = Spool.open(shard_directory(tmp_path, 1), shard=1)
    parcel = Parcel(taken.envelope.message_id, taken.envelope, [taken])
    await owner.begin_accept(parcel.envelope, b"x\r\n\r\n", parcel.recipients, parcel=parcel.number)
    await owner.settle(parcel.recipients, (), ())
    await owner.close()
    del mail.queues[taken.recipient_id]
    move(tmp_path, 1)
    await mail.check(1)


@pytest.mark.parametrize("is_taken", [True, False])
async def test_receipts_that_were_to_go_with_a_parcel_are_in_the_outbox_once(tmp_path, is_taken):
    mail = Mail(tmp_path)
    move(tmp_path, 2)
    key = next(key for key in KEYS if partition.owner(key, 2) == 1)
    records = [Record("r", {"rcpt": "a"})]
    (recipient,) = await mail.put(0, [key], staged=[(0, 1)], receipts=records)
    if is_taken:
        owner = Spool.open(shard_directory(tmp_path, 1), shard=1)
        number = recipient.envelope.message_id
        content = mail.contents[number]
        await owner.begin_accept(recipient.envelope, content, [recipient], records, parcel=number)
        await owner.close()
    move(tmp_path, 1)
    await mail.check(1)
    first = Spool.open(tmp_path)
    assert [some for _, some in await first.outbox.pending()] == [records]
    await first.close()


async def test_what_one_owner_took_of_a_message_says_nothing_of_the_other_owners(tmp_path):
    mail = Mail(tmp_path)
    move(tmp_path, 3)
    first, second = (
        next(key for key in KEYS if partition.owner(key, 3) == shard) for shard in (1, 2)
    )
    taken, waiting = await mail.put(0, [first, second], staged=[(0, 1), (1, 2)])
    owner = Spool.open(shard_directory(tmp_path, 1), shard=1)
    number = taken.envelope.message_id
    await owner.begin_accept(taken.envelope, b"x\r\n\r\n", [taken], parcel=number)
    await owner.settle([taken], (), ())
    await owner.close()
    sender = Spool.open(tmp_path)
    await sender.settle([taken], (), ())
    await sender.parcels.unstage([taken])
    await sender.close()
    del mail.queues[taken.recipient_id]
    move(tmp_path, 2)
    assert list(mail.queues) == [waiting.recipient_id]
    await mail.check(2)


async def test_what_a_worker_that_is_gone_owes_is_told_by_the_first(tmp_path):
    mail = Mail(tmp_path)
    move(tmp_path, 2)
    key = next(key for key in KEYS if partition.owner(key, 2) == 1)
    (recipient,) = await mail.put(1, [key])
    spool = Spool.open(shard_directory(tmp_path, 1), shard=1)
    await spool.reports.put([Told(recipient=recipient, action=Action.FAILED, status="5.1.1")])
    await spool.close()
    move(tmp_path, 1)
    first = Spool.open(tmp_path)
    (owed,) = await first.reports.pending(10)
    assert [told.recipient.recipient_id for told in owed.told] == [recipient.recipient_id]
    await first.close()


async def test_pauses_and_positions_of_retry_lists_move_with_their_queues(tmp_path):
    spool = Spool.open(tmp_path)
    for key in KEYS:
        await spool.save_queue(key, paused=True, retry_position=3)
    await spool.close()
    move(tmp_path, 4)
    for shard in range(4):
        spool = Spool.open(shard_directory(tmp_path, shard), shard=shard)
        states = await spool.queues()
        assert {state.key for state in states} == {
            key for key in KEYS if partition.owner(key, 4) == shard
        }
        assert all(state.paused and state.retry_position == 3 for state in states)
        await spool.close()


async def test_records_of_a_worker_that_is_gone_are_in_the_outbox_once(tmp_path, monkeypatch):
    mail = Mail(tmp_path)
    move(tmp_path, 2)
    key = next(key for key in KEYS if partition.owner(key, 2) == 1)
    for number in range(3):
        await mail.put(1, [key], records=[Record("r", {"rcpt": str(number)})])
    first = Spool.open(tmp_path)
    await first.outbox.save_positions(-1, {}, {1: 1})
    await first.close()

    def reach(name):
        if name == "rehome.outbox-taken":
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", reach)
        with pytest.raises(KilledError):
            move(tmp_path, 1)
    move(tmp_path, 1)
    first = Spool.open(tmp_path)
    records = [record for _, some in await first.outbox.pending() for record in some]
    assert [record.values["rcpt"] for record in records] == ["1", "2"]
    await first.close()


async def test_a_worker_whose_spool_was_removed_gives_out_no_number_twice(tmp_path):
    mail = Mail(tmp_path)
    move(tmp_path, 2)
    key = next(key for key in KEYS if partition.owner(key, 2) == 1)
    (before,) = await mail.put(1, [key])
    move(tmp_path, 1)
    for path in sorted(shard_directory(tmp_path, 1).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    shard_directory(tmp_path, 1).rmdir()
    move(tmp_path, 2)
    spool = Spool.open(shard_directory(tmp_path, 1), shard=1)
    assert spool.next_message_id() > before.envelope.message_id
    await spool.close()


TODAY = 739_000


async def warmed(root, shards, messages, limits, today):
    """How many of a day's messages, which come to all shards, a cold VirtualMTA takes."""
    taken = 0
    for shard in range(shards):
        spool = Spool.open(shard_directory(root, shard), shard=shard)
        counts = ColdCounts(await spool.cold_counts())
        parts = [part(limit, shard, shards) for limit in limits]
        for _ in range(part(messages, shard, shards)):
            cold, changed = counts.divert("w", "d.example", ["c"], parts, today)
            taken += bool(cold)
            for count in changed:
                await spool.save_cold(count)
        await spool.close()
    return taken


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (2, 4), (4, 2)])
async def test_a_change_at_noon_lets_no_more_warm_up_and_begins_no_list_again(
    tmp_path, before, after
):
    limits = (8, 16, 32)
    move(tmp_path, before)
    assert await warmed(tmp_path, before, 50, limits, TODAY) == 8
    assert await warmed(tmp_path, before, 10, limits, TODAY + 1) == 10
    move(tmp_path, after)
    assert await warmed(tmp_path, after, 50, limits, TODAY + 1) == 6
    assert await warmed(tmp_path, after, 50, limits, TODAY + 2) == 32
    move(tmp_path, before)
    assert await warmed(tmp_path, before, 50, limits, TODAY + 2) == 0


@pytest.mark.parametrize("killed_for", [1, 4])
@pytest.mark.parametrize("killed_at", range(1, 5))
async def test_counts_of_cold_virtual_mtas_are_divided_once_whenever_the_move_is_killed(
    tmp_path, monkeypatch, killed_for, killed_at
):
    move(tmp_path, 3)
    for shard, messages in enumerate((20, 15, 5)):
        spool = Spool.open(shard_directory(tmp_path, shard), shard=shard)
        await spool.save_cold(Count("w", "c", "d.example", TODAY, 4, messages))
        await spool.close()
    reached = []

    def reach(name):
        reached.append(name)
        if len(reached) == killed_at:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reach", reach)
        with pytest.raises(KilledError):
            move(tmp_path, killed_for)
    for shards, expected in ((2, [20, 20, 0, 0]), (3, [14, 13, 13, 0]), (1, [40, 0, 0, 0])):
        move(tmp_path, shards)
        found = []
        for shard in range(4):
            spool = Spool.open(shard_directory(tmp_path, shard), shard=shard)
            counts = await spool.cold_counts()
            assert all(count[3:5] == (TODAY, 4) for count in counts)
            found.append(sum(count.messages for count in counts))
            await spool.close()
        assert found == expected


async def test_a_mail_merge_that_was_not_accepted_has_no_owner(tmp_path):
    mail = Mail(tmp_path)
    (recipient,) = await mail.put(0, KEYS[:1])
    spool = Spool.open(tmp_path)
    number = spool.next_message_id()
    envelope = replace(recipient.envelope, message_id=number)
    large = FileContent(spool.spill_directory / "large", 9)
    large.path.write_bytes(b"x\r\n\r\nx\r\n")
    hidden = replace(recipient, recipient_id=number << 16, envelope=envelope)
    await spool.begin_gathered(envelope, large, [hidden])
    await spool.close()
    move(tmp_path, 3)
    assert not list(tmp_path.rglob("content/*/*"))
    for shard in range(3):
        with sqlite3.connect(shard_directory(tmp_path, shard) / "spool.db") as database:
            rows = database.execute("SELECT id FROM recipient").fetchall()
        database.close()
        owner = partition.owner(KEYS[0], 3)
        assert rows == ([(recipient.recipient_id,)] if shard == owner else [])


async def test_a_spool_in_use_is_not_moved(tmp_path):
    spool = Spool.open(tmp_path)
    with pytest.raises(SpoolError, match="in use"):
        move(tmp_path, 2)
    await spool.close()
