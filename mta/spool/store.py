"""The spool: what survives a crash. One database for each shard, one process on it.

Everything is asked on the event loop's thread and done by the writer's, in the order it was
asked. A message is accepted, and an outcome settled, when its future is done, not before.
"""

import asyncio
import os
import shutil
import sqlite3
import traceback
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from zlib import crc32

from mta import ids
from mta.errors import SpoolDamagedError, SpoolError
from mta.model.arrivals import Arrivals
from mta.model.attempt import Try
from mta.model.message import Content, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.routing.cold import Count
from mta.spool import gathering, moves, parcels, recovery, replay, schema
from mta.spool.ages import Ages
from mta.spool.damage import file_sum
from mta.spool.header_blocks import HeaderBlocks
from mta.spool.inbox import Inbox
from mta.spool.lock import take_lock
from mta.spool.moves import Moved
from mta.spool.numbers import MessageNumbers
from mta.spool.operations import Accept, Execute, QueueState, Read, Settle, Staged
from mta.spool.outbox import Outbox
from mta.spool.parcels import Parcels
from mta.spool.query import RecipientQuery, fetched, find_rows, priorities_of, queue_states
from mta.spool.reports import OwedReports
from mta.spool.shards import content_path
from mta.spool.tally import Tally, keep_tally
from mta.spool.thread import Hand, TakeUp, WriterThread
from mta.spool.tries import Tries
from mta.spool.writer import Results, Writer

CACHE_OCTETS: Final = 64 << 20
"""Content kept in memory from acceptance to delivery, so that it is not read back."""

T = TypeVar("T")


class Page(NamedTuple):
    """Recipients of a queue in the order they are due."""

    recipients: list[Recipient]
    damaged: list[Recipient]
    """Of these it is not known what was written: they cannot be delivered."""
    is_last: bool
    """Whether the queue holds no more after these."""


