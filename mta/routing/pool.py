"""Whose turn it is, where several VirtualMTAs serve in turn. Guide: virtual-mta-pool.

Turns are kept per domain, so each provider sees its mail spread evenly over all members,
whatever order mail for several domains arrives in. A domain not seen lately begins where
the list as a whole stands, so many domains with little mail are spread evenly, too.
"""

from collections.abc import Sequence
from typing import Final

DOMAINS_MAX: Final = 10_000
"""Domains whose turn is remembered, all lists together: about 2 MB."""


class Turns:
    """Counters of one shard, changed without an `await` in between."""

    __slots__ = ("_by_domain", "_by_list")

    def __init__(self) -> None:
        self._by_list: dict[str, int] = {}
        self._by_domain: dict[tuple[str, str], int] = {}

    def next(self, name: str, members: Sequence[str], domain: str) -> str:
        """The member whose turn it is to take mail for domain; `name` tells lists apart."""
        turn = self._by_domain.pop((name, domain), None)
        if turn is None:
            turn = self._by_list.get(name, 0)
            self._by_list[name] = (turn + 1) % len(members)
            if len(self._by_domain) >= DOMAINS_MAX:
                del self._by_domain[next(iter(self._by_domain))]
        turn %= len(members)
        self._by_domain[name, domain] = turn + 1
        return members[turn]
