"""Clients that fail to authenticate too often (`smtp-max-auth-failure-rate`).

The time is measured from the first failure, as the guide says. An IPv6 client is its /64, of
which one machine may have all addresses. Beyond CLIENTS_MAX the client whose first failure is
the longest ago is forgotten: to be locked out is a matter of a rate, and the table of a bound.
"""

from ipaddress import ip_address, ip_network
from typing import Final

from mta.units import Rate

CLIENTS_MAX: Final = 50_000
"""Ten megabytes at most."""


class Lockout:
    """Failures by client."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[float, int]] = {}
        """When the first of them was, and how many."""

    def __len__(self) -> int:
        return len(self._failures)

    def begin(self, ip: str, rate: Rate, now: float) -> bool:
        """Count an attempt as failed until it succeeds; False if the client is locked out."""
        client = _client(ip)
        since, count = self._failures.get(client, (now, 0))
        if now - since >= rate.per_s:
            since, count = now, 0
        if count >= rate.limit:
            return False
        if client not in self._failures:
            while len(self._failures) >= CLIENTS_MAX:
                del self._failures[next(iter(self._failures))]
        elif not count:
            del self._failures[client]  # It is the youngest again.
        self._failures[client] = (since, count + 1)
        return True

    def succeeded(self, ip: str) -> None:
        """The attempt that was counted was none that failed."""
        client = _client(ip)
        since, count = self._failures.get(client, (0.0, 0))
        if count > 1:
            self._failures[client] = (since, count - 1)
        else:
            self._failures.pop(client, None)


def _client(ip: str) -> str:
    return ip if ip_address(ip).version == 4 else str(ip_network(f"{ip}/64", strict=False))
