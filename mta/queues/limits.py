"""What can refuse: so many at once, or so much in a time; and who waits for it.

A limit that queues share has a line. A queue that is refused joins it; when there is room
again the first of the line is looked at: the highest `queue-priority`, and among equals the
one that has waited longest. Nobody else takes what a queue in the line is waiting for,
unless it has the higher priority. So however many queues wait, each event wakes one.

Ceilings may be changed at any time, as a reload does, or the lease of a part of a limit that
several shards obey together; what is in use stays until it is given back.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from mta.queues.line import Line
from mta.queues.rates import RollingRate
from mta.queues.trials import Trials
from mta.units import UNLIMITED, DataRate, Rate, print_size

if TYPE_CHECKING:
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue

EXPECTED_S: Final = 10
"""How long a connection that is being opened counts as a user of a rate that queues share.

Shorter, and more are opened than the rate will serve; longer, and hosts that do not answer
keep the others from what is left."""


class Part:
    """How much of a limit may be used here: what a lessor lends (`queues/leases.py`), or all."""

    __slots__ = ("amount", "birth", "is_lent", "left", "turn")

    def __init__(self, *, is_lent: bool) -> None:
        self.is_lent = is_lent
        self.amount = 0 if is_lent else UNLIMITED
        self.turn = 0
        """Of the lease."""
        self.birth = 0
        """What this limit is called to the lessor, once it is."""
        self.left = 0
        """What counted when it was given up, until the lessor is told."""

    def give_up(self, used: int = 0) -> None:
        """The limit is no more, or is another: what comes after it starts with nothing."""
        if self.birth:
            self.birth = self.turn = self.amount = 0
            self.left = max(self.left, used)


class Slots:
    """At most `ceiling` connections at once."""

    __slots__ = (
        "_interruptible", "called", "ceiling", "coming", "directive", "idle", "is_host", "level",
        "line", "part", "scope", "trials", "used", "whole",
    )  # fmt: skip

    def __init__(
        self,
        directive: str,
        scope: str,
        whole: int,
        level: str,
        *,
        is_host: bool = False,
        is_lent: bool = False,
    ) -> None:
        self.directive = directive
        self.scope = scope
        self.level = level
        """The section of the configuration the directive stands in."""
        self.is_host = is_host
        """Whether they are of a host: a queue may wait for several such at once."""
        self.part = Part(is_lent=is_lent)
        self.follow(whole)
        self.used = 0
        self.coming = 0
        """Of those, slots of connections that are about to end."""
        self.line = Line()
        self.trials: Trials | None = None
        """How many of them are for queues on trial, where queues share them."""
        self.called: dict[Queue, None] = {}
        """Queues that were told of room and are on their way to it, for slots of hosts."""
        self.idle: OrderedDict[Connection, None] = OrderedDict()
        """Idle connections that hold a slot, longest idle first."""
        self._interruptible: dict[int, OrderedDict[Connection, None]] = {}
        """By the priority of its queue."""

    def follow(self, whole: int) -> None:
        """Follow a new configuration."""
        if whole == UNLIMITED:
            self.part.give_up()
        self.whole = whole
        self.ceiling = whole if whole == UNLIMITED else min(whole, self.part.amount)

    def obey(self, amount: int, now: float) -> None:
        """Follow a new lease."""
        self.part.amount = amount
        self.follow(self.whole)

    @property
    def is_limited(self) -> bool:
        return self.whole != UNLIMITED

    @property
    def window_s(self) -> int:
        """None: slots are used at once."""
        return 0

    def in_use(self, now: float) -> int:
        """What counts now."""
        return self.used

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        waits_for_trial = self.trials is not None and self.trials.line.places
        return bool(self.line.places or self.called or waits_for_trial)

    @property
    def is_over(self) -> bool:
        """Whether more stay in use than there are."""
        return self.used - self.coming > self.ceiling

    @property
    def is_exhausted(self) -> bool:
        return self.used >= self.ceiling

    def take(self, connection: "Connection") -> None:
        assert self.used < self.ceiling
        self.used += 1
        if connection.is_going:  # Of a host it still goes on to: in a moment it will end there.
            self.coming += 1
        elif connection.queue.settings.allow_priority_interruption:
            equals = self._interruptible.setdefault(connection.priority, OrderedDict())
            equals[connection] = None

    def release(self, connection: "Connection") -> None:
        assert self.used > 0
        self.used -= 1
        self._forget(connection)
        if connection.is_going:
            self.coming -= 1

    def going(self, connection: "Connection") -> None:
        """The connection is about to end."""
        self.coming += 1
        self._forget(connection)

    def spare(self, priority: int) -> "Connection | None":
        """The connection to end first so that a queue of that priority gets its slot."""
        if self.idle:
            return next(iter(self.idle))
        lowest = min(self._interruptible, default=priority)
        return next(iter(self._interruptible[lowest])) if lowest < priority else None

    def has_room(self, queue: "Queue") -> bool:
        """Whether the queue may have a slot of a host: those called or before it come first."""
        if queue in self.called:
            return not self.is_exhausted
        return self.used + len(self.called) < self.ceiling and self.line.lets(queue)

    def frees_at(self, now: float) -> float | None:
        """When the first of the line gets something: now, or None if nobody can say."""
        return None if self.is_exhausted else now

    def _forget(self, connection: "Connection") -> None:
        self.idle.pop(connection, None)
        equals = self._interruptible.get(connection.priority)
        if equals is not None:
            equals.pop(connection, None)
            if not equals:
                del self._interruptible[connection.priority]


class Expected:
    """Connections being opened that will use a rate, each for at most `EXPECTED_S`."""

    __slots__ = ("_connections", "_octets")

    def __init__(self) -> None:
        self._connections: OrderedDict[Connection, int] = OrderedDict()
        self._octets = 0

    def add(self, connection: "Connection", octets: int) -> None:
        self._connections[connection] = octets
        self._octets += octets

    def remove(self, connection: "Connection") -> bool:
        """True if it was still expected."""
        octets = self._connections.pop(connection, None)
        self._octets -= octets or 0
        return octets is not None

    def count(self, now: float) -> int:
        """How many are expected; each takes one recipient at least."""
        self._expire(now)
        return len(self._connections)

    def octets(self, now: float) -> int:
        """How much they will send at first."""
        self._expire(now)
        return self._octets

    def until(self) -> float | None:
        """When the first of them is expected no longer."""
        first = next(iter(self._connections), None)
        return None if first is None else first.opened_at + EXPECTED_S

    def _expire(self, now: float) -> None:
        while (at := self.until()) is not None and at <= now:
            _, octets = self._connections.popitem(last=False)
            self._octets -= octets


class RateLimit:
    """At most so many recipients, connections or octets in a time."""

    __slots__ = (
        "ceiling", "directive", "expected", "is_octets", "level", "line", "part", "rate", "scope",
    )  # fmt: skip

    def __init__(
        self,
        directive: str,
        scope: str,
        level: str,
        *,
        is_octets: bool = False,
        is_shared: bool = False,
        is_lent: bool = False,
    ) -> None:
        self.part = Part(is_lent=is_lent)
        self.directive = directive
        self.scope = scope
        self.level = level
        self.is_octets = is_octets
        """Whether octets that were delivered count, and not what is tried."""
        self.ceiling: Rate | DataRate | None = None
        self.rate = RollingRate(None)
        self.line = Line() if is_shared else None
        self.expected = Expected() if is_shared else None

    def resize(self, ceiling: "Rate | DataRate | None", now: float) -> None:
        """Follow a new ceiling; None is unlimited."""
        if self.window_s != (0 if ceiling is None else ceiling.per_s):
            self.part.give_up(self.rate.used(now))  # What was lent was of the other window.
        self.ceiling = ceiling
        self.rate.resize(self.share, now)

    def obey(self, amount: int, now: float) -> None:
        """Follow a new lease."""
        self.part.amount = amount
        self.resize(self.ceiling, now)

    @property
    def share(self) -> "Rate | DataRate | None":
        """What of the ceiling may be used here."""
        if self.ceiling is None:
            return None
        return self.ceiling._replace(limit=min(self.ceiling.limit, self.part.amount))

    @property
    def is_limited(self) -> bool:
        return self.ceiling is not None

    @property
    def whole(self) -> int:
        """All that may be used in a window, by all shards together."""
        return UNLIMITED if self.ceiling is None else self.ceiling.limit

    @property
    def window_s(self) -> int:
        return 0 if self.ceiling is None else self.ceiling.per_s

    def in_use(self, now: float) -> int:
        """What counts now."""
        return self.rate.used(now)

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return self.line is not None and bool(self.line.places)

    def permits(self, size: int, now: float) -> int:
        """How many recipients of a message of that size may be tried now."""
        if self.is_octets:
            return UNLIMITED if self.rate.fits(size, now) else 0
        return self.rate.available(now)

    def permits_opening(self, size: int, opening: int, now: float) -> bool:
        """Whether there will be something left for one connection more.

        `opening` are those that the asking queue itself is opening.
        """
        if self.is_octets:
            coming = self.expected.octets(now) if self.expected is not None else opening * size
            return self.rate.fits(size + coming, now, alone=not coming)
        coming = self.expected.count(now) if self.expected is not None else opening
        return self.rate.available(now) > coming

    def until(self, size: int, now: float) -> float | None:
        """When what was refused will be permitted, if nothing is taken before.

        None if it hangs on connections that are at work.
        """
        at = self.rate.until(now, size if self.is_octets else 1)
        if at is not None and at <= now:  # Those being opened will use what is left.
            return None if self.expected is None else self.expected.until()
        return at

    def frees_at(self, now: float) -> float | None:
        """When the first of the line gets something; None if it hangs on others' work."""
        amount = self.line.first_amount() if self.line is not None and self.line.places else 1
        at = self.rate.until(now, amount)
        if at is not None and at <= now and not self.permits_opening(amount, 0, now):
            return None if self.expected is None else self.expected.until()
        return at

    def use(self, now: float) -> str:
        """What counts now, for people."""
        used = self.rate.used(now)
        return print_size(used) if self.is_octets else str(used)


Limit = Slots | RateLimit | Trials
