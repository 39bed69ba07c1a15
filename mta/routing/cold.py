"""How many messages a day a VirtualMTA that is being warmed up takes. Guide: cold VirtualMTAs.

The first N messages of a day for a domain, submitted to the warm VirtualMTA, go to each of
its cold ones. N is the entry of `max-cold-virtual-mta-msg` for the day: the first entry on
the first day that mail for the domain was submitted, the next on the next such day, and the
last from then on. A day without such mail warms nothing up, and does not count.

Days are local ones, given as ordinals; a clock that goes back starts no new day.

Several shards count each by itself, and each lets its part of N through. Where their number
changes, `merged` says what one would have counted, and `part` divides it as it does N.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

COUNTS_MAX: Final = 200_000
"""Counts kept: a (warm, cold, domain) each, about 60 MB. Beyond, mail stays warm."""
FORGET_DAYS: Final = 400
"""A count not touched for longer is forgotten: what was warm then is cold again."""


class Count(NamedTuple):
    """What one cold VirtualMTA took for one domain from one warm VirtualMTA on one day.

    `position` says which entry of the list is that day's, from 0.
    """

    warm: str
    cold: str
    domain: str
    day: int
    position: int
    messages: int

    def limit(self, limits: Sequence[int]) -> int:
        """How many messages the day allows."""
        return limits[min(self.position, len(limits) - 1)]


def part(number: int, shard: int, shards: int) -> int:
    """What one of several shards has of a number. No part is larger than that of more."""
    return (number + shards - 1 - shard) // shards


def merged(counts: Iterable[Count]) -> list[Count]:
    """The counts of several shards as one would have them.

    A shard does not see a day on which mail came to others alone, so whoever is furthest is
    right; one that was as far on an earlier day would be one further.
    """
    found: dict[tuple[str, str, str], Count] = {}
    for count in sorted(counts, key=lambda count: count.day):
        key = (count.warm, count.cold, count.domain)
        before = found.get(key)
        if before is None:
            found[key] = count
        elif before.day == count.day:
            found[key] = count._replace(
                position=max(before.position, count.position),
                messages=before.messages + count.messages,
            )
        else:
            found[key] = count._replace(position=max(before.position + 1, count.position))
    return list(found.values())


class ColdCounts:
    """The counts of one shard. What changes is returned, to be written down."""

    def __init__(self, counts: Iterable[Count] = ()) -> None:
        self._counts = {(count.warm, count.cold, count.domain): count for count in counts}
        self._turns: dict[tuple[str, str], int] = {}

    def use(self, warm: str, cold: str, domain: str, today: int) -> Count:
        """The count as it stands today."""
        known = self._counts.get((warm, cold, domain))
        if known is None:
            return Count(warm, cold, domain, today, 0, 0)
        if known.day >= today:
            return known
        return known._replace(day=today, position=known.position + 1, messages=0)

    def divert(
        self, warm: str, domain: str, colds: Sequence[str], limits: Sequence[int], today: int
    ) -> tuple[str, list[Count]]:
        """Which of several cold VirtualMTAs takes a message; empty if it stays warm.

        They serve in turn, those that have their share left out. Also the counts that
        changed.
        """
        if not any(limits):
            return "", []
        turn = self._turns.get((warm, domain), 0)
        changed: list[Count] = []
        for offset in range(len(colds)):
            at = (turn + offset) % len(colds)
            count = self.use(warm, colds[at], domain, today)
            key = (warm, colds[at], domain)
            if key not in self._counts and len(self._counts) >= COUNTS_MAX:
                continue
            if count.messages < count.limit(limits):
                count = count._replace(messages=count.messages + 1)
                if len(colds) > 1:
                    self._turns[warm, domain] = at + 1
                self._counts[key] = count
                return colds[at], [*changed, count]
            if self._counts.get(key) != count:
                # A day whose limit is 0 is a day all the same.
                self._counts[key] = count
                changed.append(count)
        return "", changed
