"""Moves what a queue holds to the queues it goes to.

A page at a time: read, ask for the way of each message, change the queue on disk in one
transaction, then in memory. A crash leaves each recipient in exactly one queue, the old or
the new one, and the next start finds it there. Who is in a transaction with a peer is not
touched; it comes back to its queue or is done.

`moved` is the only way out of a queue for another. What another shard owns waits in this
one's spool, out of every queue, until the owner has it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from mta import address, clock, failpoints
from mta.errors import SpoolError
from mta.model.queue_key import QueueKey

if TYPE_CHECKING:
    from mta.daemon.handover import Handover
    from mta.daemon.rollups import Rollups
    from mta.daemon.router import Router
    from mta.model.message import Recipient
    from mta.net.told_smtp import Trace
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler
    from mta.routing.redirect import Hop
    from mta.spool.store import Spool

PAGE_RECIPIENTS = 500
"""Moved in one transaction at most."""


class Context(Protocol):
    """What of the shard moving depends on; a reload changes some of it."""

    rollups: "Rollups"
    handover: "Handover | None"
    is_stopping: bool

    def owns(self, key: QueueKey) -> bool: ...

    @property
    def router(self) -> "Router": ...

    def log(self, text: str) -> None: ...

    def trace_of(self, queue: "Queue", source_ip: str | None = None) -> "Trace | None":
        """Where the lines of a new connection of the queue from there, or such as no connection
        has, go, if anybody wants them.
        """


class Mover:
    """Carries out `LookUp` and `Forward`; `kick` has the scheduler decide anew."""

    def __init__(
        self,
        context: Context,
        scheduler: "Scheduler",
        spool: "Spool",
        kick: Callable[[], None],
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._spool = spool
        self._kick = kick

    async def look_up(self, queue: "Queue") -> None:
        """Have it known whether a domain is rolled up."""
        after = queue.settings.retry_after_dns_error
        try:
            await self._context.rollups.look_up(queue.key.domain, again_after=after)
        finally:
            self._scheduler.looked_up(queue)
            self._kick()

    async def forward(self, queue: "Queue") -> None:
        """Move everything a queue holds that goes elsewhere now."""
        counts: Counter[tuple[QueueKey, str]] = Counter()
        is_interrupted = False
        try:
            for priority in await self._spool.priorities(queue.key):
                is_interrupted = not await self._forward_lane(queue, priority, counts)
                if is_interrupted:
                    break
        except SpoolError as error:
            self._context.log(f"cannot move mail of queue {queue.key}: {error}")
        finally:
            later = not counts.total() and not is_interrupted
            self._scheduler.forwarded(queue, clock.now(), later=later)
            self._tell(queue, counts)
            self._kick()

    async def moved(
        self, recipients: "Sequence[Recipient]", source: "Queue", target: QueueKey, pool: str
    ) -> int:
        """Recipients of one queue are in another when this returns; how many were still there.

        `pool` is the one that gave the VirtualMTA, empty to leave theirs as it is.
        """
        handover = self._context.handover
        is_ours = handover is None or self._context.owns(target)
        move = self._spool.move if handover is None or is_ours else handover.move
        kept = await move(recipients, source.key, target, pool)
        failpoints.reach("move.after-commit")
        gone = [recipient for recipient in recipients if recipient.recipient_id in kept]
        self._scheduler.settled(source, gone)
        for recipient in gone:
            # As the disk has it: who was in flight when the page was read may have been deferred.
            recipient.due, recipient.attempts, recipient.last_reply = kept[recipient.recipient_id]
            recipient.queue = target
            recipient.pool = pool or recipient.pool
        if is_ours:
            self._scheduler.arrive(gone, clock.now())
        return len(gone)

    async def _forward_lane(
        self, queue: "Queue", priority: int, counts: Counter[tuple[QueueKey, str]]
    ) -> bool:
        """Move what has one priority; False if something came in between."""
        after = None
        while True:
            found = await self._spool.due(queue.key, priority, after, PAGE_RECIPIENTS)
            page = found.recipients
            busy = {r.recipient_id for c in queue.connections.values() for r in c.batch}
            free = [recipient for recipient in page if recipient.recipient_id not in busy]
            for (directive, target, pool), group in self._grouped(queue.key, free).items():
                if self._context.is_stopping or queue.frozen > 1:
                    return False  # Another goes through the queue, such as a `delete`.
                counts[target, directive] += await self.moved(group, queue, target, pool)
            if found.is_last or not page:
                return True
            after = (page[-1].due, page[-1].recipient_id)

    def _grouped(
        self, key: QueueKey, recipients: "Iterable[Recipient]"
    ) -> "dict[tuple[str, QueueKey, str], list[Recipient]]":
        """Recipients by where they go: last directive, queue, pool. Who stays is left out."""
        groups: dict[tuple[str, QueueKey, str], list[Recipient]] = {}
        ways: dict[tuple[int, str], list[Hop]] = {}
        is_orphan = self._context.router.redirects.is_orphan(key)
        for recipient in recipients:
            domain = address.domain_of(recipient.address) if is_orphan else ""
            # The recipients of a message stay together, so that they share a transaction.
            asked = (recipient.envelope.message_id, domain)
            if asked not in ways:
                ways[asked] = self._way(key, domain)
            if way := ways[asked]:
                pool = next((hop.pool for hop in reversed(way) if hop.pool), "")
                end = way[-1]
                groups.setdefault((end.directive, end.key, pool), []).append(recipient)
        return groups

    def _way(self, key: QueueKey, domain: str) -> "list[Hop]":
        redirects = self._context.router.redirects
        return redirects.home(key, domain) if domain else redirects.way(key)

    def _tell(self, queue: "Queue", counts: Counter[tuple[QueueKey, str]]) -> None:
        sink = self._context.trace_of(queue)
        now = clock.now()
        for text in _sentences(counts):
            queue.note_move(now, text)
            if sink is not None:
                sink(text)


def _sentences(counts: Counter[tuple[QueueKey, str]]) -> Iterator[str]:
    for (target, directive), count in counts.items():
        if count:
            what = "recipient" if count == 1 else "recipients"
            yield f"{count} {what} moved to {target}: {directive}"
