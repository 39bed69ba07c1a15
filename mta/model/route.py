"""Where a domain's mail goes when the configuration says so. Guide: smtp-hosts."""

from typing import NamedTuple


class RouteHost(NamedTuple):
    """One host of a route: a name, or an address in brackets or bare.

    `port` is None for port 25. With `lookup_mx` the name is a domain whose MX hosts are
    meant; without it the name's own addresses.
    """

    name: str
    port: int | None = None
    lookup_mx: bool = False


class RouteSpec(NamedTuple):
    """Groups of hosts, tried in order; the hosts of one group are equals."""

    groups: tuple[tuple[RouteHost, ...], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.groups)


NO_ROUTE = RouteSpec()