class Spool:
    """Made by `open`. All methods are for the thread of the event loop."""

    def __init__(
        self, directory: Path, shard: int, lock: int, connection: sqlite3.Connection
    ) -> None:
        self.directory = directory
        self.spill_directory = directory / "incoming"
        self.log: Callable[[str], None] = lambda _: None
        self.on_damage: Callable[[], None] = lambda: None
        """Called once the database turns out to be damaged: only the next start can help."""
        self.on_failure: Callable[[], None] = lambda: None
        """Called when nothing more will be written, nor answered, by a defect of the program."""
        self._shard = shard
        self._lock = lock
        self._path = directory / "spool.db"
        self._content_directory = directory / "content"
        self._loop = asyncio.get_running_loop()
        self._cache: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._cached_octets = self._min_free = 0
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="spool-reader")
        self._recover(connection)
        keep_tally(connection)
        self._connection = connection
        self._writer: Hand
        self._inbox: Inbox
        self.arrivals = Arrivals()
        self.numbers = MessageNumbers(connection, self._change, shard)
        self.parcels = Parcels(self._ask, self._change)
        self.outbox = Outbox(self._ask, self._change)
        self.reports = OwedReports(self._ask, self._look, self._change, directory)
        self.tries = Tries(self._look)
        self.header_blocks = HeaderBlocks(self._look, directory)
        self.ages = Ages(self._look)
        self.tally = Tally(self._ask, self._path, self._reader)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        shard: int = 0,
        sync_create: bool = True,
        sync_update: bool = True,
        min_free: int = 0,
        log: Callable[[str], None] = lambda _: None,
        take_up: TakeUp = WriterThread,
    ) -> "Spool":
        """Open the spool in directory, made if there is none.

        `sync_create` and `sync_update` say whether new messages and outcomes are synced
        before they count; `min_free` are octets of the disk never used; `take_up` gives the
        writer its hand. SpoolError if the directory cannot be used, or another process uses it.
        """
        lock = take_lock(directory)
        try:
            for part in (directory / "incoming", directory / "content"):
                part.mkdir(exist_ok=True, mode=0o700)
            connection = recovery.opened(directory / "spool.db", log)
            journal = replay.opened(directory, connection)
        except SpoolError:
            os.close(lock)
            raise
        except OSError as error:
            os.close(lock)
            raise SpoolError(f"{directory} cannot be used: {error.strerror}") from error
        spool = cls(directory, shard, lock, connection)
        spool.log = log
        spool._min_free = min_free
        writer = Writer(
            connection,
            journal,
            content_path=partial(content_path, spool.directory),
            set_aside=spool._put_aside,
            post=spool._post_from_writer,
            log=spool._log_from_writer,
            on_damage=spool._damage_from_writer,
            on_failure=spool._failure_from_writer,
            sync_create=sync_create,
            sync_update=sync_update,
            has_room=spool._has_room,
        )
        spool._writer = take_up(writer)
        spool._inbox = Inbox(spool._writer.put, spool.arrivals)
        return spool

    async def close(self) -> None:
        """Finish what was asked, and let another process have the spool."""
        self._inbox.empty()
        await asyncio.to_thread(self._writer.close)
        self._reader.shutdown()
        os.close(self._lock)

    # Messages

    def next_message_id(self) -> int:
        """An id that no message of this spool had or will have."""
        return self.numbers.take()

    async def accept(
        self,
        envelope: Envelope,
        content: Content,
        recipients: Sequence[Recipient],
        records: Sequence[Record] = (),
    ) -> None:
        """Store a message; it is on disk when this returns.

        Content that is a file is moved into the spool. SpoolFullError, SpoolError.
        """
        await self.begin_accept(envelope, content, recipients, records)
        if isinstance(content, bytes):
            self.keep(envelope.message_id, content, len(recipients))

    def begin_accept(
        self,
        envelope: Envelope,
        content: Content,
        recipients: Sequence[Recipient],
        records: Sequence[Record] = (),
        *,
        parcel: int = 0,
        staged: Sequence[Staged] = (),
        receipts: Sequence[Record] = (),
    ) -> "asyncio.Future[None]":
        """As `accept`, done when the future is. See `Accept` for what comes after records."""
        future: asyncio.Future[None] = self._loop.create_future()
        asked = Accept(future, envelope, content, recipients, records, parcel, staged, receipts)
        self._inbox.put_message(asked)
        return future

    def begin_gathered(
        self, envelope: Envelope, content: Content, recipients: Sequence[Recipient]
    ) -> "asyncio.Future[None]":
        """As `begin_accept`, for a message that counts when it is let go."""
        hidden = [replace(recipient, queue=gathering.GATHERING) for recipient in recipients]
        return self.begin_accept(envelope, content, hidden)

    async def let_go(self, recipients: Sequence[Recipient], staged: Sequence[Staged]) -> set[int]:
        """What was gathered counts from now on, all at once; ids of those still there."""
        found: set[int] = set()

        def change(connection: sqlite3.Connection) -> None:
            found.clear()  # What is rolled back is done again.
            found.update(gathering.let_go(connection, recipients, staged))

        await self._change(change)
        return found

    def settle(
        self,
        done: Sequence[Recipient],
        deferred: Sequence[Recipient],
        records: Sequence[Record],
        tried: Try | None = None,
    ) -> "asyncio.Future[None]":
        """Forget those done, note the new due of those deferred, with the records of it.

        `tried` is the connection of those deferred; without it no try is noted. The future
        is done when that is on disk. A message goes with its last recipient.
        """
        future = self._loop.create_future()
        self._inbox.put_patient(Settle.of(future, done, deferred, records, tried))
        for recipient in done:
            self._release(recipient.recipient_id >> ids.RECIPIENT_BITS)
        return future

    async def content(self, envelope: Envelope) -> Content:
        """The content of a message that has recipients; SpoolError if it cannot be read."""
        kept = self._cache.get(envelope.message_id)
        if kept is not None:
            return kept[0]
        number = envelope.message_id
        found = await self._ask(
            lambda connection: fetched(
                connection, "SELECT content, envelope FROM message WHERE id = ?", (number,)
            )
        )
        if not found:
            raise SpoolError(f"message {ids.printed(number)} is not in the spool")
        ((content, text),) = found
        wanted = schema.content_sum(text)
        if content is not None:
            if wanted is not None and crc32(content) != wanted:
                raise SpoolDamagedError(f"message {ids.printed(number)} is not what was written")
            return bytes(content)
        path = content_path(self.directory, number)
        if not path.exists():
            raise SpoolDamagedError(
                f"the content of message {ids.printed(number)} is missing: {path}"
            )
        if wanted and await asyncio.to_thread(file_sum, path) != wanted:
            raise SpoolDamagedError(f"{path} is not what was written")
        return FileContent(path, envelope.size, wanted or None)

    def set_aside(self, message_id: int) -> "asyncio.Future[None]":
        """Keep what is left of a damaged message where an operator can look at it."""

        def change(connection: sqlite3.Connection) -> None:
            path = content_path(self.directory, message_id)
            recovery.set_aside(connection, self.directory, message_id, path)

        return self._change(change)

    # Queues

    async def priorities(self, key: QueueKey) -> list[int]:
        """Which priorities the recipients of a queue have, the highest first."""
        return await self._ask(lambda connection: priorities_of(connection, key))

    async def due(
        self, key: QueueKey, priority: int, after: tuple[float, int] | None, limit: int
    ) -> Page:
        """Recipients of a queue and priority that come after `(due, recipient_id)`, in order."""
        after_due, after_id = after if after is not None else (-1e300, -1)

        def question(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return fetched(
                connection,
                f"SELECT {schema.RECIPIENT_COLUMNS} FROM recipient"  # noqa: S608 - a constant
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                " WHERE recipient.queue = (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"
                " AND priority = ? AND (due, recipient.id) > (?, ?)"
                " ORDER BY due, recipient.id LIMIT ?",
                (*key, priority, after_due, after_id, limit + 1),
            )

        rows = await self._ask(question)
        recipients, damaged = schema.recipients_of(rows[:limit])
        return Page(recipients, damaged, is_last=len(rows) <= limit)

    async def queues(self) -> list[QueueState]:
        """Every queue that has recipients, or of which something is remembered."""
        return await self._ask(queue_states)

    def set_priority(
        self, recipients: Sequence[Recipient], priority: int
    ) -> "asyncio.Future[None]":
        """Give recipients that wait another priority."""
        rows = [(priority, recipient.recipient_id) for recipient in recipients]

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE recipient SET priority = ? WHERE id = ?", rows)

        return self._change(change)

    def save_queue(
        self, key: QueueKey, *, paused: bool, retry_position: int
    ) -> "asyncio.Future[None]":
        """Remember over restarts whether a queue is paused and where its retries stand."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO queue (domain, vmta, paused, retry_position) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (domain, vmta) DO UPDATE SET paused = excluded.paused,"
                " retry_position = excluded.retry_position",
                (*key, paused, retry_position),
            )

        return self._change(change, about=())

    async def move(
        self,
        recipients: Sequence[Recipient],
        source: QueueKey,
        target: QueueKey,
        pool: str,
        staged: Sequence[Staged] = (),
    ) -> Moved:
        """Recipients leave source for target, in one transaction; see `moves.move`."""
        numbers = [recipient.recipient_id for recipient in recipients]
        moved: Moved = {}

        def change(connection: sqlite3.Connection) -> None:
            moved.clear()  # What is rolled back is done again.
            moved.update(moves.move(connection, numbers, source, target, pool, staged))

        await self._change(change)
        return moved

    async def cold_counts(self) -> list[Count]:
        """What VirtualMTAs being warmed up took, as last saved."""
        return await self._ask(moves.cold_counts)

    def save_cold(self, count: Count) -> "asyncio.Future[None]":
        """Remember a count over restarts: on disk not later than what is accepted after it."""
        return self._change(lambda connection: moves.save_cold(connection, count), about=())

    # For operators

    async def find(self, query: RecipientQuery, limit: int) -> list[Recipient]:
        """Up to limit recipients that wait and match, everything settled before left out."""
        return await self._look(lambda connection: find_rows(connection, query, limit))

    async def message(self, message_id: int) -> tuple[Envelope, list[Recipient]] | None:
        """A message and those of its recipients that wait; None if there is no such."""
        first = ids.recipient_id(message_id, 0)
        last = ids.recipient_id(message_id, ids.RECIPIENTS_MAX - 1)

        def question(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return fetched(
                connection,
                f"SELECT {schema.RECIPIENT_COLUMNS} FROM recipient"  # noqa: S608 - a constant
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                " WHERE recipient.id BETWEEN ? AND ? AND (domain, vmta) != (?, ?)"
                " ORDER BY recipient.id",
                (first, last, *gathering.GATHERING),
            )

        recipients = schema.recipients_of(await self._ask(question)).recipients
        return (recipients[0].envelope, recipients) if recipients else None

    # Within

    def _change(
        self,
        change: Callable[[sqlite3.Connection], None],
        *,
        about: Collection[int] | None = None,
        accounted: int = -1,
        is_synced: bool = False,
    ) -> "asyncio.Future[None]":
        future = self._loop.create_future()
        self._inbox.put(Execute(future, change, about, accounted, is_synced))
        return future

    async def _ask(
        self, question: Callable[[sqlite3.Connection], T], *, is_of_mail: bool = True
    ) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(Read(future, question, is_of_mail))
        return await future

    async def _look(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """As `_ask`, beside the writer: for what may take long.

        It may see what is committed meanwhile: then the writer tells of that before this returns.
        """
        await self._ask(lambda _: None)

        def look() -> T:
            connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)
            try:
                return question(connection)
            except Exception as error:
                raise SpoolError(f"the spool cannot be read: {error}") from error
            finally:
                connection.close()

        found = await self._loop.run_in_executor(self._reader, look)
        await self._ask(lambda _: None)
        return found

    def _log_from_writer(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self.log, text)

    def _damage_from_writer(self, error: str) -> None:
        recovery.want_salvage(self._path)
        self._log_from_writer(
            f"the spool database {self._path} is damaged ({error}); the next start recovers "
            "what can be read"
        )
        self._loop.call_soon_threadsafe(self.on_damage)

    def _failure_from_writer(self, error: BaseException) -> None:
        traceback.print_exception(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        self._log_from_writer(
            f"the spool cannot be written any more: {error!r} at"
            f" {Path(frame.filename).name}:{frame.lineno}; please report this"
        )
        self._loop.call_soon_threadsafe(self.on_failure)

    def _post_from_writer(
        self, results: Results, answers: Results, row: int, records: list[Record]
    ) -> None:
        self._loop.call_soon_threadsafe(self._post, results, answers, row, records)

    def _post(self, results: Results, answers: Results, row: int, records: list[Record]) -> None:
        """Tell of what was written; one turn of the loop later, for shields take one, answer."""
        self._tell(results)
        if answers:
            self._loop.call_soon(self._tell, answers)
        if records and self.outbox.on_records is not None:
            self.outbox.on_records(row, records)

    @staticmethod
    def _tell(results: Results) -> None:
        for future, value, error in results:
            if future.done():  # its waiter was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

    def keep(self, message_id: int, content: bytes, recipients: int) -> None:
        """Have content in memory until so many recipients are settled, if there is room."""
        self._cache[message_id] = (content, recipients)
        self._cached_octets += len(content)
        while self._cached_octets > CACHE_OCTETS:
            _, (dropped, _) = self._cache.popitem(last=False)
            self._cached_octets -= len(dropped)

    def _release(self, message_id: int) -> None:
        kept = self._cache.get(message_id)
        if kept is None:
            return
        content, recipients = kept
        if recipients > 1:
            self._cache[message_id] = (content, recipients - 1)
        else:
            del self._cache[message_id]
            self._cached_octets -= len(content)

    def _put_aside(self, message_id: int, text: str, content: bytes | None) -> None:
        path = content_path(self.directory, message_id)
        recovery.put_aside(self.directory, message_id, text.encode(), content, path)

    def _has_room(self) -> bool:
        if not self._min_free:
            return True
        return shutil.disk_usage(self.directory).free >= self._min_free

    def _recover(self, connection: sqlite3.Connection) -> None:
        """Remove files that belong to nothing: a crash came before their commit, or after."""
        gathering.drop(connection)
        parcels.forget_strays(connection)
        for path in self.spill_directory.iterdir():
            path.unlink()
        for path in self._content_directory.glob("*/*"):
            number = ids.parse_printed(path.name)
            row = connection.execute("SELECT 1 FROM message WHERE id = ?", (number,)).fetchone()
            if row is None:
                path.unlink()
