"""How many clients may be connected at once, in all and of each `<source-group>`.

What a group has reserved (`reserved-smtp-in`) is kept free for it: others are refused while
only that is left. Nothing awaits between `take`'s look and its taking.

Where several shards take clients, each has leases of these limits (`queues/leases.py`), which
grow before they are used up, as the system decides which shard a client comes to.
"""

from typing import TYPE_CHECKING, Final

from mta.queues.limits import Part
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mta.config.submitters import SourceGroup

WAITING_MAX: Final = 1000
"""Connections that may wait for a slot (`await-slot`); each costs as much as one served."""

NEAR: Final = (3, 4)
"""Each client is told of when so large a part of the lease is used."""


class Places:
    """One limit of clients: all of it, or what this shard is lent."""

    __slots__ = (
        "ceiling", "directive", "is_refused", "met", "part", "promised", "scope", "used", "whole",
    )  # fmt: skip

    def __init__(self, directive: str, scope: str, *, is_lent: bool) -> None:
        self.directive = directive
        self.scope = scope
        self.part = Part(is_lent=is_lent)
        self.used = 0
        self.is_refused = False
        """Whether somebody was refused since the lease last changed."""
        self.promised = 0
        """What is reserved here for groups, all in all."""
        self.met = 0
        """Of that, what they use."""
        self.follow(UNLIMITED)

    def follow(self, whole: int) -> None:
        """Follow a new configuration."""
        if whole == UNLIMITED:
            self.part.give_up()
        self.whole = whole
        self.ceiling = whole if whole == UNLIMITED else min(whole, self.part.amount)

    def obey(self, amount: int) -> None:
        """Follow a new lease."""
        self.part.amount = amount
        self.is_refused = False
        self.follow(self.whole)

    @property
    def may_grow(self) -> bool:
        """Whether a larger lease would help."""
        return self.ceiling < self.whole

    @property
    def reserved(self) -> int:
        """What is kept free for those who have it reserved."""
        return self.promised - self.met

    @property
    def is_short(self) -> bool:
        """Whether somebody was refused whom a larger lease would let in."""
        return self.may_grow and self.is_refused

    @property
    def is_near(self) -> bool:
        """Whether the lessor is to hear at once what is used: there will be need of more."""
        return self.may_grow and self.used * NEAR[1] >= self.ceiling * NEAR[0]

    @property
    def is_exhausted(self) -> bool:
        """Whether clients are refused; a lease is small until somebody comes."""
        is_full = self.used + self.reserved >= self.ceiling
        return is_full and (self.is_refused or not self.part.is_lent)

    @property
    def window_s(self) -> int:
        return 0

    def in_use(self, now: float) -> int:
        return self.used


class Slots:
    """Taken and free ones. `shards` is how many processes share the limits."""

    def __init__(self, total: int, groups: "Mapping[str, SourceGroup]", *, shards: int = 1) -> None:
        self._shards = shards
        self._total = Places("total-max-smtp-in", "total", is_lent=shards > 1)
        self._of_groups: dict[str, Places] = {}
        self.follow(total, groups)

    def follow(self, total: int, groups: "Mapping[str, SourceGroup]") -> None:
        """Go by other limits; who is inside stays."""
        self._groups = groups
        self._total.follow(total)
        for name, group in groups.items():
            if name not in self._of_groups:
                self._of_groups[name] = Places("max-smtp-in", name, is_lent=self._shards > 1)
            self._of_groups[name].follow(group.max_smtp_in)
        for name, places in self._of_groups.items():
            if name not in groups:
                places.follow(UNLIMITED)  # until its last client is gone
        self._reserved = {
            name: -(-group.reserved_smtp_in // self._shards)
            for name, group in groups.items()
            if group.reserved_smtp_in
        }
        self._total.promised = sum(self._reserved.values())
        self._total.met = sum(
            min(self._of_groups[name].used, reserved) for name, reserved in self._reserved.items()
        )

    @property
    def total(self) -> Places:
        """That of all clients."""
        return self._total

    @property
    def lent(self) -> "Iterator[Places]":
        """The limits that other shards obey, too."""
        if self._shards > 1:
            every = (self._total, *self._of_groups.values())
            yield from (places for places in every if places.whole != UNLIMITED)

    def take(self, group_name: str) -> str:
        """Take a slot for a client of a group (or of none, ""); else why there is none."""
        name = group_name.lower()
        group = self._of_groups.get(name)
        used = group.used if group is not None else 0
        if group is not None and used >= group.ceiling:
            group.is_refused = True
            return f"max-smtp-in of source-group {self._groups[name].name}"
        total = self._total
        has_reserved = used < self._reserved.get(name, 0)
        if total.used + (0 if has_reserved else total.reserved) >= total.ceiling:
            total.is_refused = True
            return "total-max-smtp-in"
        total.used += 1
        total.met += has_reserved
        if group is not None:
            group.used += 1
        return ""

    def may_grow(self, group_name: str) -> bool:
        """Whether a larger lease would let a client of a group in that was refused."""
        group = self._of_groups.get(group_name.lower())
        return self._total.may_grow or (group is not None and group.may_grow)

    def free(self, group_name: str) -> None:
        """A client is gone."""
        self._total.used -= 1
        name = group_name.lower()
        group = self._of_groups.get(name)
        if group is not None:
            group.used -= 1
            self._total.met -= group.used < self._reserved.get(name, 0)
