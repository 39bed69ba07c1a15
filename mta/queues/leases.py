"""Limits that several shards obey together: each has a lease of a part, never more than the whole.

    shard    reports what it uses, and whether somebody there waits for more
    lessor   lends what is free; if that is not enough, calls in what others do not need
    shard    obeys a smaller lease at once, and reports; what it uses beyond it still counts

What a shard may be using, its *hold*, is the larger of its lease and of what it used when it
last reported under that lease. The sum of all holds never exceeds the limit: a lease grows
only by what is free, and a smaller one frees nothing before the shard has said that it
obeys. A shard whose process is gone holds nothing, but of a rate for one window longer, as
what it took still counts. Each shard here is one process: one started again is another.

A limit that is new in a configuration is not lent before all shards have taken it, as those
that have not use it without counting.

A limit that is lowered is the exception: what is lent beyond it is called in, and until that
is back the old limit holds, as with one shard.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SPARE_DIVISOR = 8
"""A shard that nobody waits in keeps an eighth more than it uses, and one, when others do."""
AHEAD_DIVISOR = 3
"""Of what stays where it is a third more, and two: nobody knows where the next client comes to.
Only when less than an eighth and two are left there is it lent more, or each client would
change every lease.
"""
STAYS_SHORT_S = 1
"""How long one that somebody waited in keeps its even part, or its turn. Who needs several limits
at once would lose each of them while it asks for the next, and they would go to and fro.
"""
TURN_S = 5
"""How long one of several that want the same place has it, where there are too few."""


class Report(NamedTuple):
    """What a shard says of its lease."""

    ceiling: int
    """The whole limit, by the shard's configuration."""
    turn: int
    """The number of the lease it obeys; 0 if it never had one."""
    used: int
    """What counts against the limit there now."""
    is_short: bool
    """Whether somebody waits there."""
    stays: bool = False
    """Whether what is used there cannot be had by others before it ends: clients, connected."""
    reserved: int = 0
    """What is kept free there besides, for those it is promised to."""


class Lease(NamedTuple):
    """What a shard may use from now on."""

    turn: int
    amount: int


class _Holder:
    __slots__ = (
        "ceiling",
        "free_at",
        "hold",
        "is_new",
        "is_short",
        "lease",
        "reserved",
        "short_until",
        "stays",
        "turn",
        "used",
    )

    def __init__(self) -> None:
        self.ceiling = 0
        self.lease = 0
        self.turn = 0
        self.hold = 0
        self.used = 0
        self.is_short = False
        self.short_until = 0.0
        self.stays = False
        self.reserved = 0
        self.is_new = True
        self.free_at: float | None = None
        """When what a gone one took counts no longer; None while it is there."""

    @property
    def need(self) -> int:
        """What somebody who does not wait would have."""
        used = self.used
        if not used:
            return self.reserved
        ahead = used // AHEAD_DIVISOR + 2 if self.stays else used // SPARE_DIVISOR + 1
        return used + self.reserved + ahead

    def was_short(self, now: float) -> bool:
        """Whether somebody waits there, or did just now."""
        return self.is_short or (now < self.short_until and not self.stays)

    @property
    def wants(self) -> bool:
        """Whether others' leases are called in for this one.

        What is called in is decided by what is used, and not by leases: two shards that each
        want the last place would send it to and fro for ever.
        """
        if self.is_short or not self.stays:
            return self.is_short
        ahead = self.used // SPARE_DIVISOR + 2 if self.used else 0
        return self.lease < self.used + self.reserved + ahead


