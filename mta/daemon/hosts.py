"""The hosts a queue's connection tries, one after another."""

import random
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from mta import address
from mta.daemon.rollups import Rollups
from mta.errors import ResolveError
from mta.model.host import Host
from mta.routing import hosts

if TYPE_CHECKING:
    from mta.model.message import Recipient
    from mta.model.route import RouteHost
    from mta.net.resolver import Resolver
    from mta.queues.queue import Queue


class HostFinder:
    """Asks the DNS what the plan of a queue leaves open."""

    def __init__(self, resolver: "Resolver", own: frozenset[str], rollups: Rollups) -> None:
        self._resolver = resolver
        self._rollups = rollups
        self._own = own
        # One count for all would give a queue every other number, and so the same host again.
        self._turns = random.Random(0)  # noqa: S311 - no secret

    async def find(self, queue: "Queue", source_ip: str) -> AsyncIterator[Host]:
        """Hosts in the order to try them, that source_ip (empty: any) can reach.

        ResolveError if there is none: permanent if there never will be.
        """
        domain = self._rollups.domain(queue)
        plan = hosts.plan(domain, queue.settings) or self._rollups.plan(queue)
        if plan is None:
            plan = hosts.plan_mx(domain, await self._resolver.mx(domain), queue.settings)
        if isinstance(plan, hosts.Failure):
            raise _error(plan)
        walk = hosts.Walk(domain, plan, self._own, self._turns.getrandbits(32))
        is_out_of_reach = is_found = False
        while (route_host := walk.next()) is not None:
            for host in await self._look_up(walk, route_host, queue):
                if _reachable(host.ip, source_ip):
                    is_found = True
                    yield host
                else:
                    is_out_of_reach = True
        if is_out_of_reach and not is_found:
            text = "no compatible source IP configured"
            raise ResolveError(text, permanent=False, status="4.4.4", status_text=text)
        if walk.failure is not None:
            raise _error(walk.failure)

    async def unproven(self, queue: "Queue", name: str, recipients: "Sequence[Recipient]") -> str:
        """The domain whose MX answer named a host without proof; empty if there is none.

        A host that the configuration names needs none. Domains are put together in a queue by
        MX answers that nobody signed (`mx-rollup-list`), so there each has to name the host
        itself. ResolveError if the DNS does not answer.
        """
        if self._rollups.list.queue(queue.key.domain) is not None:
            for domain in {address.domain_of(one.address) for one in recipients}:
                if not await self._is_proven(domain, name):
                    return domain
            return ""
        plan = hosts.plan(queue.key.domain, queue.settings)
        if not isinstance(plan, hosts.Plan):
            return "" if await self._is_proven(queue.key.domain, name) else queue.key.domain
        unproven = ""
        for host in (host for group in plan.groups for host in group):
            if host.name == name if not host.lookup_mx else await self._is_proven(host.name, name):
                return ""
            if host.lookup_mx:
                unproven = host.name
        return unproven or queue.key.domain

    async def _is_proven(self, domain: str, name: str) -> bool:
        """Whether mail for a domain belongs to a host, as nobody but its owner can say."""
        answer = await self._resolver.mx(domain)
        if not answer.records:
            return name == domain  # The certificate is for the very domain.
        return answer.is_authentic and any(name == one for _, one in answer.records)

    async def _look_up(
        self, walk: hosts.Walk, route_host: "RouteHost", queue: "Queue"
    ) -> tuple[Host, ...]:
        """The usable addresses of one host of the plan."""
        try:
            if route_host.lookup_mx:
                answer = await self._resolver.mx(route_host.name)
                plan = hosts.plan_mx(route_host.name, answer, queue.settings)
                if isinstance(plan, hosts.Failure):
                    walk.unresolved(permanent=plan.bounce)
                else:
                    walk.expand(route_host, plan)
                return ()
            literal = walk.literal(route_host)
            if literal is not None:
                return walk.addresses(route_host, (literal,))
            return walk.addresses(route_host, await self._resolver.addresses(route_host.name))
        except ResolveError as error:
            walk.unresolved(permanent=error.permanent)
            return ()


def _reachable(ip: str, source_ip: str) -> bool:
    return not source_ip or ip_address(ip).version == ip_address(source_ip).version


def _error(failure: hosts.Failure) -> ResolveError:
    return ResolveError(
        failure.text,
        permanent=failure.bounce,
        status=failure.status,
        status_text=failure.status_text,
    )
