"""What writes the spool: a batch of operations with one write to the journal, one sync.

While a commit waits for the disk the next operations gather, so the batch grows with the
load by itself. What the journal has comes to the database later, many messages at once, and
most are gone by then: see `spool/journal.py`. Any other change, and every question, is about
the database, and has it made complete before; a change that says which messages it is about
has only those there.

A batch that fails leaves nothing. New messages in it are refused at once. Outcomes are not:
a recipient that was delivered is delivered, so they are held and tried again until the disk
takes them. Meanwhile questions wait behind them, and new messages are refused.

Where not the disk is at fault but something asked for, which breaks a constraint or cannot be
stored as it is, that alone is refused, and the rest of its batch goes on without it.
"""

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mta import failpoints, ids
from mta.errors import SpoolError, SpoolFullError
from mta.model.message import FileContent
from mta.model.record import Record
from mta.spool import counters
from mta.spool.damage import is_damage
from mta.spool.journal import Journal
from mta.spool.operations import Accept, ContentPath, Execute, Operation, Read, Settle
from mta.spool.pending import (
    JOURNAL,
    JOURNAL_FRAMES,
    AcceptLine,
    Line,
    Pending,
    SettleLine,
    records_line,
)
from mta.spool.sync import sync
from mta.spool.tables import Tables

if TYPE_CHECKING:
    import asyncio

    from mta.model.message import Recipient

RETRY_S: Final = 1.0
"""How often outcomes are tried again on a disk that does not take them."""
PENDING_MAX: Final = 500
"""Rows that wait to come to the database, before they do."""
IDLE_S: Final = 1.0
"""After so long without an operation all that is in the journal comes to the database."""

