"""Takes a mail merge: each recipient's message becomes one of its own, all of them or none.

All messages are made, looked at and decided on before the first is written, so what is wrong
with one of them refuses all. Those that are kept in memory for it are then written as one. A
submission larger than that is made a second time, a slice after the other, so that it takes no
more memory; the slices are out of sight until one transaction has all messages count. So a
crash, or a disk that does not take a slice, leaves all of a submission or nothing.
"""

import asyncio
import contextlib
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from mta import clock, ids
from mta.errors import SpoolError, SpoolFullError
from mta.model.message import Content, FileContent
from mta.model.reply import Reply
from mta.net.spill import MEMORY_OCTETS_MAX, Spill

if TYPE_CHECKING:
    from mta.daemon.intake import Intake, Taken
    from mta.net.reception import Session
    from mta.smtp.mailmerge import Submission

SLICE_OCTETS_MAX: Final = 16 << 20
"""Content written at once, about, in files or not: the mail of others waits meanwhile."""
SLICE_MESSAGES_MAX: Final = 1000
TURN_MESSAGES: Final = 10
"""Messages made before others have their turn: some milliseconds."""


async def take(intake: "Intake", session: "Session", submission: "Submission") -> Reply:
    """Take a submission; 250 only after the commit of all of it."""
    return await _Merging(intake, session, submission).take()


class _Merging:
    """One submission on its way to the disk."""

    def __init__(self, intake: "Intake", session: "Session", submission: "Submission") -> None:
        self._intake = intake
        self._session = session
        self._submission = submission
        self._now = clock.now()
        self._date = formatdate(self._now, localtime=True)
        self._expands = intake.configuration.root.mailmerge_expands_undefined_variables
        self._taken: list[Taken] = []
        self._contents: list[bytes] = []
        """Those at the beginning, as many as one slice holds."""
        self._octets = 0
        self._stored: list[Taken] = []
        self._spills: list[Spill] = []

    async def take(self) -> Reply:
        """All of it."""
        intake = self._intake
        for index in range(len(self._submission.rcpts)):
            refusal = await self._decide(index)
            if refusal is not None:
                return refusal
        try:
            is_one_slice = len(self._contents) == len(self._taken)
            while len(self._stored) < len(self._taken):
                await self._store_slice(is_all=is_one_slice)
            if not is_one_slice:
                await self._let_go()
        except BaseException as error:
            # Also where nobody waits for it any more.
            intake.together.forget([r for one in self._stored for r in one.recipients])
            return intake.not_stored(error)
        finally:
            intake.together.release()
            for spill in self._spills:
                spill.discard()
        for one in self._taken:
            intake.arrived(one)
        if not is_one_slice:
            await self._note_receipts()
        first = ids.printed(self._taken[0].envelope.message_id)
        count = len(self._taken)
        return Reply(250, (f"2.6.0 message received; {count} messages, the first has id {first}",))

    async def _let_go(self) -> None:
        """Have all that is stored count. What is not there any more is gone."""
        recipients = [one for taken in self._taken for one in taken.recipients]
        there = await self._intake.together.let_go(recipients)
        if len(there) < len(recipients):
            for taken in self._taken:
                taken.recipients[:] = [r for r in taken.recipients if r.recipient_id in there]

    async def _note_receipts(self) -> None:
        """After what counts, and before the answer: what 250 answers is in the books.

        No more at once than of a slice: they go to the accounting files as one.
        """
        for start in range(0, len(self._taken), SLICE_MESSAGES_MAX):
            some = self._taken[start : start + SLICE_MESSAGES_MAX]
            records = self._intake.receipts([r for one in some for r in one.recipients], self._now)
            if records:
                with contextlib.suppress(SpoolError):  # The messages are there all the same.
                    await self._intake.together.note(records)

    async def _decide(self, index: int) -> Reply | None:
        """Make a message and decide what becomes of it; a Reply refuses the submission."""
        if index % TURN_MESSAGES == 0:
            await asyncio.sleep(0)
        made = self._submission.message(index, self._date, expands=self._expands)
        if isinstance(made, Reply):
            return made
        content, head, added = await self._intake.checked(
            self._session, made.content, made.head_size
        )
        assert isinstance(content, bytes), "it was in memory"
        taken = self._intake.take(
            self._session,
            made.mail,
            [made.rcpt],
            content,
            head,
            made.has_leading_dot,
            made.is_8bit,
            added,
            self._now,
            made.wishes,
        )
        if isinstance(taken, Reply):
            return taken
        is_small = len(content) <= MEMORY_OCTETS_MAX
        has_all = len(self._contents) == len(self._taken) < SLICE_MESSAGES_MAX
        if is_small and has_all and self._octets + len(content) <= SLICE_OCTETS_MAX:
            self._contents.append(content)
            self._octets += len(content)
        self._taken.append(taken)
        return None

    async def _store_slice(self, *, is_all: bool) -> None:
        """The next messages, in one turn of the loop; SpoolError if one of them is not stored."""
        start = len(self._stored)
        contents: list[Content] = [*self._contents]
        octets, self._contents = self._octets, []
        if not contents:
            octets = 0
        while (
            start + len(contents) < len(self._taken)
            and len(contents) < SLICE_MESSAGES_MAX
            and octets < SLICE_OCTETS_MAX
        ):
            content = await self._again(start + len(contents))
            octets += content.size if isinstance(content, FileContent) else len(content)
            contents.append(content)
        some = self._taken[start : start + len(contents)]
        begun = [
            self._begin(one, content, is_all=is_all)
            for one, content in zip(some, contents, strict=True)
        ]
        await asyncio.wait(begun)
        errors = []
        for one, content, future in zip(some, contents, begun, strict=True):
            error = future.exception()
            if error is not None:
                errors.append(error)
                continue
            self._stored.append(one)
            if isinstance(content, bytes):
                self._intake.keep_at_hand(one, content)
        if errors:
            raise errors[0]

    def _begin(self, one: "Taken", content: Content, *, is_all: bool) -> "asyncio.Future[None]":
        together = self._intake.together
        if not is_all:
            return together.gather(one.envelope, content, one.recipients)
        records = self._intake.receipts(one.recipients, self._now)
        return together.begin(one.envelope, content, one.recipients, records)

    async def _again(self, index: int) -> Content:
        """The content of a message that was decided on, made once more as it is kept."""
        if index % TURN_MESSAGES == 0:
            await asyncio.sleep(0)
        made = self._submission.message(index, self._date, expands=self._expands)
        assert not isinstance(made, Reply), "it was made before"
        content, _, _ = await self._intake.checked(self._session, made.content, made.head_size)
        assert isinstance(content, bytes), "it was in memory"
        if len(content) <= MEMORY_OCTETS_MAX:
            return content
        spill = Spill(self._intake.spill_directory)
        self._spills.append(spill)
        return await asyncio.to_thread(_written, spill, content)


def _written(spill: Spill, content: bytes) -> Content:
    """Content as a file."""
    spill.write(content, keep=True)
    file = spill.content(len(content))
    if spill.is_full:
        raise SpoolFullError("the disk has no room for a file of a mail merge")
    return file
