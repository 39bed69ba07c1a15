"""Clients that fail to authenticate too often (`smtp-max-auth-failure-rate`).

The time is measured from the first failure, as the guide says. What is under way may fail yet:
a client has no more of it than it has failures left, and waits for the rest. So many attempts
at once are no more guesses than one after the other, and lock nobody out who is right.

An IPv6 client is its /64, of which one machine may have all addresses. Beyond CLIENTS_MAX the
client whose first failure is the longest ago is forgotten: to be locked out is a matter of a
rate, and the table of a bound.
"""

import enum
from ipaddress import ip_address, ip_network
from typing import Final

from mta.units import Rate

CLIENTS_MAX: Final = 50_000
"""Ten megabytes at most."""


class Start(enum.Enum):
    """Whether an attempt may begin."""

    NOW = "now"
    LATER = "later"
    """Once another of the client has ended."""
    LOCKED_OUT = "locked out"


class Lockout:
    """Failures by client, and attempts that may become some."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, int]] = {}
        """When the first of them was, and how many."""
        self._under_way: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def begin(self, ip: str, rate: Rate, now: float) -> Start:
        """Whether an attempt may begin; one that does is under way until it has ended."""
        client = client_of(ip)
        _, failures = self._since(client, rate, now)
        under_way = self._under_way.get(client, 0)
        if failures >= rate.limit:
            return Start.LOCKED_OUT
        if failures + under_way >= rate.limit:
            return Start.LATER
        self._under_way[client] = under_way + 1
        return Start.NOW

    def ended(self, ip: str) -> None:
        """An attempt is over; whether it `failed` is said before."""
        client = client_of(ip)
        self._under_way[client] -= 1
        if not self._under_way[client]:
            del self._under_way[client]

    def failed(self, ip: str, rate: Rate, now: float) -> None:
        """A client failed, here or at another worker."""
        client = client_of(ip)
        since, count = self._since(client, rate, now)
        if client not in self._failures:
            while len(self._failures) >= CLIENTS_MAX:
                del self._failures[next(iter(self._failures))]
        elif not count:
            del self._failures[client]  # It is the youngest again.
        self._failures[client] = (since, count + 1)

    def _since(self, client: str, rate: Rate, now: float) -> tuple[float, int]:
        """When the failures that count began, and how many there are."""
        since, count = self._failures.get(client, (now, 0))
        return (now, 0) if now - since >= rate.per_s else (since, count)


def client_of(ip: str) -> str:
    """Whom the failures of an address count for."""
    return ip if ip_address(ip).version == 4 else str(ip_network(f"{ip}/64", strict=False))