_OF_WHAT_IS_WRITTEN: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""Constraints, sizes and kinds of values."""

Write = Accept | Settle | Execute
_Any = TypeVar("_Any", bound=Operation)
Results = list[tuple["asyncio.Future[Any]", Any, BaseException | None]]


class Writer:
    """Owns journal and connection; used by one thread at a time, its hand's."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        journal: Journal,
        *,
        content_path: ContentPath,
        set_aside: Callable[[int, str, bytes | None], None],
        post: Callable[[Results, Results, int, list[Record]], None],
        log: Callable[[str], None],
        on_damage: Callable[[str], None],
        on_failure: Callable[[BaseException], None],
        sync_create: bool,
        sync_update: bool,
        has_room: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._journal = journal
        self._tables = Tables(connection)
        self._pending = Pending()
        self._content_path = content_path
        self._set_aside = set_aside
        self._post = post
        self._log = log
        self._on_damage = on_damage
        self.fail = on_failure
        """Say that nothing more will be written, and why; for its hand, where `do` raised."""
        self._is_damaged = False
        self._sync_create = sync_create
        self._sync_update = sync_update
        self._has_room = has_room
        self._synchronous = "FULL"
        (waiting,) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM record").fetchone()
        self._record_id = max(waiting, counters.value(connection, "record"))
        self._held: list[Operation] = []
        """Outcomes the disk did not take, and what was asked after them."""
        self._trouble: SpoolError | None = None
        self._retry_at = 0.0

    @property
    def holds(self) -> bool:
        """Whether outcomes wait for a disk that did not take them."""
        return bool(self._held)

    def due_in(self, now: float) -> float | None:
        """In how many seconds `do` is to be called though nothing is asked; None for never."""
        if self._held:
            return max(0.0, self._retry_at - now)
        return IDLE_S if self._pending else None

    def do(self, batch: list[Operation], now: float) -> None:
        """Write a batch and post its results; `now` is a time that is never set."""
        if self._trouble is not None and now < self._retry_at:
            self._held += self._refuse(batch, self._trouble)
            return
        operations, self._held = self._held + batch, []
        reads = [operation for operation in operations if isinstance(operation, Read)]
        writes: list[Write] = [o for o in operations if isinstance(o, Accept | Settle | Execute)]
        if writes and not self._has_room():
            full = SpoolFullError("the disk has less room than min-free-space keeps free")
            writes = self._refuse(writes, full)
        for is_change, found in groupby(writes, _is_change):
            run = list(found)
            if self._trouble is not None and self._held:
                self._held += self._refuse(run, self._trouble)
            elif is_change:
                self._change([one for one in run if isinstance(one, Execute)], now)
            else:
                self._enter([one for one in run if not isinstance(one, Execute)], now)
        is_due = self._pending.size >= PENDING_MAX or self._journal.is_long
        if self._pending and not self._held and (is_due or not batch or _ask_of_mail(reads)):
            self._flush(reads, now)
        if self._held:
            self._held += reads
        elif reads:
            self._post([], [self._read(read) for read in reads], self._record_id, [])

    def take_in(self) -> None:
        """Have all that is in the journal in the database. sqlite3.Error, OSError, MemoryError."""
        self._transact((), None)

    def close(self) -> None:
        """Give up what is held, and let go of journal and database."""
        if self._held:
            error = SpoolError("the disk did not take it before the daemon stopped")
            refused: Results = [(held.future, None, error) for held in self._held]
            self._post(refused, [], self._record_id, [])
        try:
            self.take_in()
        except Exception as error:
            self._log(f"what is in the journal of the spool waits for the next start: {error}")
        self._journal.close()
        self._connection.close()

    # Messages and outcomes: the journal

    def _enter(self, run: "list[Accept | Settle]", now: float) -> None:
        """Messages and outcomes; what the disk does not take is refused or held."""
        while run:
            try:
                self._append(run)
            except (OSError, MemoryError) as trouble:
                refusal = _spool_error(trouble)
                remaining = self._refuse(run, refusal)
                if len(remaining) == len(run):
                    self._hold(run, refusal, now)
                    return
                run = remaining
            else:
                self._end_trouble()
                return

    def _append(self, run: "list[Accept | Settle]") -> None:
        """Commit those that can be stored; the others fail alone."""
        lines: list[tuple[Accept | Settle, Line]] = []
        for one in run:
            try:
                lines.append((one, self._line(one)))
            except (ValueError, TypeError, FileNotFoundError) as error:
                self._turn_away(one, error)
        if not lines:
            return
        accepted = [line for _, line in lines if isinstance(line, AcceptLine)]
        contents = [line.content for line in accepted if line.content is not None]
        text = [line.octets for _, line in lines]
        records = [record for one, _ in lines for record in one.records]
        row = self._record_id
        outbox = b""
        if records:
            row += 1
            outbox = b"[%b]" % b",".join(line.records for _, line in lines if line.records)
            text.append(records_line(row, outbox))
        has_settled = len(lines) > len(accepted)
        is_synced = (bool(accepted) and self._sync_create) or (has_settled and self._sync_update)
        failpoints.reach("spool.before-commit" if accepted else "settle.before-commit")
        self._journal.append(b"\n".join(text), contents, is_synced=is_synced)
        failpoints.reach("spool.after-commit" if accepted else "settle.after-commit")
        gone: list[int] = []
        for one, line in lines:
            if isinstance(one, Settle):
                gone += self._pending.settle(one)
            elif isinstance(line, AcceptLine):
                self._pending.accept(line)
        if records:
            self._record_id = row
            self._pending.record(row, outbox)
        if gone and not is_synced:
            # What says that nobody needs them is to outlive them.
            with suppress(OSError):
                self._journal.sync()
        self._remove_files(gone)
        self._post([(one.future, None, None) for one, _ in lines], [], row, records)

    def _line(self, one: "Accept | Settle") -> Line:
        """ValueError, TypeError or FileNotFoundError if it can never be stored. OSError."""
        if isinstance(one, Settle):
            return SettleLine(one)
        message_id = one.envelope.message_id
        if not one.parcel and self._pending.holds(message_id):
            raise ValueError(f"there is a message {message_id} already")
        if one.parcel not in (0, message_id) and self._knows_one_of(one.recipients):
            raise ValueError("a recipient is on its way out of here")
        line = AcceptLine(one)
        if isinstance(one.content, FileContent):
            self._keep_file(one.content.path, message_id)
        return line

    def _knows_one_of(self, recipients: "Sequence[Recipient]") -> bool:
        """Of a message that was moved between shards a recipient may come back too early.

        It was handed over under one number and comes under another, before the outcome of the
        first is here: it is refused for now, and offered again.
        """
        try:
            return self._pending.knows_one_of([r.recipient_id for r in recipients], self._tables)
        except sqlite3.Error as error:
            raise ValueError(str(self._spool_error(error))) from error

    def _keep_file(self, path: Path, message_id: int) -> None:
        """Move content that is a file into the spool, and sync it and its directory."""
        kept = self._content_path(message_id)
        if not kept.exists():
            if not kept.parent.exists():
                kept.parent.mkdir()
                if self._sync_create:
                    sync(kept.parent.parent)
            path.rename(kept)
        if self._sync_create:
            sync(kept)
            sync(kept.parent)
        failpoints.reach("spool.content-written")

    def _remove_files(self, messages: Sequence[int]) -> None:
        """What cannot be removed the next start removes."""
        for message_id in messages:
            with suppress(OSError):
                self._content_path(message_id).unlink()

    # Changes: the database

    def _change(self, run: list[Execute], now: float) -> None:
        """Any other changes, together if all can be made; what the disk does not take is held."""
        about: Collection[int] | None = set()
        for one in run:
            about = None if about is None or one.about is None else {*about, *one.about}
        try:
            self._transact(run, about)
        except _ChangeError as error:
            cause = error.__cause__
            if len(run) > 1:
                for number, one in enumerate(run):
                    if self._held:
                        self._held += run[number:]
                        return
                    self._change([one], now)
            elif isinstance(cause, Exception):
                self._turn_away(run[0], cause)
        except (sqlite3.Error, OSError, MemoryError) as trouble:
            self._hold(run, self._spool_error(trouble), now)
        else:
            self._end_trouble()
            self._post([(one.future, None, None) for one in run], [], self._record_id, [])

    def _flush(self, reads: list[Read], now: float) -> None:
        """Have all that is in the journal in the database, so that questions see it."""
        try:
            self.take_in()
        except (sqlite3.Error, OSError, MemoryError) as trouble:
            self._hold([], self._spool_error(trouble), now)
            self._held += reads
            reads.clear()
        else:
            self._end_trouble()

    def _transact(self, changes: Sequence[Execute], about: Collection[int] | None) -> None:
        """Make changes with what is pending of the messages they are about, None for all.

        _ChangeError if one of them cannot be made. sqlite3.Error, OSError, MemoryError.
        """
        if not changes and not self._pending:
            return
        try:
            is_synced = any(one.is_synced for one in changes)
            self._choose_sync(is_all=about is None, is_asked=is_synced)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                gone = self._write_pending(about)
            except _OF_WHAT_IS_WRITTEN as error:
                self._roll_back()
                self._drop_unfit(error)
                self._connection.execute("BEGIN IMMEDIATE")
                gone = self._write_pending(about)
            for one in changes:
                self._make(one)
            failpoints.reach("apply.before-commit")
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        failpoints.reach("apply.after-commit")
        if about is None:
            self._pending = Pending()
            self._journal.begin(self._journal.generation + 1)
        else:
            self._pending.forget(about)
            self._pending.accounted(max((one.accounted for one in changes), default=-1))
        self._remove_files(gone)

    def _write_pending(self, about: Collection[int] | None) -> list[int]:
        if about is not None:
            self._pending.write_some(self._tables, about)
            return []
        gone = self._pending.write(self._tables)
        counters.raise_to(self._connection, JOURNAL, self._journal.generation)
        counters.put(self._connection, JOURNAL_FRAMES, self._journal.frames)
        return gone

    def _drop_unfit(self, error: sqlite3.Error) -> None:
        """Set aside what the database can never take; if it is none of that, raise the error."""
        unfit = self._pending.drop_unfit(self._tables, _OF_WHAT_IS_WRITTEN)
        if not unfit:
            raise error
        for one in unfit:
            self._set_aside(one.number, one.text, one.content)
            self._log(
                f"message {ids.printed(one.number)} cannot be stored ({one.error}) and is not "
                "delivered; it is in damaged/ of the spool. Please report this"
            )

    def _make(self, one: Execute) -> None:
        try:
            one.change(self._connection)
        except Exception as error:
            if _is_trouble(error):
                raise
            raise _ChangeError from error

    def _choose_sync(self, *, is_all: bool, is_asked: bool) -> None:
        """What makes the journal be written over is synced if anything is."""
        is_synced = self._sync_update or is_asked or (is_all and self._sync_create)
        wanted = "FULL" if is_synced else "NORMAL"
        if wanted != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._tables.forget_queues()
        except sqlite3.Error as error:
            self._log(f"the spool could not be rolled back: {error}")

    def _read(self, operation: Read) -> tuple["asyncio.Future[Any]", Any, BaseException | None]:
        try:
            return operation.future, operation.question(self._connection), None
        except Exception as error:  # whatever is wrong with one question, others are answered
            self._look_at(error)
            return operation.future, None, SpoolError(f"the spool cannot be read: {error}")

    # Trouble

    def _refuse(self, operations: "Sequence[_Any]", error: SpoolError) -> "list[_Any]":
        """Fail the messages among the operations; the others remain."""
        results: Results = []
        for operation in operations:
            if isinstance(operation, Accept):
                results.append((operation.future, None, error))
                if isinstance(operation.content, FileContent) and not operation.parcel:
                    self._remove_files([operation.envelope.message_id])
        if results:
            self._post(results, [], self._record_id, [])
        return [operation for operation in operations if not isinstance(operation, Accept)]

    def _turn_away(self, one: Write, why: Exception) -> None:
        """What cannot be stored as it is fails alone."""
        error = SpoolError(f"it cannot be stored: {why!r}")
        if self._refuse([one], error):
            self._post([(one.future, None, error)], [], self._record_id, [])

    def _hold(self, writes: Sequence[Write], trouble: SpoolError, now: float) -> None:
        if self._trouble is None:
            self._log(f"outcomes wait for the disk, and new mail is refused: {trouble}")
        self._trouble = trouble
        self._held += writes
        self._retry_at = now + RETRY_S

    def _end_trouble(self) -> None:
        if self._trouble is not None:
            self._log("the disk takes what waited for it; all is well again")
            self._trouble = None

    def _spool_error(self, error: Exception) -> SpoolError:
        self._look_at(error)
        return _spool_error(error)

    def _look_at(self, error: Exception) -> None:
        """Damage is said once; whatever is asked after it, nothing is lost by an error."""
        if is_damage(error) and not self._is_damaged:
            self._is_damaged = True
            self._on_damage(str(error))


class _ChangeError(Exception):
    """A change cannot be made, whatever the disk does; the cause says why."""


def _is_change(write: Write) -> bool:
    return isinstance(write, Execute)


def _ask_of_mail(reads: Sequence[Read]) -> bool:
    return any(read.is_of_mail for read in reads)


def _is_trouble(error: Exception) -> bool:
    """Whether it is the disk or the database that fails, and not what was to be written."""
    if isinstance(error, sqlite3.Error):
        return not isinstance(error, _OF_WHAT_IS_WRITTEN)
    return isinstance(error, OSError | MemoryError) and not isinstance(error, FileNotFoundError)


def _spool_error(error: Exception) -> SpoolError:
    text = str(error)
    if "full" in text or getattr(error, "errno", None) in (28, 122):  # ENOSPC, EDQUOT
        return SpoolFullError(f"the disk is full: {text}")
    return SpoolError(f"the spool cannot be written: {text}")
