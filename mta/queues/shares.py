"""A shard's side of the limits that several obey together (`queues/leases.py`).

Rounds of it are a few times a second: what it uses of which limit, and where it is short.
Limits where queues wait are in every round, as those are that use more than their lease;
of the others a few are, each in its turn, so that a thousand VirtualMTAs cost no more than
one.
"""

from itertools import count, islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from mta.queues.leases import Lease, Report
from mta.queues.limits import Part, RateLimit, Slots
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mta.queues.gate import Gate

IN_TURN_MAX: Final = 200
"""Limits looked at in one round besides those that are short or over."""
REPEAT_S: Final = 1.0
"""How often it is said again that somebody waits: whose turn it is changes with time, and what a
dead worker had of a rate is free after a while. More often, and a thousand rates that are used up
keep the lessor busy."""


class Shared(Protocol):
    """A limit that several shards obey: of the scheduler, or of those who take clients."""

    part: Part
    directive: str
    scope: str

    @property
    def whole(self) -> int: ...
    @property
    def window_s(self) -> int: ...
    @property
    def is_short(self) -> bool: ...

    def in_use(self, now: float) -> int: ...


class Clients(Protocol):
    """Those limits of who takes clients."""

    @property
    def lent(self) -> "Iterable[Place]": ...


class Place(Shared, Protocol):
    """One of them."""

    @property
    def reserved(self) -> int: ...
    @property
    def is_near(self) -> bool: ...

    def obey(self, amount: int) -> None: ...


SharedLimit = Slots | RateLimit | Place


class LimitReport(NamedTuple):
    """What a shard says of one limit."""

    birth: int
    """What the limit is called between this shard and the lessor; never used again."""
    directive: str
    scope: str
    window_s: int
    report: Report


class Returned(NamedTuple):
    """A limit that is no more, with whatever was lent of it."""

    birth: int
    used: int
    """What of a rate counts for one window yet."""


class News(NamedTuple):
    """One round."""

    reports: tuple[LimitReport, ...]
    returned: tuple[Returned, ...]
    is_taken: bool = False
    """Whether a configuration was taken: the lessor knows now of all that is used under it."""

    @property
    def is_any(self) -> bool:
        return bool(self.reports or self.returned or self.is_taken)


class Shares:
    """What a shard says of its limits, and the leases it is given."""

    def __init__(self, gate: "Gate", clients: Clients) -> None:
        self._gate = gate
        self._clients = clients
        self._births = count(1)
        self._limits: dict[int, SharedLimit] = {}
        self._said: dict[int, tuple[Report, float]] = {}
        """What was said last, and when."""
        self._pressing: dict[SharedLimit, None] = {}
        """Those that are short, or over, or near to it."""
        self._turn: list[SharedLimit] = []
        self._seen: set[int] = set()

    def news(self, now: float, *, is_taken: bool = False) -> News:
        """What there is to say now; of all limits once another configuration is taken."""
        gate = self._gate
        for limit in gate.short:
            self._pressing[limit] = None
        gate.short.clear()
        returned: tuple[Returned, ...] = ()
        if is_taken or not self._turn:
            returned = self._begin_turn()
        count = len(self._turn) if is_taken else IN_TURN_MAX
        looked_at = [*self._pressing, *islice(reversed(self._turn), count)]
        del self._turn[-count:]
        return News(tuple(self._changed(dict.fromkeys(looked_at), now)), returned, is_taken)

    def obey(self, birth: int, lease: Lease, now: float) -> bool:
        """Follow a lease; False if the limit is no more."""
        limit = self._limits.get(birth)
        if limit is None or limit.part.birth != birth:
            return False
        limit.part.turn = lease.turn
        if isinstance(limit, Slots | RateLimit):
            self._gate.obey(limit, lease.amount, now)
        else:
            limit.obey(lease.amount)
        self._pressing[limit] = None  # The lessor waits to hear of it.
        return True

    def _begin_turn(self) -> tuple[Returned, ...]:
        """Look at all limits again, one after another; which of them are no more."""
        self._turn = [*self._gate.lent, *self._clients.lent]
        there = {limit.part.birth for limit in self._turn}
        gone = [(birth, limit) for birth, limit in self._limits.items() if birth not in there]
        returned = tuple(Returned(birth, limit.part.left) for birth, limit in gone)
        for birth, limit in gone:
            del self._limits[birth]
            self._said.pop(birth, None)
            limit.part.left = 0
            if limit.part.birth == birth:  # Forgotten, as a host nobody uses.
                limit.part.give_up()
                self._pressing.pop(limit, None)
        return returned

    def _changed(self, limits: "Iterable[SharedLimit]", now: float) -> "Iterable[LimitReport]":
        for limit in limits:
            part = limit.part
            if limit.whole == UNLIMITED:  # By a reload: it is returned.
                self._pressing.pop(limit, None)
                continue
            if not part.birth:
                part.birth = next(self._births)
                self._limits[part.birth] = limit
            used = limit.in_use(now)
            if isinstance(limit, Slots | RateLimit):
                report = Report(limit.whole, part.turn, used, limit.is_short)
                is_near = False
            else:
                report = Report(
                    limit.whole,
                    part.turn,
                    used,
                    limit.is_short,
                    stays=True,
                    reserved=limit.reserved,
                )
                is_near = limit.is_near
            if report.is_short or is_near or used > part.amount:
                self._pressing[limit] = None
            else:
                self._pressing.pop(limit, None)
            said, at = self._said.get(part.birth, (None, 0.0))
            if report != said or (report.is_short and not at <= now < at + REPEAT_S):
                self._said[part.birth] = report, now
                yield LimitReport(part.birth, limit.directive, limit.scope, limit.window_s, report)
