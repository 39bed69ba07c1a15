"""Which domains share one queue because their mail hosts are the same. Guide: MX rollup.

Only the hosts of the lowest preference count. A queue made of names takes a domain that has
every one of them; others that the domain has are not used. A queue with a wildcard takes a
domain all of whose hosts match.

With `rollup-by-ip` the first domain whose hosts match is the queue's *origin*, and its hosts
serve the queue. Another domain joins it if their addresses meet, and whatever its hosts are
called if they are the origin's addresses. A domain whose names match while its addresses
are elsewhere stays in a queue of its own: the origin's hosts may not know it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from mta.model.dns_answer import MxAnswer
from mta.model.rollup_rule import RollupRule

DOMAINS_MAX: Final = 50_000
"""Domains of which it is remembered whether they are rolled up: about 10 MB."""


@dataclass(frozen=True, slots=True)
class RollupQueue:
    """The lines of one queue."""

    name: str
    rules: tuple[RollupRule, ...]

    @property
    def has_wildcard(self) -> bool:
        return any(rule.is_wildcard for rule in self.rules)

    @property
    def by_ip(self) -> bool:
        return any(rule.by_ip for rule in self.rules)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where its mail goes, where the lines say so."""
        names = dict.fromkeys(rule.pattern for rule in self.rules)
        return () if self.has_wildcard else tuple(names)

    def takes(self, hosts: frozenset[str]) -> bool:
        """Whether a domain with these hosts belongs to it, going by their names."""
        if self.has_wildcard:
            return all(any(rule.matches(host) for rule in self.rules) for host in hosts)
        return all(rule.pattern in hosts for rule in self.rules)


class Origin(NamedTuple):
    """The domain whose hosts serve a queue with `rollup-by-ip`."""

    domain: str
    addresses: frozenset[str]


class RollupList:
    """All `mx` lines of a configuration; remembers the origins."""

    def __init__(self, rules: Iterable[RollupRule] = ()) -> None:
        by_name: dict[str, list[RollupRule]] = {}
        for rule in rules:
            by_name.setdefault(rule.queue, []).append(rule)
        self._queues = {name: RollupQueue(name, tuple(found)) for name, found in by_name.items()}
        self._origins: dict[str, Origin] = {}
        self.needs_addresses = any(queue.by_ip for queue in self._queues.values())

    def __bool__(self) -> bool:
        return bool(self._queues)

    def queue(self, name: str) -> RollupQueue | None:
        """The queue of that name; None if no line names it."""
        return self._queues.get(name)

    def origin(self, name: str) -> Origin | None:
        """Whose hosts serve a queue with `rollup-by-ip`; None before the first domain."""
        return self._origins.get(name)

    def match(self, domain: str, hosts: frozenset[str], addresses: frozenset[str]) -> str:
        """The queue that takes a domain, empty for none; `addresses` are those of its hosts."""
        for queue in self._queues.values() if hosts else ():
            if queue.by_ip:
                if self._joins(queue, domain, hosts, addresses):
                    return queue.name
            elif queue.takes(hosts):
                return queue.name
        return ""

    def _joins(
        self, queue: RollupQueue, domain: str, hosts: frozenset[str], addresses: frozenset[str]
    ) -> bool:
        if not addresses:
            return False
        by_name = queue.takes(hosts)
        origin = self._origins.get(queue.name)
        if origin is None or origin.domain == domain:
            self._origins.pop(queue.name, None)
            if by_name:
                self._origins[queue.name] = Origin(domain, addresses)
            return by_name
        return bool(addresses & origin.addresses) if by_name else addresses <= origin.addresses


def lowest(answer: MxAnswer) -> frozenset[str]:
    """The mail hosts of the lowest preference."""
    best = min((preference for preference, _ in answer.records), default=0)
    return frozenset(name for preference, name in answer.records if preference == best)
