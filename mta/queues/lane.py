"""Recipients of one priority of a queue: those in memory, which are due first.

The spool is the queue; a lane is a window onto the beginning of one priority of it. The
window's *horizon* is a key `(due, recipient_id)`. Everything at or before the horizon is
here or in flight; everything after it is in the spool, in the same order, and comes a page at
a time. Of that only what is in flight is not to be taken from there: the window may shrink
while a transaction lasts. A lane that is *complete* has no horizon: it holds all there is.

While a page is being read the horizon is about to move, so what is added meanwhile and
lies beyond the old horizon is remembered and looked at again when the page arrives.
"""

from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush

from mta.model.message import Recipient

PAGE_RECIPIENTS = 500
"""Recipients read at once: one query of about a millisecond."""
LOW_WATER = 200
"""Below this many in memory the next page is asked for, before the window runs dry."""
WINDOW_RECIPIENTS_MAX = 2000
"""Above this many the later half goes back to being in the spool only."""

Key = tuple[float, int]
_Entry = tuple[float, int, Recipient]


class Lane:
    """Recipients of one priority, by due and id; what is due is apart from what is not yet."""

    __slots__ = (
        "_complete", "_excluded", "_horizon", "_late", "_later", "_reading", "_ready", "priority",
    )  # fmt: skip

    def __init__(self, priority: int, *, complete: bool = True) -> None:
        self.priority = priority
        self._ready: list[_Entry] = []
        self._later: list[_Entry] = []
        self._complete = complete
        self._horizon: Key | None = None
        self._reading = False
        self._late: list[Recipient] = []
        self._excluded: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self._ready) + len(self._later)

    def __iter__(self) -> Iterator[Recipient]:
        """Every recipient in memory, in no order."""
        for entry in self._ready:
            yield entry[2]
        for entry in self._later:
            yield entry[2]

    @property
    def is_complete(self) -> bool:
        """Whether everything that waits is in memory."""
        return self._complete

    @property
    def is_reading(self) -> bool:
        """Whether a page of it has been asked for that has not come yet."""
        return self._reading

    def add(self, recipient: Recipient, now: float) -> None:
        """Take a recipient that the spool has; keep it in memory if it belongs there."""
        due = recipient.due
        number = recipient.recipient_id
        if self._complete or (self._horizon is not None and (due, number) <= self._horizon):
            heappush(self._ready if due <= now else self._later, (due, number, recipient))
            if len(self._later) + len(self._ready) > WINDOW_RECIPIENTS_MAX:
                self._shrink()
        elif self._reading:
            self._late.append(recipient)

    def ready(self, now: float) -> int:
        """How many recipients in memory are due."""
        later = self._later
        if later and later[0][0] <= now:
            ready = self._ready
            while later and later[0][0] <= now:
                heappush(ready, heappop(later))
        return len(self._ready)

    def next_due(self) -> float | None:
        """When the first recipient in memory that is not due yet will be."""
        return self._later[0][0] if self._later else None

    def soonest(self) -> Recipient | None:
        """The first recipient in memory that is not due yet."""
        return self._later[0][2] if self._later else None

    def ready_messages(self) -> int:
        """About how many messages the due recipients belong to: how many can go at once."""
        ready = self._ready
        sample = len({entry[2].envelope.message_id for entry in ready[:64]})
        return sample if len(ready) <= 64 else max(sample, len(ready) * sample // 64)

    def first(self) -> Recipient | None:
        """The due recipient that goes next."""
        return self._ready[0][2] if self._ready else None

    def pop(self, limit: int) -> list[Recipient]:
        """Take up to limit due recipients of one message, the one due first.

        Call `ready` before: it moves what has become due.
        """
        ready = self._ready
        if not ready:
            return []
        first = heappop(ready)[2]
        batch = [first]
        message_id = first.envelope.message_id
        while len(batch) < limit and ready and ready[0][2].envelope.message_id == message_id:
            batch.append(heappop(ready)[2])
        return batch

    def remove(self, gone: Collection[int]) -> None:
        """Forget the recipients of these ids."""
        self._ready = [entry for entry in self._ready if entry[1] not in gone]
        self._later = [entry for entry in self._later if entry[1] not in gone]
        heapify(self._ready)
        heapify(self._later)

    def make_due(self, now: float) -> list[Recipient]:
        """Make all in memory due now whose schedule permits; those whose due changed."""
        changed = [
            entry[2]
            for entry in self._later
            if entry[0] > now and entry[2].envelope.opens_at(now) <= now
        ]
        for recipient in changed:
            recipient.due = now
        self._later = [(entry[2].due, entry[1], entry[2]) for entry in self._later]
        heapify(self._later)
        return changed

    def wants_page(self) -> bool:
        """Whether it is time to read on."""
        return not self._complete and not self._reading and len(self) < LOW_WATER

    def begin_page(self, in_flight: Collection[int]) -> Key | None:
        """Note that a page is being read; returns the key it starts after (None: the start).

        `in_flight` are ids of recipients that are neither here nor settled. The page may hold
        them, and they are left out: where the start is read again, and where the window shrank
        since they were taken.
        """
        assert not self._reading
        self._reading = True
        self._excluded = frozenset(in_flight)
        return self._horizon

    def take_page(self, page: Collection[Recipient], *, is_last: bool, now: float) -> None:
        """Take what was read, and what was added meanwhile if it lies within."""
        assert self._reading
        self._reading = False
        late, self._late = self._late, []
        taken = set()
        for recipient in page:
            if recipient.recipient_id not in self._excluded:
                taken.add(recipient.recipient_id)
                heappush(self._later, (recipient.due, recipient.recipient_id, recipient))
            self._horizon = (recipient.due, recipient.recipient_id)
        self._excluded = frozenset()
        self._complete = is_last
        for recipient in late:
            if recipient.recipient_id not in taken:
                self.add(recipient, now)

    def abandon_page(self) -> None:
        """The page could not be read; it will be asked for again."""
        self._reading = False
        self._late.clear()

    def _shrink(self) -> None:
        """Let the later half be in the spool only."""
        if self._reading:
            return  # The horizon is moving; the next addition comes back here.
        entries = sorted(self._ready + self._later)
        kept = entries[: WINDOW_RECIPIENTS_MAX // 2]
        self._ready, self._later = [], kept
        self._horizon = kept[-1][:2]
        self._complete = False