class Lessor:
    """One limit. `window_s` is 0 for what is used at once, and the window of a rate."""

    def __init__(self, shards: int, window_s: float = 0.0) -> None:
        self.window_s = window_s
        self.is_resting = False
        """Whether nothing is lent yet: some shards do not know of the limit."""
        self._shards = shards
        self._holders: dict[int, _Holder] = {}

    @property
    def is_new(self) -> bool:
        """Whether no shard that is there has spoken of it."""
        return next(iter(self._present()), None) is None

    @property
    def is_idle(self) -> bool:
        """Whether nobody holds anything."""
        return not self._holders

    @property
    def held(self) -> int:
        """What may be in use, at most."""
        return sum(holder.hold for holder in self._holders.values())

    @property
    def ceiling(self) -> int:
        """The limit; while a change of it reaches one shard after another, the lower one."""
        return min((h.ceiling for h in self._present()), default=0)

    def hear(self, shard: int, report: Report, now: float) -> dict[int, Lease]:
        """A shard reports; leases that change by it."""
        holder = self._holders.setdefault(shard, _Holder())
        holder.ceiling = report.ceiling
        holder.used = report.used
        holder.is_short = report.is_short
        if report.is_short:
            holder.short_until = now + STAYS_SHORT_S
        holder.stays = report.stays
        holder.reserved = report.reserved
        if report.turn == holder.turn:
            holder.hold = max(holder.lease, report.used)
        return self.decide(now)

    def returned(self, shard: int, used: int, now: float) -> dict[int, Lease]:
        """A shard needs the limit no longer, and has forgotten its lease.

        What it used of a rate counts for one window yet; the rest of the lease is free at once.
        """
        holder = self._holders.get(shard)
        if self.window_s and holder is not None:
            holder.hold = used
            return self.gone(shard, now)
        self._holders.pop(shard, None)
        return self.decide(now)

    def gone(self, shard: int, now: float) -> dict[int, Lease]:
        """The process of a shard is gone; leases that change by it."""
        holder = self._holders.get(shard)
        if holder is None:
            return {}
        if self.window_s and holder.hold:
            holder.free_at = now + self.window_s
        else:
            del self._holders[shard]
        return self.decide(now)

    def decide(self, now: float) -> dict[int, Lease]:
        """Lend what is free and call in what is needed elsewhere; leases that change."""
        if self.is_resting:
            return {}
        for shard, holder in list(self._holders.items()):
            if holder.free_at is not None and holder.free_at <= now:
                del self._holders[shard]
        ceiling = self.ceiling
        before = {shard: holder.lease for shard, holder in self._holders.items()}
        targets = self._targets(ceiling, now)
        wanting = [
            (shard, holder)
            for shard, holder in self._holders.items()
            if (holder.wants or holder.is_new) and holder.lease < targets.get(shard, 0)
        ]
        free = ceiling - self.held
        is_wanted = free < 0
        for shard, holder in wanting:
            # Growth up to the hold is free: that much counts already.
            grown = min(targets[shard], max(holder.hold, holder.lease) + max(free, 0))
            if grown > holder.lease:
                free -= max(0, grown - holder.hold)
                holder.lease = grown
                holder.hold = max(holder.hold, grown)
            holder.is_new = False
            is_wanted = is_wanted or (holder.wants and holder.lease < targets[shard])
        if is_wanted:
            for shard, holder in self._holders.items():
                if holder.free_at is None and holder.lease > targets[shard]:
                    holder.lease = targets[shard]
        return self._changed(before)

    def _changed(self, before: dict[int, int]) -> dict[int, Lease]:
        changed = {}
        for shard, holder in self._holders.items():
            if holder.lease != before[shard]:
                holder.turn += 1
                changed[shard] = Lease(holder.turn, holder.lease)
        return changed

    def _present(self) -> "Iterable[_Holder]":
        return (holder for holder in self._holders.values() if holder.free_at is None)

    def _targets(self, ceiling: int, now: float) -> dict[int, int]:
        """How the limit is divided: everybody's need first, as evenly as that goes.

        Of what stays where it is, everybody keeps what is used and what is reserved, and what is
        left is divided among those who are short; room to grow comes after that.
        """
        there = {s: holder for s, holder in self._holders.items() if holder.free_at is None}
        is_scarce = ceiling < len(there)
        short = {s for s, holder in there.items() if holder.was_short(now)}
        needs = {
            shard: ceiling if shard in short else min(ceiling, holder.need)
            for shard, holder in there.items()
        }
        used = {shard: holder.used * holder.stays for shard, holder in there.items()}
        targets = {shard: used[shard] + holder.reserved for shard, holder in there.items()}
        if sum(targets.values()) > ceiling:  # What is reserved is taken yet by others.
            targets = used
        if sum(targets.values()) > ceiling:  # It was lowered.
            targets = dict.fromkeys(needs, 0)
        left = ceiling - sum(targets.values())
        needs = {shard: max(0, need - targets[shard]) for shard, need in needs.items()}
        # Where not everybody can have one, whose turn it is changes with time. It is drawn: one
        # after another, they would keep step with the window of a rate, or with a greeting, and
        # it would be the turn of the same one whenever there is something to have.
        ordered = sorted(needs)
        if is_scarce:
            turn = int(now / TURN_S)
            drawn = {shard: _drawn(turn, place) for place, shard in enumerate(ordered)}
            ordered.sort(key=drawn.__getitem__)
        ordered.sort(key=needs.__getitem__)
        # Who keeps what is used and is not short only wants room to grow.
        later = {shard for shard in needs if targets[shard] and shard not in short}
        for waiting in (
            [shard for shard in ordered if shard not in later],
            [shard for shard in ordered if shard in later],
        ):
            for number, shard in enumerate(waiting):
                # The smallest need first; what it leaves of its even part is the others', and
                # one that cannot be divided goes to whoever has least.
                more = min(needs[shard], left // (len(waiting) - number))
                targets[shard] += more
                left -= more
        # What nobody needs now is lent evenly, places for shards that are yet to come kept.
        part, missing = ceiling // self._shards, left
        for shard in targets:
            more = min(max(part - targets[shard], 0), missing)
            targets[shard] += more
            missing -= more
        return targets


def _drawn(turn: int, place: int) -> bytes:
    """A number that depends on nothing else: who has the turn at one limit has it at all."""
    return blake2b(b"%d %d" % (turn, place), digest_size=8).digest()
