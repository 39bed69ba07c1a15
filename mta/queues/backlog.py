"""The recipients of a queue that wait: by priority, and in each priority by due.

Each priority has a lane (`queues/lane.py`), so that what is important but not due yet never
stands before what is due, and mail of a higher priority never stands behind a million of a
lower one. Nearly every queue has one lane; there are at most 101.

Which priorities the spool holds is asked once, when the queue is read from there; from then
on the lanes know. Until the answer comes there are none, and mail that arrives meanwhile is
remembered and looked at again.
"""

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from mta.model.message import Recipient
from mta.queues.lane import Key, Lane


class PageWanted(NamedTuple):
    """A page of a lane that is to be read, from the key it starts after (None: the start)."""

    lane: Lane
    after: Key | None


class Backlog:
    """All lanes of one queue, the highest priority first."""

    __slots__ = ("_is_asking", "_is_known", "_is_stale", "_lanes", "_late")

    def __init__(self, *, complete: bool = True) -> None:
        self._lanes: list[Lane] = []
        self._is_known = complete
        self._is_asking = self._is_stale = False
        self._late: list[Recipient] = []

    def __len__(self) -> int:
        return sum(map(len, self._lanes))

    def __iter__(self) -> Iterator[Recipient]:
        """Every recipient in memory, in no order."""
        for lane in self._lanes:
            yield from lane

    @property
    def is_reading(self) -> bool:
        """Whether the spool has been asked for something that has not come yet."""
        return self._is_asking or any(lane.is_reading for lane in self._lanes)

    @property
    def is_complete(self) -> bool:
        """Whether everything that waits is in memory."""
        return self._is_known and all(lane.is_complete for lane in self._lanes)

    # Mail

    def add(self, recipient: Recipient, now: float) -> None:
        """Take a recipient that the spool has; keep it in memory if it belongs there."""
        lane = self._lane(recipient.priority)
        if lane is None:
            if not self._is_known:
                if self._is_asking:
                    self._late.append(recipient)
                return
            lane = self._open(recipient.priority, complete=True)
        lane.add(recipient, now)

    def ready(self, now: float) -> int:
        """How many recipients in memory are due."""
        found = 0
        for lane in self._lanes:
            found += lane.ready(now)
        return found

    def next_due(self) -> float | None:
        """When the first recipient in memory that is not due yet will be."""
        times = [due for lane in self._lanes if (due := lane.next_due()) is not None]
        return min(times, default=None)

    def soonest(self) -> Recipient | None:
        """The first recipient in memory that is not due yet."""
        found = [one for lane in self._lanes if (one := lane.soonest()) is not None]
        return min(found, key=lambda one: one.due, default=None)

    def ready_messages(self) -> int:
        """About how many messages the due recipients belong to: how many can go at once."""
        return sum(lane.ready_messages() for lane in self._lanes)

    def first(self) -> Recipient | None:
        """The due recipient that goes next. Call `ready` before."""
        for lane in self._lanes:
            first = lane.first()
            if first is not None:
                return first
        return None

    def pop(self, limit: int) -> list[Recipient]:
        """Take up to limit due recipients of one message, beginning with the `first`.

        Call `ready` before: it moves what has become due.
        """
        for lane in self._lanes:
            batch = lane.pop(limit)
            if batch:
                return batch
        return []

    def make_due(self, now: float) -> list[Recipient]:
        """Make all in memory due now whose schedule permits; those whose due changed."""
        return [recipient for lane in self._lanes for recipient in lane.make_due(now)]

    def take_expired(self, is_expired: Callable[[Recipient], bool]) -> list[Recipient]:
        """Remove and return the recipients in memory for which is_expired holds."""
        expired = [recipient for recipient in self if is_expired(recipient)]
        if expired:
            gone = {recipient.recipient_id for recipient in expired}
            for lane in self._lanes:
                lane.remove(gone)
        return expired

    # Reading on

    def wants_priorities(self) -> bool:
        """Whether the spool is to be asked which priorities it holds."""
        return not self._is_known and not self._is_asking

    def begin_priorities(self) -> None:
        """Note that the spool is being asked."""
        self._is_asking = True

    def take_priorities(self, priorities: Collection[int] | None, now: float) -> None:
        """The answer; None if the spool could not be read, and is to be asked again."""
        assert self._is_asking
        self._is_asking = False
        late, self._late = self._late, []
        if self._is_stale or priorities is None:
            self._is_stale = False
            return
        self._is_known = True
        for priority in priorities:
            self._open(priority, complete=False)
        for recipient in late:
            self.add(recipient, now)

    def wants_page(self) -> bool:
        """Whether it is time to read on, or to ask what there is."""
        for lane in self._lanes:
            if lane.wants_page():
                return True
        return self.wants_priorities()

    def begin_pages(self, in_flight: Collection[int]) -> list[PageWanted]:
        """Note that pages are being read of all lanes that run low; which ones.

        `in_flight` are ids of recipients that are neither here nor settled: the pages may hold
        them, and they are left out.
        """
        return [
            PageWanted(lane, lane.begin_page(in_flight))
            for lane in self._lanes
            if lane.wants_page()
        ]

    def take_page(
        self, lane: Lane, page: Collection[Recipient] | None, *, is_last: bool, now: float
    ) -> None:
        """Take what was read; None if it could not be, and will be asked for again.

        A lane that was forgotten meanwhile is read afresh.
        """
        if page is None:
            lane.abandon_page()
        elif lane in self._lanes:
            lane.take_page(page, is_last=is_last, now=now)

    def forget(self) -> None:
        """Empty the memory; everything is read from the spool again."""
        self._lanes.clear()
        self._late.clear()
        self._is_known = False
        self._is_stale = self._is_asking

    def _lane(self, priority: int) -> Lane | None:
        for lane in self._lanes:
            if lane.priority == priority:
                return lane
        return None

    def _open(self, priority: int, *, complete: bool) -> Lane:
        lane = Lane(priority, complete=complete)
        self._lanes.append(lane)
        self._lanes.sort(key=lambda one: -one.priority)
        return lane
