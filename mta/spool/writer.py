"""What writes the spool: a batch of operations into one transaction, one sync.

While a commit waits for the disk the next operations gather, so the batch grows with the
load by itself. Rows go in many to a statement: each step of SQLite gives up the
interpreter lock, and taking it back from a busy event loop is what a step costs most.

A batch that fails is rolled back. New messages in it are refused at once. Outcomes are not:
a recipient that was delivered is delivered, so they are held and tried again until the disk
takes them. Meanwhile questions wait behind them, and new messages are refused.

Where not the disk is at fault but something asked for, which breaks a constraint or cannot be
stored as it is, that alone is refused, and the rest of its batch is committed without it.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mta import failpoints
from mta.errors import SpoolError, SpoolFullError
from mta.model.message import FileContent
from mta.model.record import Record
from mta.spool import schema, tries
from mta.spool.damage import is_damage
from mta.spool.operations import Accept, ContentPath, Execute, Operation, Read, Settle
from mta.spool.sync import sync

if TYPE_CHECKING:
    import asyncio

ROWS_MAX: Final = 32
"""Rows in one statement. Each number of rows has a statement of its own, which stays prepared."""
RETRY_S: Final = 1.0
"""How often outcomes are tried again on a disk that does not take them."""

_OF_WHAT_IS_WRITTEN: Final = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""Constraints, sizes and kinds of values."""

_OR_FAIL: Final = "OR FAIL"
"""A statement of many rows that fails need not undo those before: the transaction is rolled
back as a whole. Otherwise SQLite keeps a copy of every page it is about to change, in a file."""

Write = Accept | Settle | Execute
Results = list[tuple["asyncio.Future[Any]", Any, BaseException | None]]


