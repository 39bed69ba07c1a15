"""Whatever was done, and wherever the process dies: what was committed is there, and no more.

Random operations go to a spool, one at a time, beside a model that is a dictionary. Its files are
copied at random moments, also in the midst of commits, as a crash would leave them; a copy that
is opened must hold what the model did.
"""

import asyncio
import copy
import random
import shutil
from dataclasses import dataclass, field

import pytest

from mta import failpoints
from mta.bounces.dsn import Action, Told
from mta.model.attempt import Try
from mta.model.message import Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool import writer
from mta.spool.query import RecipientQuery
from mta.spool.store import Spool

KEYS = [QueueKey(f"{name}.example", "v") for name in "abc"]
STEPS = 120
COPIES_MAX = 12
BEFORE = {
    "spool.content-written",
    "spool.before-commit",
    "settle.before-commit",
    "move.before-commit",
}


@dataclass
class Model:
    """What a spool must hold."""

    recipients: dict[int, tuple] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)
    tries: dict[int, list] = field(default_factory=dict)
    records: list = field(default_factory=list)
    reports: int = 0

    def settle(self, number):
        del self.recipients[number]
        self.tries.pop(number, None)
        if not any(one >> 16 == number >> 16 for one in self.recipients):
            del self.contents[number >> 16]


def row(r):
    return r.address, r.queue, r.due, r.attempts, r.last_reply, r.priority


async def held(directory):
    """The same of a spool that is opened."""
    spool = Spool.open(directory, log=lambda said: pytest.fail(said) if "damaged" in said else None)
    try:
        found = await spool.find(RecipientQuery(), 10_000)
        messages = {r.envelope.message_id: r.envelope for r in found}
        model = Model({r.recipient_id: row(r) for r in found})
        for number, envelope in messages.items():
            content = await spool.content(envelope)
            octets = content.path.read_bytes() if isinstance(content, FileContent) else content
            model.contents[number] = octets
            model.tries |= {
                n: tries for n, tries in (await spool.tries.of(number)).items() if tries
            }
        pending = await spool.outbox.pending()
        model.records = [record.values["n"] for _, records in pending for record in records]
        model.reports = len(await spool.reports.pending(1000))
        files = {path.name for path in (directory / "content").glob("*/*")}
        assert len(files) == sum(content[:1] == b"F" for content in model.contents.values())
    finally:
        await spool.close()
    return model


async def held_once_settled(directory):
    """Recipients that are there though all were settled before another crash."""
    spool = Spool.open(directory)
    await spool.settle(await spool.find(RecipientQuery(), 10_000), (), ())
    await spool.reports.pending(1)  # Answered once files are removed.
    shutil.copytree(directory, again := directory.with_name(f"{directory.name}-again"))
    await spool.close()
    return (await held(again)).recipients


