"""Gives up recipients that are in no transaction: one queue's, or a whole queue at once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from mta import clock
from mta.bounces import local
from mta.daemon.ledger import NO_ATTEMPT, Ledger
from mta.errors import SpoolError
from mta.model.attempt import Attempt
from mta.model.outcome import Bounced, Delivered

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.message import Recipient
    from mta.model.record import Record
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler
    from mta.settings.domain import DomainSettings
    from mta.spool.store import Spool

SCHEDULED_S = 600
"""How often a queue that rests is looked through whose old mail has windows to come."""
DISCARD = Attempt(delivery_type="discard")
DISCARDED = "x-pmta;discarded"
BOUNCE_PAGE = 500
"""Recipients read at once when a whole queue is bounced."""


class Elsewhere(NamedTuple):
    """A queue of another shard: what of it accounting asks for."""

    settings: "DomainSettings"


class Frozen:
    """Queues from which nothing is taken, and what of them was under way before."""

    def __init__(self, queues: "Sequence[Queue]") -> None:
        self.queues: dict[Queue, None] = {}
        self.busy: set[int] = set()
        """Ids of recipients that are in a transaction and not to be touched."""
        for queue in queues:
            self._freeze(queue)

    def look(self) -> None:
        """Note what is under way now."""
        for queue in self.queues:
            self._note(queue)

    def add(self, queue: "Queue") -> bool:
        """Freeze one more; False if it is frozen already.

        What was read of it before may have been delivered since, and has to be read again.
        """
        if queue in self.queues:
            return False
        self._freeze(queue)
        self._note(queue)
        return True

    def _freeze(self, queue: "Queue") -> None:
        self.queues[queue] = None
        queue.frozen += 1

    def _note(self, queue: "Queue") -> None:
        self.busy.update(r.recipient_id for c in queue.connections.values() for r in c.batch)


class GivingUp:
    """Bounces without a connection; `kick` has the scheduler decide anew."""

    def __init__(
        self,
        scheduler: "Scheduler",
        spool: "Spool",
        ledger: Ledger,
        kick: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._ledger = ledger
        self._kick = kick
        self._log = log
        self._at_work = asyncio.Lock()
        self._sweeping = asyncio.Lock()
        """One queue is swept at a time: a sweep reads much, and none is in a hurry."""

    def bounce(
        self,
        queue: "Queue",
        recipients: "Sequence[Recipient]",
        outcome: Bounced,
        now: float,
        *,
        is_accounted: bool = True,
        is_told: bool = True,
    ) -> None:
        """Bounce recipients that are in no transaction."""
        records: list[Record] = []
        for recipient in recipients:
            self._ledger.bounced(
                records,
                queue,
                recipient,
                outcome,
                NO_ATTEMPT,
                now,
                is_accounted=is_accounted,
                is_told=is_told,
            )
        self._ledger.settle(recipients, (), records)
        self._scheduler.settled(queue, recipients)

    def bounce_elsewhere(
        self,
        recipients: "Sequence[Recipient]",
        outcome: Bounced,
        now: float,
        configuration: "Configuration",
    ) -> None:
        """Bounce recipients of queues of other shards, which know nothing of them yet."""
        records: list[Record] = []
        for recipient in recipients:
            queue = Elsewhere(configuration.domain(recipient.queue))
            self._ledger.bounced(records, queue, recipient, outcome, NO_ATTEMPT, now)
        self._ledger.settle(recipients, (), records)

    def bounce_due(self, connection: "Connection", outcome: local.OutcomeOf) -> None:
        """Bounce what a connection would have delivered; then it is over."""
        now = clock.now()
        self._scheduler.connected(connection, "", now)
        while isinstance(batch := self._scheduler.next_batch(connection, now), list):
            self._scheduler.finish(connection, done=(), deferred=(), untried=(), now=now)
            for recipient in batch:
                self.bounce(connection.queue, [recipient], outcome(recipient), now)
        self._scheduler.closed(connection, now)

    def discard(self, connection: "Connection") -> None:
        """`type discard`: mail goes nowhere, and is accounted as delivered or bounced."""
        queue = connection.queue
        now = clock.now()
        while isinstance(batch := self._scheduler.next_batch(connection, now), list):
            records: list[Record] = []
            for recipient in batch:
                if queue.settings.discard_as_bounce:
                    bounced = Bounced("5.0.0", DISCARDED)
                    self._ledger.bounced(
                        records, queue, recipient, bounced, DISCARD, now, is_told=False
                    )
                else:
                    delivered = Delivered("2.0.0", DISCARDED)
                    self._ledger.delivered(records, queue, recipient, delivered, DISCARD, now)
            self._ledger.settle(batch, (), records)
            count = 0 if queue.settings.discard_as_bounce else len(batch)
            self._scheduler.finish(
                connection, done=batch, deferred=(), untried=(), now=now, delivered=count
            )
        self._scheduler.closed(connection, now)

    async def sweep(self, queue: "Queue") -> None:
        """Give up what is too old in a queue, wherever it is."""
        oldest = 0.0
        async with self._sweeping:
            try:
                found = await self._spool.ages.oldest(queue.key)
                after = queue.settings.bounce_after
                is_old = found is not None and found + after <= clock.now()
                # It may have had to wait so long for its turn that another has its name.
                is_there = self._scheduler.queues.get(queue.key) is queue
                if is_old and is_there and not queue.frozen:
                    async with self.frozen([queue]) as frozen:
                        is_scheduled = await self._expire(queue, frozen.busy)
                    found = await self._spool.ages.oldest(queue.key)
                    if is_scheduled and found is not None:
                        found = max(found, clock.now() - after + SCHEDULED_S)
                oldest = float("inf") if found is None else found
            except SpoolError as error:
                self._log(f"cannot look for old mail of queue {queue.key}: {error}")
            finally:
                self._scheduler.swept(queue, oldest)

    async def _expire(self, queue: "Queue", busy: set[int]) -> bool:
        """Whether something stays that has windows still, though it is old."""
        is_scheduled = False
        now = clock.now()
        async for page in self._older(queue, now - queue.settings.bounce_after):
            old = [r for r in page if r.recipient_id not in busy and queue.expires_at(r) <= now]
            self.bounce(queue, old, local.EXPIRED, now)
            is_scheduled |= any(r.envelope.windows and queue.expires_at(r) > now for r in page)
        return is_scheduled

    async def without_mx(self, queue: "Queue", after: int) -> None:
        """Bounce what could be tried `after` seconds ago: the domain of the queue has no MX."""

        def old(page: "list[Recipient]") -> "list[Recipient]":
            return [r for r in page if r.envelope.due + after <= now]

        try:
            found = await self._spool.ages.oldest(queue.key)
            now = clock.now()
            if found is None or found + after > now or queue.frozen:
                return
            # What waits for its window since long would freeze the queue for each connection.
            async with aclosing(self._older(queue, now - after)) as pages:
                async for page in pages:
                    if old(page):
                        break
                else:
                    return
            async with self.frozen([queue]) as frozen:
                async for page in self._older(queue, now - after):
                    free = [r for r in old(page) if r.recipient_id not in frozen.busy]
                    self.bounce(queue, free, local.NO_MX, now)
        except SpoolError as error:
            self._log(f"cannot look for old mail of queue {queue.key}: {error}")

    async def _older(
        self, queue: "Queue", before: float
    ) -> AsyncGenerator["list[Recipient]", None]:
        """What a queue holds that was queued before a time, wherever it is, page by page."""
        ages = self._spool.ages
        bounds = await ages.bounds(queue.key, before)
        after = None
        while True:
            page = await ages.older(queue.key, bounds, after, BOUNCE_PAGE)
            yield page
            if len(page) < BOUNCE_PAGE:
                return
            after = (page[-1].priority, page[-1].due, page[-1].recipient_id)

    async def bounce_queue(self, queue: "Queue", outcome: Bounced) -> None:
        """Bounce everything a queue holds that is in no transaction this moment."""
        if queue.frozen:
            return  # Another reply said the same a moment ago, or an operator is at it.
        try:
            async with self.frozen([queue]) as frozen:
                for priority in await self._spool.priorities(queue.key):
                    await self._bounce_lane(queue, priority, outcome, frozen.busy)
        except SpoolError as error:
            self._log(f"cannot bounce all of queue {queue.key}: {error}")

    async def _bounce_lane(
        self, queue: "Queue", priority: int, outcome: Bounced, busy: set[int]
    ) -> None:
        after = None
        while True:
            page = await self._spool.due(queue.key, priority, after, BOUNCE_PAGE)
            recipients = [r for r in page.recipients if r.recipient_id not in busy]
            self.bounce(queue, recipients, outcome, clock.now())
            if page.is_last or not page.recipients:
                return
            last = page.recipients[-1]
            after = (last.due, last.recipient_id)

    @asynccontextmanager
    async def frozen(self, queues: "Sequence[Queue]") -> AsyncIterator["Frozen"]:
        """Nothing is taken from these queues meanwhile; afterwards they are read again.

        One at a time has mail in its hands: what two gave up would be accounted twice.
        """
        frozen = Frozen(queues)
        try:
            async with self._at_work:
                frozen.look()
                yield frozen
        finally:
            for queue in frozen.queues:
                queue.frozen -= 1
                self._scheduler.reread(queue)
            self._kick()
