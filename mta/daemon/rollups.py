"""Which domains are rolled up, as far as the DNS has said so.

The answer for a domain holds as long as its MX records may be kept. What was never asked, or
is too old, is not known: new mail then goes to the queue of its own domain, which asks
before it delivers, and passes on what it has.
"""

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mta import clock
from mta.address import domain_of
from mta.errors import ResolveError
from mta.model.queue_key import QueueKey
from mta.model.rollup_rule import SUFFIX, RollupRule
from mta.model.route import RouteHost
from mta.net.lasting import Lasting
from mta.routing import hosts
from mta.routing.redirect import QUEUE_TO, Redirects
from mta.routing.rollup import DOMAINS_MAX, RollupList, lowest

if TYPE_CHECKING:
    from mta.net.resolver import Resolver
    from mta.queues.queue import Queue

ASKED_AGAIN_S = 5
"""How long a DNS that failed somebody who asked for an explanation counts as "none"."""


class Rollups:
    """The mx-rollup-list of one configuration, and the domains it was asked for."""

    def __init__(
        self, resolver: "Resolver", rules: Iterable[RollupRule] = (), *, shards: int = 1
    ) -> None:
        """With several shards, queues with `rollup-by-ip` take nothing.

        None would know whose hosts another lent to such a queue.
        """
        given = list(rules)
        by_ip = {rule.queue for rule in given if rule.by_ip} if shards > 1 else ()
        self.list = RollupList(rule for rule in given if rule.queue not in by_ip)
        self._resolver = resolver
        self._known: Lasting[str, str] = Lasting(DOMAINS_MAX)

    def known(self, domain: str) -> str | None:
        """The rollup queue of a domain; empty for none, None if that is not known now."""
        return self._known.find(domain, clock.now())

    async def look_up(self, domain: str, *, again_after: float) -> None:
        """Make it known; a DNS that fails counts as "none" for `again_after` seconds."""
        try:
            answer = await self._resolver.mx(domain)
        except ResolveError:
            self._known.keep(domain, "", clock.now() + again_after)
            return
        names = lowest(answer)
        addresses = await self._addresses(names) if self.list.needs_addresses else frozenset()
        now = clock.now()
        until = self._resolver.mx_known_until(domain)
        if until <= now:
            until = now + again_after  # No server answered; this is what one said before.
        self._known.keep(domain, self.list.match(domain, names, addresses), until)

    async def find_out(self, key: QueueKey, redirects: Redirects) -> None:
        """Make known what the way of new mail for a queue depends on."""
        steps = redirects.outlook(key)
        renamed = steps[0][1].targets[0] if steps and steps[0][1].directive == QUEUE_TO else key
        if redirects.must_look_up(renamed):
            await self.look_up(renamed.domain, again_after=ASKED_AGAIN_S)

    def plan(self, queue: "Queue") -> "hosts.Plan | None":
        """The hosts that the lines of a rollup queue name; None if they name none."""
        rollup = self.list.queue(queue.key.domain)
        if rollup is None or not rollup.hosts:
            return None
        port = queue.settings.default_smtp_port
        group = tuple(RouteHost(name, port) for name in rollup.hosts)
        return hosts.Plan((group,), is_route=True)

    def domain(self, queue: "Queue") -> str:
        """The domain whose mail hosts serve a queue: its own, or the origin of `rollup-by-ip`."""
        name = queue.key.domain
        rollup = self.list.queue(name) if name.endswith(SUFFIX) else None
        if rollup is None or not rollup.by_ip:
            return name
        origin = self.list.origin(name)
        if origin is not None:
            return origin.domain
        # After a restart the queue may hold mail before any domain of it was looked up.
        waiting = next(iter(queue.backlog), None)
        return name if waiting is None else domain_of(waiting.address)

    async def _addresses(self, names: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        for name in sorted(names):
            with contextlib.suppress(ResolveError):
                found.update(await self._resolver.addresses(name))
        return frozenset(found)
