"""The hosts a queue's connection tries, one after another."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mta.errors import ResolveError
from mta.model.host import SMTP_PORT, Host
from mta.routing import hosts

if TYPE_CHECKING:
    from mta.model.route import RouteHost
    from mta.net.resolver import Resolver
    from mta.queues.queue import Queue

LOOKUPS_DEEP_MAX = 16
"""Hosts of one route that are domains themselves (`lookup-mx:`); no route needs more."""


class HostFinder:
    """Asks the DNS what the plan of a queue leaves open."""

    def __init__(self, resolver: "Resolver", own: frozenset[str]) -> None:
        self._resolver = resolver
        self._own = own
        self._turn = 0

    async def find(self, queue: "Queue", source_ip: str) -> AsyncIterator[Host]:
        """Hosts in the order to try them, that source_ip (empty: any) can reach.

        ResolveError, before the first, if there is none: permanent if there never will be.
        """
        domain = queue.key.domain
        self._turn += 1
        plan = hosts.plan(domain, queue.settings)
        if plan is None:
            plan = hosts.plan_mx(domain, await self._resolver.mx(domain), queue.settings)
        if isinstance(plan, hosts.Failure):
            raise _error(plan)
        found = looped = False
        permanent = True
        for route_host in plan.ordered(self._turn):
            try:
                candidates = await self._addresses(route_host, queue)
            except ResolveError as error:
                permanent = permanent and error.permanent
                continue
            for host in candidates:
                if not hosts.usable(host, self._own, is_route=plan.is_route):
                    looped = True
                elif _reachable(host.ip, source_ip):
                    found = True
                    yield host
        if not found:
            raise _error(
                hosts.no_usable_host(
                    domain, looped=looped, permanent=permanent, is_implicit=plan.is_implicit
                )
            )

    async def _addresses(self, route_host: "RouteHost", queue: "Queue") -> list[Host]:
        """Every address of a host of the plan; of a `lookup-mx:` one, of its MX hosts."""
        name, port = route_host.name, route_host.port or SMTP_PORT
        literal = hosts.literal_address(name)
        if literal is not None:
            return [Host(f"[{literal}]", literal, port)]
        if not route_host.lookup_mx:
            return [
                Host(name, ip, port) for ip in self._rotated(await self._resolver.addresses(name))
            ]
        plan = hosts.plan_mx(name, await self._resolver.mx(name), queue.settings)
        if isinstance(plan, hosts.Failure):
            raise _error(plan)
        found = []
        for mx in plan.ordered(self._turn)[:LOOKUPS_DEEP_MAX]:
            ips = self._rotated(await self._resolver.addresses(mx.name))
            found += [Host(mx.name, ip, port) for ip in ips]
        return found

    def _rotated(self, ips: tuple[str, ...]) -> tuple[str, ...]:
        start = self._turn % len(ips) if ips else 0
        return ips[start:] + ips[:start]


def _reachable(ip: str, source_ip: str) -> bool:
    return not source_ip or ip_address(ip).version == ip_address(source_ip).version


def _error(failure: hosts.Failure) -> ResolveError:
    return ResolveError(
        failure.text,
        permanent=failure.bounce,
        status=failure.status,
        status_text=failure.status_text,
    )
