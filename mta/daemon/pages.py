"""Reads on in the spool where the memory of a queue runs low."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mta import clock
from mta.errors import SpoolError

if TYPE_CHECKING:
    from mta.queues.actions import ReadPage
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler
    from mta.spool.store import Spool


class Pages:
    """Carries out `ReadPage` and `ReadPriorities`; `kick` has the scheduler decide anew."""

    def __init__(
        self,
        scheduler: "Scheduler",
        spool: "Spool",
        kick: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._scheduler = scheduler
        self._spool = spool
        self._kick = kick
        self._log = log

    async def read_priorities(self, queue: "Queue") -> None:
        """Which priorities a queue has in the spool."""
        priorities: list[int] | None = None
        try:
            priorities = await self._spool.priorities(queue.key)
        except SpoolError as error:
            self._log(f"cannot read queue {queue.key}: {error}")
        self._scheduler.priorities_read(queue, priorities, clock.now())
        self._kick()

    async def read(self, wanted: "ReadPage") -> None:
        """The next recipients of one priority of a queue."""
        queue, lane, after, limit = wanted
        recipients, is_last = None, False
        try:
            recipients, is_last = await self._spool.due(queue.key, lane.priority, after, limit)
        except SpoolError as error:
            self._log(f"cannot read queue {queue.key}: {error}")
        self._scheduler.page_read(queue, lane, recipients, is_last=is_last, now=clock.now())
        self._kick()