class Writer:
    """Owns the connection; used by one thread at a time, its hand's."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        content_path: ContentPath,
        post: Callable[[Results, Results, int, list[Record]], None],
        log: Callable[[str], None],
        on_damage: Callable[[str], None],
        on_failure: Callable[[BaseException], None],
        sync_create: bool,
        sync_update: bool,
        has_room: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._content_path = content_path
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
        self._queues = self._read_queues()
        (self._record_id,) = connection.execute(
            "SELECT MAX(COALESCE((SELECT MAX(id) FROM record), 0),"
            " COALESCE((SELECT value FROM counter WHERE name = 'record'), 0))"
        ).fetchone()
        self._statements: dict[tuple[str, int], str] = {}
        self._held: list[Operation] = []
        """Outcomes the disk did not take, and what was asked after them."""
        self._trouble: SpoolError | None = None
        self._retry_at = 0.0

    @property
    def holds(self) -> bool:
        """Whether outcomes wait for a disk that did not take them."""
        return bool(self._held)

    def retry_in(self, now: float) -> float:
        """In how many seconds they are to be tried again, by a call of `do`."""
        return max(0.0, self._retry_at - now)

    def do(self, batch: list[Operation], now: float) -> None:
        """Write a batch and post its results; `now` is a time that is never set."""
        results: Results = []
        if self._trouble is not None and now < self._retry_at:
            self._held += self._refuse(batch, self._trouble, results)
            self._post(results, [], self._record_id, [])
            return
        operations, self._held = self._held + batch, []
        writes: list[Write] = [o for o in operations if isinstance(o, Accept | Settle | Execute)]
        records = self._write(writes, results, now) if writes else []
        reads = [operation for operation in operations if isinstance(operation, Read)]
        answers: Results = []
        if self._held:
            self._held += reads
        else:
            answers = [self._read(read) for read in reads]
        self._post(results, answers, self._record_id, records)

    def close(self) -> None:
        """Give up what is held, and let go of the database."""
        error = SpoolError("the disk did not take it before the daemon stopped")
        if self._held:
            refused: Results = [(held.future, None, error) for held in self._held]
            self._post(refused, [], self._record_id, [])
        self._connection.close()

    def _read(self, operation: Read) -> tuple["asyncio.Future[Any]", Any, BaseException | None]:
        try:
            return operation.future, operation.question(self._connection), None
        except Exception as error:  # whatever is wrong with one question, others are answered
            self._look_at(error)
            return operation.future, None, SpoolError(f"the spool cannot be read: {error}")

    def _look_at(self, error: Exception) -> None:
        """Damage is said once; whatever is asked after it, nothing is lost by an error."""
        if is_damage(error) and not self._is_damaged:
            self._is_damaged = True
            self._on_damage(str(error))

    def _write(self, writes: list[Write], results: Results, now: float) -> list[Record]:
        """Commit; results of all, and the records that are now in the outbox.

        What the disk does not take is refused or held.
        """
        remaining: Sequence[Operation] = writes
        if not self._has_room():
            full = SpoolFullError("the disk has less room than min-free-space keeps free")
            remaining = self._refuse(writes, full, results)
        while remaining:
            kept: list[Write] = [o for o in remaining if not isinstance(o, Read)]
            try:
                records = self._transact(kept)
            except Exception as error:
                self._roll_back()
                trouble = error
                if not _is_trouble(error):
                    unfit, trouble = self._sift(kept, error)
                    self._roll_back()
                    if unfit:
                        remaining = self._turn_away(kept, unfit, results)
                        continue
                    if trouble is error:
                        raise  # It is nobody's but our own.
                self._look_at(trouble)
                refusal = _spool_error(trouble)
                remaining = self._refuse(kept, refusal, results)
                if len(remaining) == len(kept):
                    self._retry_later(kept, refusal, now)
                    return []
                continue
            if self._trouble is not None:
                self._log("the disk takes what waited for it; all is well again")
                self._trouble = None
            results += [(write.future, None, None) for write in kept]
            return records
        return []

    def _retry_later(self, writes: list[Write], trouble: SpoolError, now: float) -> None:
        if self._trouble is None:
            self._log(f"outcomes wait for the disk, and new mail is refused: {trouble}")
        self._trouble = trouble
        self._held += writes
        self._retry_at = now + RETRY_S

    def _refuse(
        self, operations: Sequence[Operation], error: SpoolError, results: Results
    ) -> list[Operation]:
        """Fail the messages among the operations; the others remain."""
        for operation in operations:
            if isinstance(operation, Accept):
                results.append((operation.future, None, error))
                if isinstance(operation.content, FileContent) and not operation.parcel:
                    path = self._content_path(operation.envelope.message_id)
                    path.unlink(missing_ok=True)
        return [operation for operation in operations if not isinstance(operation, Accept)]

    def _sift(
        self, writes: Sequence[Write], error: Exception
    ) -> tuple[dict[Write, Exception], Exception]:
        """What cannot be written whatever the disk does; to be rolled back, all of it.

        Also the trouble that ended the search early; without any the `error` given.
        """
        connection = self._connection
        unfit: dict[Write, Exception] = {}
        try:
            connection.execute("BEGIN IMMEDIATE")
            # Messages first, as in the transaction they are of.
            for write in sorted(writes, key=lambda one: not isinstance(one, Accept)):
                connection.execute("SAVEPOINT one")
                try:
                    self._try_out(write)
                except Exception as why:
                    if _is_trouble(why):
                        raise
                    unfit[write] = why
                    connection.execute("ROLLBACK TO one")
                    self._queues = self._read_queues()
                connection.execute("RELEASE one")
        except (sqlite3.Error, OSError, MemoryError) as trouble:
            return unfit, trouble
        return unfit, error

    def _try_out(self, write: Write) -> None:
        match write:
            case Accept():
                if isinstance(write.content, FileContent):
                    self._keep_file(write.content.path, write.envelope.message_id)
                self._insert([write])
            case Settle():
                self._settle([write])
            case Execute():
                write.change(self._connection)
        if not isinstance(write, Execute) and write.records:
            self._connection.execute("SELECT ?", (schema.records_text(list(write.records)),))

    def _turn_away(
        self, writes: Sequence[Write], unfit: dict[Write, Exception], results: Results
    ) -> list[Operation]:
        """Fail what cannot be written; the others remain."""
        for write, why in unfit.items():
            error = SpoolError(f"it cannot be stored: {why!r}")
            if not self._refuse([write], error, results):
                continue
            results.append((write.future, None, error))
        return [write for write in writes if write not in unfit]

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._queues = self._read_queues()
        except sqlite3.Error as error:
            self._log(f"the spool could not be rolled back: {error}")

    def _transact(self, writes: list[Write]) -> list[Record]:
        accepts = [write for write in writes if isinstance(write, Accept)]
        settles = [write for write in writes if isinstance(write, Settle)]
        self._choose_sync(bool(accepts), bool(settles) or len(writes) > len(accepts))
        records = [record for accept in accepts for record in accept.records]
        records += [record for settle in settles for record in settle.records]
        for accept in accepts:
            if isinstance(accept.content, FileContent):
                self._keep_file(accept.content.path, accept.envelope.message_id)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        if accepts:
            self._insert(accepts)
        if len(writes) > len(accepts) + len(settles):
            gone = self._change(writes)
        else:
            gone = self._settle(settles) if settles else []
        if records:
            connection.execute(
                "INSERT INTO record VALUES (?, ?)",
                (self._record_id + 1, schema.records_text(records)),
            )
        failpoints.reach("spool.before-commit" if accepts else "settle.before-commit")
        connection.execute("COMMIT")
        failpoints.reach("spool.after-commit" if accepts else "settle.after-commit")
        if records:
            self._record_id += 1
        for message_id in gone:
            self._content_path(message_id).unlink(missing_ok=True)
        return records

    def _choose_sync(self, creates: bool, updates: bool) -> None:  # noqa: FBT001 - private
        wanted = "FULL"
        if not ((creates and self._sync_create) or (updates and self._sync_update)):
            wanted = "NORMAL"
        if wanted != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted

    def _keep_file(self, path: Path, message_id: int) -> None:
        """Move content that is a file into the spool, and sync it and its directory."""
        kept = self._content_path(message_id)
        if not kept.exists():
            kept.parent.mkdir(exist_ok=True)
            path.rename(kept)
        if self._sync_create:
            sync(kept)
            sync(kept.parent)
        failpoints.reach("spool.content-written")

    def _insert(self, accepts: Sequence[Accept]) -> None:
        parcels = [accept.parcel for accept in accepts if accept.parcel]
        self._insert_rows(
            # A parcel may be of a message that has other recipients here.
            "OR IGNORE INTO message" if parcels else f"{_OR_FAIL} INTO message",
            3,
            [
                (
                    accept.envelope.message_id,
                    schema.stored_text(accept.envelope, accept.content),
                    accept.content if isinstance(accept.content, bytes) else None,
                )
                for accept in accepts
            ],
        )
        self._insert_rows(
            f"{_OR_FAIL} INTO recipient",
            12,
            [
                (
                    r.recipient_id, self._queue_number(r.queue), r.due, accept.envelope.size,
                    r.address, r.pool, r.orcpt, r.notify, r.attempts, r.last_reply, r.priority,
                    schema.recipient_sum(r.recipient_id, r.address, r.orcpt, r.notify),
                )
                for accept in accepts
                for r in accept.recipients
            ],
        )  # fmt: skip
        if parcels:
            self._insert_rows("INTO taken", 1, [(parcel,) for parcel in parcels])
        staged = [row for accept in accepts if accept.staged for row in accept.staged]
        if staged:
            self._insert_rows("INTO staged", 3, staged)

    def _insert_rows(self, into: str, width: int, rows: Sequence[tuple[Any, ...]]) -> None:
        for start in range(0, len(rows), ROWS_MAX):
            chunk = rows[start : start + ROWS_MAX]
            statement = self._statements.get((into, len(chunk)))
            if statement is None:
                values = ",".join([f"({','.join('?' * width)})"] * len(chunk))
                statement = f"INSERT {into} VALUES {values}"  # noqa: S608 - constants
                self._statements[into, len(chunk)] = statement
            self._connection.execute(statement, [value for row in chunk for value in row])

    def _read_queues(self) -> dict[tuple[str, str], int]:
        rows = self._connection.execute("SELECT id, domain, vmta FROM queue")
        return {(domain, vmta): number for number, domain, vmta in rows}

    def _queue_number(self, key: tuple[str, str]) -> int:
        number = self._queues.get(key)
        if number is None:
            cursor = self._connection.execute(
                "INSERT INTO queue (domain, vmta) VALUES (?, ?)"
                " ON CONFLICT (domain, vmta) DO UPDATE SET domain = domain RETURNING id",
                key,
            )
            number = self._queues[key] = cursor.fetchone()[0]
        return number

    def _change(self, writes: Sequence[Write]) -> list[int]:
        """Settle and execute in the order it was asked.

        A recipient that was settled must not be moved; a message is copied before it goes.
        """
        gone: list[int] = []
        settles: list[Settle] = []
        for write in writes:
            if isinstance(write, Settle):
                settles.append(write)
            elif isinstance(write, Execute):
                gone += self._settle(settles) if settles else []
                settles = []
                write.change(self._connection)
        return gone + (self._settle(settles) if settles else [])

    def _settle(self, settles: Sequence[Settle]) -> list[int]:
        """Returns the ids of messages that are gone and whose content is a file."""
        done = [number for settle in settles for number in settle.done]
        deferred = [row for settle in settles for row in settle.deferred]
        connection = self._connection
        if deferred:
            connection.executemany(
                "UPDATE recipient SET due = ?, attempts = ?, last_reply = ? WHERE id = ?", deferred
            )
        if rows := [row for settle in settles for row in settle.tries]:
            tries.note(connection, rows)
        if tried := [number for settle in settles for number in settle.tried]:
            tries.forget(connection, tried)
        if not done:
            return []
        connection.execute(
            "DELETE FROM recipient WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(done),),
        )
        messages = list({number >> 16 for number in done})
        cursor = connection.execute(
            "DELETE FROM message WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
            " (SELECT 1 FROM recipient WHERE recipient.id"
            "  BETWEEN message.id << 16 AND (message.id << 16) + 65535)"
            " RETURNING id, content IS NULL",
            (json.dumps(messages),),
        )
        return [number for number, is_file in cursor.fetchall() if is_file]


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