class Run:
    """Operations on a spool, and on the model of it."""

    def __init__(self, directory, dice):
        self.dice = dice
        self.model = Model()
        self.spool = Spool.open(directory / "alive")
        self.waiting: dict[int, Recipient] = {}
        self.away: list[tuple[Recipient, bytes]] = []
        """Recipients that another shard has, with their content."""
        self.numbers = iter(range(1, 1_000_000))
        self.rows: list[tuple[int, int]] = []
        """Of the outbox, each with the number of its last record."""
        self.spool.outbox.on_records = lambda row, records: self.rows.append(
            (row, records[-1].values["n"])
        )

    def record(self):
        number = next(self.numbers)
        self.model.records.append(number)
        return Record("d", {"n": number, "rcpt": "ü"})

    async def accept(self):
        dice, spool = self.dice, self.spool
        message_id = spool.next_message_id()
        octets = dice.randbytes(dice.choice([0, 10, 20_000]))
        content = b"M" + octets
        if dice.random() < 0.2:
            content = b"F" + octets
            path = spool.spill_directory / f"{message_id}"
            path.write_bytes(content)
            content = FileContent(path, len(content))
        envelope = Envelope(
            message_id=message_id, mail_from="ä@x.example", time_queued=1.5, size=1, head_size=0,
            acct_headers={"X": "\u2028"} if dice.random() < 0.5 else {},
        )  # fmt: skip
        recipients = [
            Recipient(message_id << 16 | n, envelope, f"r{n}@a.example", dice.choice(KEYS), 0.5)
            for n in range(dice.randint(1, 3))
        ]
        kept = content.path.read_bytes() if isinstance(content, FileContent) else content
        self.model.contents[message_id] = kept
        for recipient in recipients:
            self.model.recipients[recipient.recipient_id] = row(recipient)
            self.waiting[recipient.recipient_id] = recipient
        records = [self.record()] if dice.random() < 0.3 else []
        await spool.accept(envelope, content, recipients, records)

    def some(self):
        numbers = sorted(self.waiting)
        return [self.waiting[n] for n in self.dice.sample(numbers, min(len(numbers), 3))]

    async def settle(self):
        done, deferred = [], []
        for recipient in self.some():
            if self.dice.random() < 0.6:
                done.append(recipient)
                del self.waiting[recipient.recipient_id]
                self.model.settle(recipient.recipient_id)
            else:
                recipient.attempts += 1
                recipient.due, recipient.last_reply = self.dice.random() * 9, "smtp;451 später"
                deferred.append(recipient)
                self.model.recipients[recipient.recipient_id] = row(recipient)
                tries = self.model.tries.setdefault(recipient.recipient_id, [])
                tries.append(Try(1.0, "192.0.2.1", "h", recipient.last_reply))
        records = [self.record() for _ in done]
        tried = Try(1.0, "192.0.2.1", "h", "")
        await self.spool.settle(done, deferred, records, tried)

    async def report(self):
        told = [Told(recipient=r, action=Action.FAILED, status="5.0.0") for r in self.some()]
        self.model.reports += len({one.recipient.envelope.message_id for one in told})
        await self.spool.reports.put(told)

    async def accounted(self):
        if self.rows:
            upto, last = self.rows[len(self.rows) // 2]
            self.rows = [one for one in self.rows if one[0] > upto]
            self.model.records = [number for number in self.model.records if number > last]
            await self.spool.outbox.save_positions(upto, {"acct.csv": ("acct.csv", upto)})

    async def move(self):
        target = self.dice.choice(KEYS)
        source = self.dice.choice([key for key in KEYS if key != target])
        chosen = [r for r in self.some() if r.queue == source]
        for recipient in chosen:
            recipient.queue = target
            self.model.recipients[recipient.recipient_id] = row(recipient)
        await self.spool.move(chosen, source, target, "")

    async def leave(self):
        for recipient in self.some()[:1]:
            number = recipient.recipient_id
            self.away.append((recipient, self.model.contents[number >> 16]))
            del self.waiting[number]
            self.model.settle(number)
            settled = self.spool.settle([recipient], (), ())
            await asyncio.gather(settled, self.spool.parcels.unstage([recipient]))

    async def come_back(self):
        if not self.away:
            return
        recipient, octets = self.away.pop(self.dice.randrange(len(self.away)))
        number = recipient.recipient_id
        self.waiting[number] = recipient
        self.model.recipients[number] = row(recipient)
        self.model.contents[number >> 16] = content = octets
        parcel = self.spool.next_message_id()
        if octets[:1] == b"F":
            content = FileContent(self.spool.spill_directory / f"{parcel}", len(octets))
            content.path.write_bytes(octets)
        await self.spool.begin_accept(recipient.envelope, content, [recipient], parcel=parcel)
        if isinstance(content, FileContent):
            content.path.unlink(missing_ok=True)

    async def prioritise(self):
        chosen = self.some()
        for recipient in chosen:
            recipient.priority = 70
            self.model.recipients[recipient.recipient_id] = row(recipient)
        await self.spool.set_priority(chosen, 70)

    async def pause(self):
        await self.spool.save_queue(self.dice.choice(KEYS), paused=True, retry_position=1)

    async def ask(self):
        assert len(await self.spool.find(RecipientQuery(), 10_000)) == len(self.model.recipients)


@pytest.mark.parametrize("seed", range(12))
async def test_a_spool_that_crashes_anywhere_holds_what_was_committed(tmp_path, monkeypatch, seed):
    dice = random.Random(seed)
    monkeypatch.setattr(writer, "PENDING_MAX", dice.choice([3, 30, 500]))
    run = Run(tmp_path, dice)
    copied: list[str] = []
    expected: list[tuple[str, Model, Model]] = []

    def left(name):
        if len(expected) + len(copied) < COPIES_MAX and dice.random() < 0.06:
            place = f"copy{len(expected) + len(copied)}-{name}"
            shutil.copytree(tmp_path / "alive", tmp_path / place)
            copied.append(place)

    monkeypatch.setattr(failpoints, "reach", left)
    kinds = [run.accept] * 4 + [run.settle] * 4
    kinds += [run.report, run.accounted, run.move, run.prioritise, run.pause, run.ask]
    kinds += [run.leave, run.come_back]
    for _ in range(STEPS):
        before = copy.deepcopy(run.model)
        await dice.choice(kinds)()
        if dice.random() < 0.03:
            left("at rest")
        for place in copied:
            name = place.partition("-")[2]
            # What comes to the database may do so before the step's own commit, or behind it.
            first, second = before, copy.deepcopy(run.model)
            expected.append((place, first, second if name not in BEFORE else first))
        copied.clear()
    monkeypatch.setattr(failpoints, "reach", lambda _: None)
    await run.spool.close()
    assert await held(tmp_path / "alive") == run.model
    assert expected, "it never crashed"
    for place, before, after in expected:
        for _ in range(2):
            found = await held(tmp_path / place)
            assert found == after or ("apply" in place and found == before), place
        assert await held_once_settled(tmp_path / place) == {}, place
