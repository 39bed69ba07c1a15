"""The accepting side of a handover: mail for queues that other shards own.

A message whose recipients all belong to one other shard goes straight to it, and 250 is
answered when that shard has committed it: one write to one disk, as with one worker. If
the owner does not answer in time, or the message has several owners, this shard commits
it whole with the recipients of others *staged*, answers, and hands them over afterwards
for as long as it takes. So a message is accepted whole or not at all, whoever is down.

After a connection broke or a wait was given up the sender cannot know whether the owner
has the parcel. It hands it over again under the same number, which the owner remembers
(`spool.parcels`), and with the same receipts, so that they are written with it or were.
Numbers are forgotten only when nothing below them is unresolved.

What is staged and turns out to be damaged bounces here, as it would with its owner.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta import failpoints, ids
from mta.admin.socket_path import reachable
from mta.daemon import partition
from mta.daemon.parcel_wire import ACK, Fate, Kind, frame, parcel_frame, raise_refusal
from mta.daemon.takeover import SOCKET_NAME
from mta.errors import SpoolDamagedError, SpoolError
from mta.spool.shards import shard_directory

if TYPE_CHECKING:
    from mta.model.message import Content, Envelope, Recipient
    from mta.model.queue_key import QueueKey
    from mta.model.record import Record
    from mta.spool.moves import Moved
    from mta.spool.parcels import Parcel
    from mta.spool.store import Spool

WAIT_S: Final = 5.0
"""How long a submitter waits for another shard before its message is staged here. A disk
that syncs slower than that is in trouble."""
WAITS_CHECKED_S: Final = 0.5
UNANSWERED_MAX: Final = 1000
"""Parcels handed to one owner and not acknowledged; more are staged. At 5 KB, 5 MB."""
PAGE_PARCELS: Final = 100
"""Staged parcels handed over at once."""
RECONNECT_S: Final = 0.1
RETRY_S: Final = 1.0
"""When an owner that could not store is asked again."""
FORGET_EVERY: Final = 1000
"""Resolved parcels after which the owner is told what to forget."""
UNSENT_OCTETS_MAX: Final = 16 << 20
"""Octets an owner has not read yet; beyond that, too, parcels are staged."""

Log = Callable[[str], None]
GiveUp = Callable[["Sequence[Recipient]", str], None]
"""Has staged recipients bounce that are damaged, and why."""


class Handover:
    """What one shard hands to all others."""

    def __init__(self, spool: "Spool", root: Path, *, shard: int, shards: int, log: Log) -> None:
        self._spool = spool
        self._running: list[asyncio.Task[None]] = []
        self._shard = shard
        self._shards = shards
        self.links = {
            owner: Link(spool, root, shard=shard, owner=owner, shards=shards, log=log)
            for owner in range(shards)
            if owner != shard
        }

    async def __aenter__(self) -> "Handover":
        loop = asyncio.get_running_loop()
        self._running = [loop.create_task(link.run()) for link in self.links.values()]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def begin(self, give_up: GiveUp) -> None:
        """Hand over what is staged from now on; `give_up` is for what is damaged."""
        for link in self.links.values():
            link.begin(give_up)

    async def accept(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> None:
        """As `Spool.accept`; it is on the disk of one shard or of several when this returns."""
        owners = [partition.owner(r.queue, self._shards) for r in recipients]
        receipts: Sequence[Record] = ()
        first = owners[0]
        if all(owner == first for owner in owners):
            if first == self._shard:
                await self._spool.accept(envelope, content, recipients, records)
                return
            # The owner remembers the number: it must never be that of another message.
            if self._spool.numbers.is_reserved(envelope.message_id):
                link = self.links[first]
                fate = await link.hand_over(envelope, content, recipients, records)
                if fate is not None:
                    raise_refusal(fate)
                    return
                if link.is_unresolved(envelope.message_id):
                    records, receipts = (), records
        await self._stage(envelope, content, recipients, records, receipts, owners)

    # Many messages, all of them or none

    def begin_together(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> "asyncio.Future[None]":
        """As `Spool.begin_accept`: on this disk; it goes to its owners when `release` is called."""
        owners = [partition.owner(r.queue, self._shards) for r in recipients]
        return self._begin_staged(envelope, content, recipients, records, (), owners)

    async def let_go(self, recipients: "Sequence[Recipient]") -> "set[int]":
        """As `Spool.let_go`; what others own goes to them."""
        owned = [(one, partition.owner(one.queue, self._shards)) for one in recipients]
        staged = [
            (one.recipient_id, one.envelope.message_id, owner)
            for one, owner in owned
            if owner != self._shard
        ]
        for _, number, owner in staged:
            self.links[owner].stage(number)
        try:
            return await self._spool.let_go(recipients, staged)
        except SpoolError:
            for _, number, owner in staged:
                self.links[owner].give_up(number)
            raise
        finally:
            self.release()  # Also where nobody waits any more: it may be on disk all the same.

    def release(self) -> None:
        """What was stored may go to its owners."""
        for link in self.links.values():
            link.wake()

    async def move(
        self, recipients: "Sequence[Recipient]", source: "QueueKey", target: "QueueKey", pool: str
    ) -> "Moved":
        """As `Spool.move`, to a queue of another shard; it waits here until that shard has it."""
        owner = partition.owner(target, self._shards)
        link = self.links[owner]
        # One number for each message: what it went by before may not be forgotten yet.
        numbers = {r.envelope.message_id: self._spool.next_message_id() for r in recipients}
        for number in numbers.values():
            link.stage(number)
        staged = [(r.recipient_id, numbers[r.envelope.message_id], owner) for r in recipients]
        try:
            moved = await self._spool.move(recipients, source, target, pool, staged)
        except SpoolError:
            for number in numbers.values():
                link.give_up(number)
            raise
        finally:
            link.wake()  # Also where nobody waits any more: it may be on disk all the same.
        gone = {ids.message_of(recipient) for recipient in moved}
        for message_id, number in numbers.items():
            if message_id not in gone:
                link.give_up(number)
        return moved

    async def _stage(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
        receipts: "Sequence[Record]",
        owners: list[int],
    ) -> None:
        accepted = self._begin_staged(envelope, content, recipients, records, receipts, owners)
        accepted.add_done_callback(lambda _: self._wake(owners))
        await asyncio.shield(accepted)  # It goes to its owners, whoever waits for it here or not.
        if isinstance(content, bytes):
            self._spool.keep(envelope.message_id, content, len(recipients))

    def _begin_staged(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
        receipts: "Sequence[Record]",
        owners: list[int],
    ) -> "asyncio.Future[None]":
        number = envelope.message_id
        elsewhere = {owner for owner in owners if owner != self._shard}
        for owner in elsewhere:
            self.links[owner].stage(number)
        staged = [
            (recipient.recipient_id, number, owner)
            for recipient, owner in zip(recipients, owners, strict=True)
            if owner != self._shard
        ]
        accepted = self._spool.begin_accept(
            envelope, content, recipients, records, staged=staged, receipts=receipts
        )
        links = [self.links[owner] for owner in elsewhere]
        accepted.add_done_callback(lambda done: _staged(done, number, links))
        return accepted

    def _wake(self, owners: list[int]) -> None:
        for owner in set(owners) - {self._shard}:
            self.links[owner].wake()


class Link:
    """The connection to one owner, made again whenever it breaks."""

    def __init__(
        self, spool: "Spool", root: Path, *, shard: int, owner: int, shards: int, log: Log
    ) -> None:
        self._spool = spool
        self._log = log
        self._path = shard_directory(root, owner) / SOCKET_NAME
        self._owner = owner
        self._hello = frame(Kind.HELLO, 0, json.dumps({"shard": shard, "shards": shards}).encode())
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[int, tuple[float, asyncio.Future[Fate | None]]] = {}
        """By number: until when, and who waits for what becomes of it."""
        self._unresolved: set[int] = set()
        """Parcels the owner may see again."""
        self._has_staged = True
        """Whether the spool may hold parcels for the owner; a start has to look."""
        self._staged = asyncio.Event()
        self._give_up: asyncio.Future[GiveUp] = self._loop.create_future()
        self._complained: set[int] = set()
        """Parcels that could not be handed over, which the log has said."""
        self._resolved = 0
        self.on_written: Callable[[int], None] = lambda _: None
        self.on_connected: Callable[[], None] = lambda: None

    @property
    def is_up(self) -> bool:
        return self._writer is not None

    @property
    def has_staged(self) -> bool:
        """Whether mail for the owner waits here."""
        return self._has_staged

    def is_unresolved(self, number: int) -> bool:
        """Whether the owner may have a parcel: whose receipts would then be there, too."""
        return number in self._unresolved

    # Straight to the owner

    async def hand_over(
        self,
        envelope: "Envelope",
        content: "Content",
        recipients: "Sequence[Recipient]",
        records: "Sequence[Record]",
    ) -> Fate | None:
        """What became of it; None if that is not known, and it must be staged."""
        number = envelope.message_id
        octets = parcel_frame(number, envelope, content, list(recipients), list(records))
        try:
            return await self._put(number, octets)
        except asyncio.CancelledError:
            self.give_up(number)
            raise

    async def _put(self, number: int, octets: bytes) -> Fate | None:
        writer = self._writer
        if (
            writer is None
            or len(self._waiting) >= UNANSWERED_MAX
            or writer.transport.get_write_buffer_size() > UNSENT_OCTETS_MAX
        ):
            return None
        future: asyncio.Future[Fate | None] = self._loop.create_future()
        self._waiting[number] = (self._loop.time() + WAIT_S, future)
        self._unresolved.add(number)
        writer.write(octets)
        failpoints.reach("handover.sent")
        try:
            fate = await future
        except asyncio.CancelledError:
            self._waiting.pop(number, None)
            raise
        if fate is not None:
            self._resolve(number)
        return fate

    # Through the spool

    def begin(self, give_up: GiveUp) -> None:
        """Hand over what is staged from now on."""
        self._give_up.set_result(give_up)

    def stage(self, number: int) -> None:
        """A parcel for the owner is about to be committed here."""
        self._has_staged = True
        self._unresolved.add(number)

    def give_up(self, number: int) -> None:
        """It could not be committed here either, or nobody waits for it any more.

        Whoever sent it has no 250, and the owner will not see it again.
        """
        self._unresolved.discard(number)

    def wake(self) -> None:
        """There are staged parcels."""
        self._staged.set()

    def _resolve(self, number: int) -> None:
        self._unresolved.discard(number)
        self._resolved += 1
        if self._resolved >= FORGET_EVERY and not self._has_staged and self._writer is not None:
            self._resolved = 0
            below = min(self._unresolved, default=self._spool.numbers.taken_below)
            self._writer.write(frame(Kind.FORGET, below))

    # Accounting

    def send_records(self, row: int, body: str) -> bool:
        """Give the owner a row of the accounting outbox; False if there is no connection."""
        if self._writer is None:
            return False
        self._writer.write(frame(Kind.RECORDS, row, body.encode("utf-8", "surrogateescape")))
        return True

    # The connection

    async def run(self) -> None:
        """Keep connected until cancelled."""
        while True:
            try:
                with reachable(self._path) as address:
                    reader, writer = await asyncio.open_unix_connection(address)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            pump = self._loop.create_task(self._pump())
            checks = self._loop.create_task(self._check_waits())
            try:
                writer.write(self._hello)
                self._writer = writer
                self._staged.set()
                self.on_connected()
                await self._read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # the owner died or stops
            finally:
                self._writer = None
                for task in (pump, checks):
                    task.cancel()
                await asyncio.gather(pump, checks, return_exceptions=True)
                self._release_waiting()
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            await asyncio.sleep(RECONNECT_S)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            fate, number = ACK.unpack(await reader.readexactly(ACK.size))
            if fate == Fate.WRITTEN:
                self.on_written(number)
                continue
            waiting = self._waiting.pop(number, None)
            if waiting is not None and not waiting[1].done():
                waiting[1].set_result(Fate(fate))

    async def _check_waits(self) -> None:
        """Let nobody wait longer than it may; those waiting longest come first."""
        while True:
            await asyncio.sleep(WAITS_CHECKED_S)
            now = self._loop.time()
            for number, (until, future) in list(self._waiting.items()):
                if until > now:
                    break
                del self._waiting[number]
                if not future.done():
                    future.set_result(None)

    def _release_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for _, future in waiting.values():
            if not future.done():
                future.set_result(None)

    async def _pump(self) -> None:
        """Hand over what is staged, oldest first, whenever there is some."""
        give_up = await asyncio.shield(self._give_up)
        while True:
            await self._staged.wait()
            self._staged.clear()
            try:
                await self._hand_over_all(give_up)
            except Exception as error:  # else all of it would wait until the next start
                self._log(f"mail for worker {self._owner} waits: {error!r}")
                await asyncio.sleep(RETRY_S)
                self._staged.set()
            self._has_staged = self._staged.is_set()

    async def _hand_over_all(self, give_up: GiveUp) -> None:
        """Page after page; what cannot be handed over for now has its turn again, and waits alone.

        Then there is a page a second, so that an owner in trouble is not asked for a million.
        """
        after, is_all = 0, True
        while True:
            page = await self._spool.parcels.staged(self._owner, PAGE_PARCELS, after)
            if not page.last:
                if is_all:
                    return
                after, is_all = 0, True
                continue
            after = page.last
            if page.damaged:
                await self._bounce(page.damaged, "its row is not what was written", give_up)
            done = await asyncio.gather(*(self._hand_over_staged(p, give_up) for p in page.parcels))
            if not all(done):
                is_all = False
                await asyncio.sleep(RETRY_S)

    async def _hand_over_staged(self, parcel: "Parcel", give_up: GiveUp) -> bool:
        number = parcel.number
        self._unresolved.add(number)
        try:
            content = await self._spool.content(parcel.envelope)
        except SpoolDamagedError as error:
            await self._bounce(parcel.recipients, str(error), give_up, parcel.receipts)
            self._resolved_staged(number)
            return True
        except SpoolError as error:
            self._complain(number, str(error))
            return False
        octets = parcel_frame(
            number, parcel.envelope, content, parcel.recipients, list(parcel.receipts)
        )
        fate = await self._put(number, octets)
        if fate is not Fate.TAKEN:
            self._unresolved.add(number)
            if fate is Fate.BROKEN:
                self._complain(number, "it could not be stored there")
            return False
        failpoints.reach("handover.before-unstage")
        await asyncio.gather(
            self._spool.settle(parcel.recipients, (), ()),
            self._spool.parcels.unstage(parcel.recipients),
        )
        self._resolved_staged(number)
        return True

    async def _bounce(
        self,
        recipients: "Sequence[Recipient]",
        why: str,
        give_up: GiveUp,
        receipts: "Sequence[Record]" = (),
    ) -> None:
        give_up(recipients, why)  # On disk before what follows.
        settled = self._spool.settle((), (), receipts)
        await asyncio.gather(settled, self._spool.parcels.unstage(recipients))

    def _complain(self, number: int, why: str) -> None:
        """Once for each parcel: it is tried again every second."""
        if number not in self._complained:
            self._complained.add(number)
            message = ids.printed(number)
            self._log(f"{message} cannot be handed to worker {self._owner} and waits: {why}")

    def _resolved_staged(self, number: int) -> None:
        self._unresolved.discard(number)
        self._complained.discard(number)


def _staged(done: "asyncio.Future[None]", number: int, links: "list[Link]") -> None:
    """A message whose recipients others own is on this disk, or is not."""
    if done.exception() is None:
        failpoints.reach("handover.staged")
        return
    for link in links:
        link.give_up(number)
