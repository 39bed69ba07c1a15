"""Queues whose mail goes to another queue: when it goes, and what is held meanwhile.

Where it goes is for `Redirecting` to say, each time it is asked: it may change with every
mode a queue enters and every answer of the DNS. A queue that leads away lets nothing be
delivered any more. What no transaction holds is moved at once; what is in flight stays with
its connection, and is moved if it comes back. Paused queues hold what they hold.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from mta.model.queue_key import QueueKey
from mta.queues.actions import Action, Forward, LookUp

if TYPE_CHECKING:
    from mta.queues.agenda import Agenda
    from mta.queues.queue import Queue

LOOK_UPS_MAX = 200
"""Questions to the DNS at once, before any connection. A start with many queues has many."""
FORWARDS_MAX = 20
"""Queues gone through at once; each holds a page of recipients in memory."""
AGAIN_S = 60
"""When a queue is gone through again in which nothing was found, or which cannot be read."""


class Redirecting(Protocol):
    """Where mail for a queue goes instead; `mta.routing.redirect`."""

    def may_lead_away(self, key: QueueKey) -> bool:
        """Whether `leads_away` can ever be anything under this configuration."""

    def leads_away(self, key: QueueKey) -> str:
        """The directive that takes from a queue what it holds; empty if nothing does."""

    def must_look_up(self, key: QueueKey) -> bool:
        """Whether the mail hosts of the queue's domain must be known before mail goes."""

    def siblings(self, key: QueueKey) -> Iterable[QueueKey]:
        """Queues whose way may depend on the mode of this one."""


class Departure:
    """What a queue that may lead away keeps about that."""

    __slots__ = ("directive", "is_looking", "mode", "not_before")

    def __init__(self) -> None:
        self.directive = ""
        """What takes its mail away now; empty if it stays."""
        self.is_looking = False
        """Whether the mail hosts of its domain are being looked up."""
        self.not_before = 0.0
        self.mode = ""
        """The mode its siblings know of."""

    @property
    def holds(self) -> bool:
        """Whether nothing may be delivered from the queue now."""
        return self.is_looking or bool(self.directive)


class _Turnstile:
    """Lets so many through at once; the others wait in line."""

    __slots__ = ("_agenda", "_inside", "_most", "_waiting")

    def __init__(self, agenda: "Agenda", most: int) -> None:
        self._agenda = agenda
        self._most = most
        self._inside = 0
        self._waiting: deque[Action] = deque()

    def enter(self, action: Action) -> None:
        """Have that done when it is its turn; then call `leave`."""
        if self._inside < self._most:
            self._inside += 1
            self._agenda.do(action)
        else:
            self._waiting.append(action)

    def leave(self) -> None:
        if self._waiting:
            self._agenda.do(self._waiting.popleft())
        else:
            self._inside -= 1


class Departures:
    """Of all queues of one shard. Without `redirecting` nothing leads away."""

    def __init__(self, redirecting: Redirecting | None, agenda: "Agenda") -> None:
        self.redirecting = redirecting
        self._agenda = agenda
        self._look_ups = _Turnstile(agenda, LOOK_UPS_MAX)
        self._forwards = _Turnstile(agenda, FORWARDS_MAX)

    def follow(self, queue: "Queue") -> None:
        """The queue has settings of a (new) configuration."""
        before, queue.departure = queue.departure, None
        if self.redirecting is not None and self.redirecting.may_lead_away(queue.key):
            queue.departure = Departure()
            queue.departure.is_looking = before is not None and before.is_looking

    def decide(self, queue: "Queue", departure: Departure, now: float) -> None:
        """Have the mail of a queue moved, or what its way depends on looked up."""
        departure.directive = ""
        redirecting = self.redirecting
        if redirecting is None or queue.is_paused or departure.is_looking:
            return
        waits = queue.recipients > queue.in_flight
        if (
            waits
            and queue.retry_at is None
            and queue.backlog.ready(now)
            and redirecting.must_look_up(queue.key)
        ):
            departure.is_looking = True
            self._look_ups.enter(LookUp(queue))
            return
        departure.directive = redirecting.leads_away(queue.key)
        if departure.directive and waits and not queue.frozen and departure.not_before <= now:
            queue.frozen += 1
            self._forwards.enter(Forward(queue))

    def tell(self, queue: "Queue", departure: Departure, queues: "dict[QueueKey, Queue]") -> None:
        """Let queues whose way depends on the mode of this one be looked at, if it changed."""
        if departure.mode == queue.mode or self.redirecting is None:
            return
        was_known = bool(departure.mode)
        departure.mode = queue.mode
        for key in self.redirecting.siblings(queue.key) if was_known else ():
            sibling = queues.get(key)
            if sibling is not None and sibling.departure is not None and sibling is not queue:
                self._agenda.touch(sibling)

    def must_close(self, queue: "Queue") -> str:
        """Why a connection of a queue that may lead away gets no more mail; empty if it does."""
        if queue.departure is None or queue.is_paused or self.redirecting is None:
            return ""
        return self.redirecting.leads_away(queue.key)

    def looked_up(self, queue: "Queue") -> None:
        """What `LookUp` asked for is known, or known to be unknown for now."""
        self._look_ups.leave()
        if queue.departure is not None:
            queue.departure.is_looking = False
        self._agenda.touch(queue)

    def forwarded(self, queue: "Queue", now: float, *, later: bool) -> None:
        """`Forward` is done, or broke off; `later` if to begin anew at once would be in vain."""
        self._forwards.leave()
        queue.frozen -= 1
        if queue.departure is not None and later:
            queue.departure.not_before = now + AGAIN_S
