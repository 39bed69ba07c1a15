"""The hosts a queue's connection tries, one after another."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeVar

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

T = TypeVar("T")
LOOK_UPS_S: Final = 60.0
"""How long one connection may wait for the DNS in all. A name takes half a minute where no server
answers, and there may be dozens; who waits has a slot that others could use."""
EQUALS_S: Final = 5.0
"""How much of it for finding out whether one of several equal hosts is this one. Who cannot be
looked up by then is not: our own address is one that we can look up."""
EQUALS_MAX: Final = 16
"""More equal hosts than that are nobody's; they are not all to be asked for at once."""


WithoutMx = Callable[["Queue", int], Awaitable[None]]
"""Told a queue whose domain has no MX, and how old mail is that bounces then, in seconds."""


class HostFinder:
    """Asks the DNS what the plan of a queue leaves open."""

    def __init__(
        self,
        resolver: "Resolver",
        own: frozenset[str],
        rollups: Rollups,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._log = log
        self._resolver = resolver
        self._rollups = rollups
        self._own = own
        # One count for all would give a queue every other number, and so the same host again.
        self._turns = random.Random(0)  # noqa: S311 - no secret

    async def find(
        self, queue: "Queue", source_ip: str, without_mx: WithoutMx | None = None
    ) -> AsyncIterator[Host]:
        """Hosts in the order to try them, that source_ip (empty: any) can reach.

        ResolveError if there is none: permanent if there never will be. `without_mx` is
        awaited before the host of a domain without MX, if its mail bounces at some age.
        """
        domain = self._rollups.domain(queue)
        patience = _Patience()
        plan = hosts.plan(domain, queue.settings) or self._rollups.plan(queue)
        if plan is None:
            answer = await patience.wait(lambda: self._resolver.mx(domain))
            plan = hosts.plan_mx(domain, answer, queue.settings)
            after = hosts.bounces_without_mx(queue.settings)
            if without_mx is not None and after is not None and _is_implicit(plan):
                await without_mx(queue, after)
        if isinstance(plan, hosts.Failure):
            raise _error(plan)
        walk = hosts.Walk(domain, plan, self._own, self._turns.getrandbits(32))
        is_out_of_reach = is_found = False
        try:
            while (route_host := walk.next()) is not None:
                if walk.equals and await self._is_among(walk, patience):
                    continue
                for host in await self._look_up(walk, route_host, queue, patience):
                    if _reachable(host.ip, source_ip):
                        is_found = True
                        yield host
                    else:
                        is_out_of_reach = True
        finally:
            if patience.missed:
                self._log(f"{queue.key}: {patience.missed_text}")
        if is_out_of_reach and not is_found:
            text = "no compatible source IP configured"
            raise ResolveError(text, permanent=False, status="4.4.4", status_text=text)
        if walk.failure is not None:
            raise _error(walk.failure, patience.missed_text)

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

    async def _is_among(self, walk: hosts.Walk, patience: "_Patience") -> bool:
        """Whether this host is one of several equal ones; then none of them is used."""
        known = {name: self._resolver.known_addresses(name) for name in walk.equals[:EQUALS_MAX]}
        unknown = [name for name, ips in known.items() if not ips]
        if unknown:
            # What is not known in time is looked up to the end, for the next connection.
            with contextlib.suppress(ResolveError):
                await patience.wait(lambda: self._learn(unknown), at_most=EQUALS_S)
        return any(
            walk.is_ours(ips or self._resolver.known_addresses(name)) for name, ips in known.items()
        )

    async def _learn(self, names: Sequence[str]) -> None:
        asked = (self._resolver.addresses(name) for name in names)
        await asyncio.gather(*asked, return_exceptions=True)

    async def _look_up(
        self,
        walk: hosts.Walk,
        route_host: "RouteHost",
        queue: "Queue",
        patience: "_Patience",
    ) -> tuple[Host, ...]:
        """The usable addresses of one host of the plan."""
        try:
            if route_host.lookup_mx:
                answer = await patience.wait(lambda: self._resolver.mx(route_host.name))
                plan = hosts.plan_mx(route_host.name, answer, queue.settings, is_route=True)
                if isinstance(plan, hosts.Failure):
                    walk.unresolved(permanent=plan.bounce)
                else:
                    walk.expand(route_host, plan)
                return ()
            literal = walk.literal(route_host)
            if literal is not None:
                return walk.addresses(route_host, (literal,))
            name = route_host.name
            try:
                found = await patience.wait(lambda: self._resolver.addresses(name))
            except _ImpatientError:
                found = self._resolver.known_addresses(name)
                if not found:
                    raise
            return walk.addresses(route_host, found)
        except ResolveError as error:
            if isinstance(error, _ImpatientError):
                patience.missed.append(route_host.name)
            walk.unresolved(permanent=error.permanent)
            return ()


def _is_implicit(plan: "hosts.Plan | hosts.Failure") -> bool:
    return isinstance(plan, hosts.Plan) and plan.is_implicit


def _reachable(ip: str, source_ip: str) -> bool:
    return not source_ip or ip_address(ip).version == ip_address(source_ip).version


def _error(failure: hosts.Failure, besides: str = "") -> ResolveError:
    return ResolveError(
        f"{failure.text}: {besides}" if besides else failure.text,
        permanent=failure.bounce,
        status=failure.status,
        status_text=failure.status_text,
    )


class _ImpatientError(ResolveError):
    """There was no time left for a question."""

    def __init__(self) -> None:
        text = f"the name servers took more than {LOOK_UPS_S:g} s"
        super().__init__(text, permanent=False, status="4.4.3")


class _Patience:
    """What is left of the time that one connection has for the DNS."""

    def __init__(self) -> None:
        self._left_s = LOOK_UPS_S
        self.missed: list[str] = []
        """Hosts that were not looked up to the end."""

    @property
    def missed_text(self) -> str:
        """What to say of them; empty if there are none."""
        if not self.missed:
            return ""
        count = len(self.missed)
        hosts = (
            f"{self.missed[0]} was" if count == 1 else f"{self.missed[0]} and {count - 1} more were"
        )
        return f"the name servers took more than {LOOK_UPS_S:g} s, and {hosts} not looked up"

    async def wait(
        self, question: "Callable[[], Awaitable[T]]", *, at_most: float = LOOK_UPS_S
    ) -> T:
        """The answer. _ImpatientError: it took too long, or is not asked for any more."""
        if self._left_s <= 0:
            raise _ImpatientError
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(min(self._left_s, at_most)):
                return await question()
        except TimeoutError:
            raise _ImpatientError from None
        finally:
            self._left_s -= loop.time() - began
