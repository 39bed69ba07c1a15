"""Mail merges on their way to the disk: all messages of one, or none."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.daemon import merging
from mta.daemon.intake import DISK_FULL, SPOOL_BROKEN, Taken
from mta.daemon.together import Together
from mta.errors import SpoolError, SpoolFullError
from mta.model.message import Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.model.reply import Reply
from mta.smtp.command import MailParameters, RcptParameters
from mta.smtp.mailmerge import Submission
from mta.smtp.template import Part
from mta.spool.query import RecipientQuery
from mta.spool.store import Spool

KEY = QueueKey("d.example", "v")


class Disk(Together):
    """Does not take the message of one number; knows how many came at once."""

    def __init__(self, intake):
        super().__init__(intake.spool, None)
        self._intake = intake

    def begin(self, envelope, content, recipients, records):
        return self._noted(content) or super().begin(envelope, content, recipients, records)

    def gather(self, envelope, content, recipients):
        return self._noted(content) or super().gather(envelope, content, recipients)

    async def let_go(self, recipients):
        self._intake.said.append("let go")
        assert await on_disk(self._intake) == {}, "nothing is in a queue before all is stored"
        return await super().let_go(recipients)

    def _noted(self, content):
        intake = self._intake
        if not intake.slices[-1]:
            asyncio.get_running_loop().call_soon(intake.slices.append, 0)
        intake.slices[-1] += 1
        intake.kinds.append(type(content))
        if sum(intake.slices) != intake.fails_at:
            return None
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(intake.error)
        return failed

    def forget(self, recipients):
        self._intake.said.append("forget")
        super().forget(recipients)

    def release(self):
        self._intake.said.append("release")


class Intake:
    """Decides that everything is taken, but what goes to `refused@`, and keeps it in a spool."""

    configuration = SimpleNamespace(
        root=SimpleNamespace(mailmerge_expands_undefined_variables=True)
    )

    def __init__(self, spool):
        self.spool = spool
        self.spill_directory = spool.spill_directory
        self.together = Disk(self)
        self.fails_at = 0
        """The number of the message that the disk does not take."""
        self.error = SpoolFullError("full")
        self.slices = [0]
        self.kinds = []
        self.said = []
        self.waiting = []

    async def checked(self, session, content, head_size):
        return content, content[:head_size], ""

    def take(self, session, mail, rcpts, content, head, dot, is_8bit, added, now, wishes):
        (rcpt,) = rcpts
        if rcpt.address.startswith("refused@"):
            return Reply(550, ("5.0.0 no",))
        number = self.spool.next_message_id()
        envelope = Envelope(
            message_id=number, mail_from="", time_queued=now, size=len(content), head_size=len(head)
        )
        return Taken(envelope, [Recipient(number << 16, envelope, rcpt.address, KEY, now)])

    def receipts(self, recipients, now):
        return [Record("r", {"rcpt": one.address}) for one in recipients]

    def keep_at_hand(self, taken, content):
        self.spool.keep(taken.envelope.message_id, content, 1)

    def not_stored(self, error):
        match error:
            case SpoolFullError():
                return DISK_FULL
            case SpoolError():
                return SPOOL_BROKEN
            case _:
                raise error

    def arrived(self, taken):
        self.waiting += taken.recipients


@pytest.fixture
async def intake(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "SLICE_MESSAGES_MAX", 10)
    spool = Spool.open(tmp_path)
    yield Intake(spool)
    await spool.close()


def submission(count, text=b"[x]\r\n", last="r"):
    names = [*(f"r{number}" for number in range(count - 1)), last]
    return Submission(
        mail=MailParameters("a@b.example"),
        rcpts=tuple(RcptParameters(f"{name}@d.example") for name in names),
        variables=tuple({"x": f"value {number}"} for number in range(count)),
        parts={1: Part(b"A: [*to]\r\n\r\n" + text)},
        size_max=1 << 30,
        verp_default=False,
    )


async def take(intake, *args, **kwargs):
    return await merging.take(intake, None, submission(*args, **kwargs))


async def on_disk(intake):
    """By recipient, what a queue may hold."""
    found = (await intake.spool.due(KEY, 50, None, 100)).recipients
    intake.spool._cache.clear()
    contents = []
    for one in found:
        content = await intake.spool.content(one.envelope)
        contents.append(
            content.path.read_bytes() if isinstance(content, FileContent) else bytes(content)
        )
    return {one.address: content for one, content in zip(found, contents, strict=True)}


@pytest.mark.parametrize(
    ("count", "slices"), [(1, [1]), (10, [10]), (11, [10, 1]), (35, [10, 10, 10, 5])]
)
async def test_each_slice_goes_at_once_and_then_all_are_in_their_queues(intake, count, slices):
    reply = await take(intake, count)
    assert reply.code == 250
    assert f"{count} messages" in reply.text
    assert [n for n in intake.slices if n] == slices
    assert len(intake.waiting) == count
    assert intake.said == (["release"] if count <= 10 else ["let go", "release"])
    records = await intake.spool.outbox.pending()
    assert sum(len(one) for _, one in records) == count
    found = await on_disk(intake)
    assert found["r@d.example"] == b"A: r@d.example\r\n\r\nvalue %d\r\n" % (count - 1)
    assert len(set(found.values())) == count


async def test_a_slice_has_so_many_octets_about(intake, monkeypatch):
    monkeypatch.setattr(merging, "SLICE_OCTETS_MAX", 1000)
    await take(intake, 9, b"x" * 400 + b"\r\n")
    assert [n for n in intake.slices if n] == [3, 3, 3]
    assert len(await on_disk(intake)) == 9


async def test_files_are_counted_too(intake, monkeypatch):
    monkeypatch.setattr(merging, "SLICE_OCTETS_MAX", 500_000)
    await take(intake, 5, b"x" * 300_000 + b"\r\n")
    assert [n for n in intake.slices if n] == [2, 2, 1]


async def test_large_content_is_a_file(intake, tmp_path):
    large = b"x" * 70_000 + b"\r\n"
    await take(intake, 3, large * 4)
    assert intake.kinds == [FileContent] * 3
    assert (await on_disk(intake))["r@d.example"] == b"A: r@d.example\r\n\r\n" + large * 4
    assert list(intake.spill_directory.iterdir()) == []


async def test_one_that_is_refused_refuses_all_before_any_is_stored(intake):
    reply = await take(intake, 35, last="refused")
    assert reply.code == 550
    assert intake.kinds == []
    assert intake.waiting == []


@pytest.mark.parametrize(("fails_at", "error"), [(1, "full"), (10, "broken"), (25, "full")])
async def test_what_the_disk_does_not_take_takes_the_others_back(intake, fails_at, error):
    intake.fails_at = fails_at
    intake.error = SpoolFullError("full") if error == "full" else SpoolError("broken")
    reply = await take(intake, 35)
    assert reply == (DISK_FULL if error == "full" else SPOOL_BROKEN)
    assert intake.waiting == []
    assert intake.said == ["forget", "release"]
    assert await on_disk(intake) == {}


async def test_files_that_are_not_stored_are_not_left(intake):
    intake.fails_at = 2
    assert await take(intake, 3, b"x" * 300_000 + b"\r\n") == DISK_FULL
    assert list(intake.spill_directory.iterdir()) == []
    assert await intake.spool.tally.counts() == (0, 0)


async def test_what_a_crash_left_gathered_was_never_accepted(intake, tmp_path):
    await take(intake, 1)
    merging_ = merging._Merging(intake, None, submission(25, b"x" * 300_000 + b"\r\n"))
    for number in range(25):
        await merging_._decide(number)
    await merging_._store_slice(is_all=False)
    assert await intake.spool.tally.counts() == (11, 11)
    (seen,) = await intake.spool.find(RecipientQuery(), 100)
    assert seen.queue == KEY, "operators see and change what is taken only"
    assert await intake.spool.message(merging_._stored[0].envelope.message_id) is None
    await intake.spool.close()
    intake.spool = Spool.open(tmp_path)
    assert await intake.spool.tally.counts() == (1, 1)
    assert len(await on_disk(intake)) == 1
    assert list((tmp_path / "content").glob("*/*")) == []


async def test_what_is_not_there_any_more_is_gone(intake):
    async def let_go(recipients):
        await intake.spool.settle(recipients[3:5], (), ())
        return await Disk.let_go(intake.together, recipients)

    intake.together.let_go = let_go
    assert (await take(intake, 15)).code == 250
    assert len(intake.waiting) == len(await on_disk(intake)) == 13


async def test_a_defect_is_no_refusal(intake):
    intake.fails_at, intake.error = 12, ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await take(intake, 15)
    assert await on_disk(intake) == {}


async def test_250_waits_for_the_receipts_of_what_was_let_go(intake, monkeypatch):
    noted = []

    def settle(done, deferred, records):
        noted.append((asyncio.get_running_loop().create_future(), len(records)))
        return noted[-1][0]

    monkeypatch.setattr(intake.spool, "settle", settle)
    taken = asyncio.ensure_future(take(intake, 25))
    for count, records in enumerate([10, 10, 5], 1):
        while len(noted) < count:
            await asyncio.sleep(0)
        assert not taken.done()
        assert noted[-1][1] == records, "the row of an outbox is not without bounds"
        assert len(intake.waiting) == 25, "the scheduler knows at once"
        noted[-1][0].set_result(None)
    assert (await taken).code == 250
