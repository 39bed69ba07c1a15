"""Reads on in the spool where the memory of a queue runs low.

A recipient whose row or message is damaged cannot be delivered, and nothing of it is guessed:
it bounces, and what is left of it is kept aside.
"""

from typing import TYPE_CHECKING

from mta import clock, ids
from mta.bounces import local
from mta.errors import SpoolDamagedError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mta.config.configuration import Configuration
    from mta.daemon.giving_up import GivingUp
    from mta.daemon.ledger import Ledger
    from mta.model.message import Recipient
    from mta.queues.actions import ReadPage
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler
    from mta.spool.store import Spool

UNREADABLE_RETRY_S = 600
"""When a message whose content cannot be read for now is tried again."""


class Pages:
    """Carries out `ReadPage` and `ReadPriorities`."""

    def __init__(
        self,
        scheduler: "Scheduler",
        spool: "Spool",
        ledger: "Ledger",
        giving_up: "GivingUp",
        kick: "Callable[[], None]",
        log: "Callable[[str], None]",
    ) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._ledger = ledger
        self._giving_up = giving_up
        self._kick = kick
        self._log = log

    async def read_priorities(self, queue: "Queue") -> None:
        """Which priorities a queue has in the spool."""
        priorities: list[int] | None = None
        try:
            priorities = await self._spool.priorities(queue.key)
        except SpoolError as error:
            self._log(f"cannot read queue {queue.key}: {error}")
        finally:
            self._scheduler.priorities_read(queue, priorities, clock.now())
            self._kick()

    async def read(self, wanted: "ReadPage") -> None:
        """The next recipients of one priority of a queue."""
        queue, lane, after, limit = wanted
        recipients: list[Recipient] | None = None
        is_last = False
        try:
            page = await self._spool.due(queue.key, lane.priority, after, limit)
            recipients, is_last = page.recipients, page.is_last
            if page.damaged:
                self._give_up(queue, page.damaged, "its row is not what was written")
        except SpoolError as error:
            self._log(f"cannot read queue {queue.key}: {error}")
        finally:
            now = clock.now()
            self._scheduler.page_read(queue, lane, recipients, is_last=is_last, now=now)
            self._kick()

    def unreadable(
        self, connection: "Connection", batch: "list[Recipient]", why: SpoolError
    ) -> None:
        """The content of a batch cannot be read, for good or for now; the connection goes on."""
        queue = connection.queue
        now = clock.now()
        if isinstance(why, SpoolDamagedError):
            self._scheduler.finish(connection, done=(), deferred=(), untried=(), now=now)
            self._give_up(queue, batch, str(why))
            return
        self._log(f"cannot read a message for {queue.key}: {why}")
        for recipient in batch:
            recipient.due = now + UNREADABLE_RETRY_S
            recipient.last_reply = str(why)
        self._ledger.settle((), batch, ())
        self._scheduler.finish(connection, done=(), deferred=batch, untried=(), now=now)

    def give_up_staged(
        self, recipients: "Sequence[Recipient]", why: str, configuration: "Configuration"
    ) -> None:
        """Bounce what is damaged and of a queue of another shard."""
        self._set_aside(recipients, why)
        self._giving_up.bounce_elsewhere(recipients, local.DAMAGED, clock.now(), configuration)

    def _give_up(self, queue: "Queue", recipients: "Sequence[Recipient]", why: str) -> None:
        """Bounce what is damaged: it was accepted, and whoever sent it must hear of it."""
        self._set_aside(recipients, why)
        self._giving_up.bounce(queue, recipients, local.DAMAGED, clock.now())

    def _set_aside(self, recipients: "Sequence[Recipient]", why: str) -> None:
        for recipient in recipients:
            message = ids.printed(recipient.envelope.message_id)
            self._log(
                f"{recipient.queue}: message {message} to {recipient.address} is damaged and "
                f"bounces; what is left of it is in damaged/ of the spool: {why}"
            )
        for number in {recipient.envelope.message_id for recipient in recipients}:
            self._ledger.follow(self._spool.set_aside(number))
