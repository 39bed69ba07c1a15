"""Copies of what was delivered: of what there is one, and what kind of message it is."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.daemon import reports
from mta.daemon.ledger import Ledger
from mta.daemon.local_mail import LocalMail
from mta.errors import SpoolError
from mta.model.attempt import Attempt
from mta.model.message import LOCAL, Envelope, Recipient
from mta.model.outcome import Delivered
from mta.model.queue_key import QueueKey
from mta.settings.domain import DomainSettings
from mta.spool.reports import Owed
from tests.texts import configured

OK = Delivered("2.0.0", "smtp;250 2.0.0 ok")


def message(**values):
    return Envelope(
        message_id=7, mail_from="a@s.example", time_queued=5.0, size=9, head_size=4, **values
    )


def recipient(envelope, index=0):
    return Recipient(index, envelope, f"r{index}@d.example", QueueKey("d.example", "v"), 0.0)


async def owed(bcc, envelopes, delivery_type="smtp"):
    """What copies a ledger asks for when all that is delivered over one connection."""
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    asked = []
    reports = SimpleNamespace(owe_copies=lambda copied: asked.append(copied) or done)
    context = SimpleNamespace(wanted_kinds=(), reports=reports)
    ledger = Ledger(context, SimpleNamespace(settle=lambda *_: asked.append("settled") or done))
    queue = SimpleNamespace(settings=DomainSettings(bcc_upon_delivery=bcc))
    for index, envelope in enumerate(envelopes):
        attempt = Attempt(delivery_type=delivery_type)
        ledger.delivered([], queue, recipient(envelope, index), OK, attempt, 0.0)
    ledger.settle((), (), ())
    return asked


async def test_a_copy_is_owed_before_the_outcome_is_settled_one_for_each_transaction():
    envelope = message()
    assert await owed("c@x.example", [envelope, envelope]) == [
        {(7, "c@x.example"): envelope},
        "settled",
    ]


@pytest.mark.parametrize(
    ("bcc", "source_type", "delivery_type"),
    [("", "smtp", "smtp"), ("c@x.example", LOCAL, "smtp"), ("c@x.example", "smtp", "discard")],
)
async def test_nothing_is_copied(bcc, source_type, delivery_type):
    """Without the directive, of a copy or other mail of our own, or of what goes nowhere."""
    assert await owed(bcc, [message(source_type=source_type)], delivery_type) == ["settled"]


@pytest.mark.parametrize("octets", [10, 300 << 10])
async def test_a_copy_is_a_message_of_its_own_that_tells_the_sender_nothing(tmp_path, octets):
    taken = []

    async def submit(envelope, content, rcpts, *, vmta):
        held = content if isinstance(content, bytes) else content.path.read_bytes()
        taken.append((envelope, held, rcpts, vmta))

    intake = SimpleNamespace(submit=submit, spill_directory=tmp_path)
    mail = LocalMail(intake, SimpleNamespace(next_message_id=lambda: 8))
    original = message(
        env_id="e", ret="FULL", is_verp=True, job_id="j", added_fields="X: y\r\n", vmta_by="z"
    )
    content = b"a: b\r\n\r\n" + b"x" * octets
    assert await mail.copy(original, content, "ü@x.example") is None
    ((envelope, held, (rcpt,), vmta),) = taken
    assert (rcpt.address, rcpt.notify, vmta, held) == ("ü@x.example", "NEVER", "", content)
    assert (envelope.message_id, envelope.source_type, envelope.is_smtputf8) == (8, LOCAL, False)
    assert (envelope.mail_from, envelope.job_id, envelope.added_fields) == (
        "a@s.example",
        "j",
        "X: y\r\n",
    )
    assert (envelope.env_id, envelope.ret, envelope.is_verp) == ("", "", False)
    assert envelope.suppresses_dsn
    assert list(tmp_path.iterdir()) == []


class FakeReports:
    """Owes some at once, and takes note of what is written."""

    def __init__(self, owed):
        self.owed = owed
        self.done = []

    async def pending(self, limit):
        return [one for one in self.owed if one.number not in self.done][:limit]

    async def written(self, numbers):
        self.done += numbers


async def test_what_is_owed_is_written_together_and_a_full_disk_repeats_none_of_it(monkeypatch):
    monkeypatch.setattr(reports, "RETRY_S", 0.0)
    asked, together, finished = [], asyncio.Event(), asyncio.Event()
    owed = [Owed(n, "", b"") for n in range(3)]
    fake = FakeReports(owed)

    async def write(one):
        asked.append(one.number)
        if len(asked) == 3:
            together.set()
        await together.wait()
        if asked.count(1) == 1 and one.number == 1:
            raise SpoolError("the disk is full")
        if asked.count(1) == 2:
            finished.set()

    configuration = configured("")
    own = reports.Reports(configuration, SimpleNamespace(reports=fake), None, lambda _: None)
    monkeypatch.setattr(own, "_write", write)
    running = asyncio.create_task(own.run())
    async with asyncio.timeout(10):
        await finished.wait()
    running.cancel()
    await asyncio.wait([running])
    assert asked == [0, 1, 2, 1]


@pytest.fixture
def begun(monkeypatch):
    """What is owed, and a run that writes it: each when its event is set."""
    events = [asyncio.Event() for _ in range(2)]
    fake = FakeReports([Owed(n, "", b"") for n in range(2)])
    own = reports.Reports(configured(""), SimpleNamespace(reports=fake), None, lambda _: None)

    async def write(one):
        await events[one.number].wait()

    monkeypatch.setattr(own, "_write", write)
    return own, fake, events


async def test_what_is_written_counts_although_another_waits(begun):
    own, fake, events = begun
    running = asyncio.create_task(own.run())
    events[1].set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert fake.done == [1]
    running.cancel()
    await asyncio.wait([running])


async def test_a_stop_waits_for_what_is_being_written_and_begins_nothing(begun):
    own, fake, events = begun
    running = asyncio.create_task(own.run())
    for _ in range(5):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(own.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    fake.owed.append(Owed(2, "", b""))
    for event in events:
        event.set()
    async with asyncio.timeout(10):
        await stopping
    assert sorted(fake.done) == [0, 1]
    running.cancel()
    await asyncio.wait([running])
