"""Which hosts a queue's mail may go to, and in which order (RFC 5321 §5.1).

    route configured (smtp-hosts)   its groups, in order; its hosts are used as they are
    domain is an address literal    that address
    otherwise                       MX by preference; without MX the domain's own address

`plan` says what is known before the DNS is asked, `plan_mx` what the MX answer makes of it;
addresses are looked up by whoever connects. Equal hosts take turns. A host that turns out
to be this very host, or a loopback address, is never used unless it was configured, and of
MX hosts neither are those that are as near to the mailbox as this one, or farther.
"""

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple, Protocol

from mta.model.dns_answer import MxAnswer
from mta.model.host import SMTP_PORT, Host
from mta.model.route import RouteHost, RouteSpec

MX_HOSTS_MAX: Final = 64
"""Hosts of one plan; more MX records than that are somebody's mistake or attack."""


class HostSettings(Protocol):
    """What the choice of hosts depends on."""

    @property
    def smtp_hosts(self) -> RouteSpec: ...
    @property
    def default_smtp_port(self) -> int: ...
    @property
    def bounce_upon_no_mx(self) -> bool | int | None: ...


class Plan(NamedTuple):
    """Hosts to try: groups in order, the hosts of a group being equals.

    Every host has its port. With `is_route` the configuration named them. With
    `is_implicit` the one host is the domain itself, for want of MX records.
    """

    groups: tuple[tuple[RouteHost, ...], ...]
    is_route: bool = False
    is_implicit: bool = False

    @property
    def equals(self) -> int:
        """How many hosts the largest group has; they have all been first after as many turns."""
        return max(map(len, self.groups), default=1)

    def ordered(self, turn: int) -> tuple[RouteHost, ...]:
        """All hosts in the order to try them on the turn-th connection."""
        return tuple(host for group in self.ordered_groups(turn) for host in group)

    def ordered_groups(self, turn: int) -> Iterator[tuple[RouteHost, ...]]:
        """The same, group by group."""
        for group in self.groups:
            start = turn % len(group)
            yield group[start:] + group[:start]


class Failure(NamedTuple):
    """Why there is no host: for good (`bounce`) or for now.

    `text` is for people; `status_text` replaces the usual words of the status where given.
    """

    status: str
    text: str
    status_text: str = ""
    bounce: bool = True


class _Step(NamedTuple):
    """A host to try. `list` numbers the MX answer it is of; 0: the configuration names it."""

    host: RouteHost
    list: int
    equals: tuple[RouteHost, ...] = ()
    """With the first host of a preference, the others that have it."""


class Walk:
    """One way through a plan, for one connection; the caller looks up and connects.

    A host of an MX answer that is this very host ends the way through that answer: what has
    its preference or comes behind it would send the mail back (RFC 5321 §5.1). Hosts of the
    route that come after are tried.
    """

    __slots__ = (
        "_domain", "_equals", "_left", "_lists", "_looped", "_own", "_permanent",
        "_plan", "_step", "_turn", "_used",
    )  # fmt: skip

    def __init__(self, domain: str, plan: Plan, own: Collection[str], turn: int = 0) -> None:
        """`own` are the addresses of this host; successive turns rotate equal hosts."""
        self._domain = domain
        self._plan = plan
        self._own = own
        self._turn = turn
        # Addresses turn once a round of the hosts, or some pairs would never come first.
        self._equals = plan.equals
        self._lists = 0
        self._left = deque(self._steps(plan))
        self._step: _Step
        self._looped = False
        self._used = False
        self._permanent = True

    def next(self) -> RouteHost | None:
        """The next host whose addresses to look up (its MX with `lookup_mx`); None: no more."""
        if not self._left:
            return None
        self._step = self._left.popleft()
        return self._step.host

    @property
    def equals(self) -> tuple[str, ...]:
        """MX hosts as near to the mailbox as the next one: none is used if one is this host.

        They are named once for each preference, with the first of them.
        """
        return tuple(host.name for host in self._step.equals)

    def is_ours(self, ips: Iterable[str]) -> bool:
        """Whether one of the `equals` has our address; then the MX answer is done with."""
        if not any(ip in self._own and not _is_here(ip) for ip in ips):
            return False
        self._cut()
        return True

    def expand(self, host: RouteHost, plan: Plan) -> None:
        """Go through the MX hosts of a `lookup_mx` host next, on that host's port."""
        self._equals = plan.equals
        self._left.extendleft(reversed(self._steps(plan, host)))

    def literal(self, host: RouteHost) -> str | None:
        """The address a host is given by, where that is allowed: not in an MX record."""
        is_named = not self._step.list
        return literal_address(host.name) if is_named or host.name.startswith("[") else None

    def addresses(self, host: RouteHost, ips: Sequence[str]) -> tuple[Host, ...]:
        """Those addresses of the host that `next` said that mail may go to, in their order."""
        start = self._turn // self._equals % len(ips) if ips else 0
        port = SMTP_PORT if host.port is None else host.port
        hosts = []
        is_ours = False
        for ip in (*ips[start:], *ips[:start]):
            candidate = Host(host.name, ip, port)
            if usable(candidate, self._own, is_route=not self._step.list):
                hosts.append(candidate)
            else:
                self._looped = True
                is_ours = is_ours or not _is_here(ip)
        if is_ours:
            self._cut()
            return ()
        self._used = self._used or bool(hosts)
        return tuple(hosts)

    def unresolved(self, *, permanent: bool) -> None:
        """The look-up of a host failed, for good or for now."""
        self._permanent = self._permanent and permanent

    def _steps(self, plan: Plan, above: RouteHost | None = None) -> list[_Step]:
        """Through a plan; `above` is the host of the route whose MX answer it is."""
        if plan.is_route:
            return [_Step(host, 0) for host in plan.ordered(self._turn)]
        self._lists += 1
        steps = []
        for group in plan.ordered_groups(self._turn):
            hosts = [h if above is None else h._replace(port=above.port) for h in group]
            steps.append(_Step(hosts[0], self._lists, tuple(hosts[1:])))
            steps += [_Step(host, self._lists) for host in hosts[1:]]
        return steps

    def _cut(self) -> None:
        """Pass over what is left of the MX answer."""
        self._looped = True
        self._left = deque(step for step in self._left if step.list != self._step.list)

    @property
    def failure(self) -> Failure | None:
        """Why no host had an address to use; None if one had."""
        if self._used:
            return None
        domain = self._domain
        if not self._permanent:
            text = f"addresses of the mail hosts of {domain} could not be looked up"
            return Failure("4.4.3", text, bounce=False)
        if self._plan.is_route:
            # What the operator named will be put right by the operator.
            text = f"no host of the route for {domain} works"
            if self._looped:
                text = f"the route for {domain} comes back to this host: its MX (lookup-mx) is here"
            return Failure("4.4.4", text, bounce=False)
        if self._looped:
            return Failure("5.4.6", f"mail for {domain} would come back to this host")
        if self._plan.is_implicit:
            return no_such_domain(domain)
        return Failure("5.4.4", f"no mail host of {domain} has an address")


def plan(domain: str, settings: HostSettings) -> Plan | Failure | None:
    """The hosts for domain as far as no DNS is needed; None means to look up its MX."""
    route = settings.smtp_hosts
    port = settings.default_smtp_port
    if route:
        return Plan(tuple(_with_port(group, port) for group in route.groups), is_route=True)
    if domain.startswith("["):
        ip = literal_address(domain)
        if ip is None:
            return Failure("5.1.2", f"{domain} is not an address")
        return Plan(((RouteHost(domain, port),),))
    return None


def bounces_without_mx(settings: HostSettings) -> int | None:
    """How old mail is, in seconds, that bounces if there is no MX; None if none does."""
    value = settings.bounce_upon_no_mx
    return (0 if value else None) if isinstance(value, bool) else value


def plan_mx(
    domain: str, answer: MxAnswer, settings: HostSettings, *, is_route: bool = False
) -> Plan | Failure:
    """The hosts for domain that its MX records name.

    With `is_route` the configuration has the domain in the place of a host, and nothing
    bounces for want of an MX (Guide: bounce-upon-no-mx).
    """
    if answer.is_null:
        # RFC 7505 §4.1
        return Failure("5.1.10", f"{domain} accepts no mail (null MX)")
    if not answer.exists:
        return no_such_domain(domain)
    port = settings.default_smtp_port
    if not answer.records:
        if not is_route and bounces_without_mx(settings) == 0:
            return Failure("5.4.4", f"{domain} has no MX record (bounce-upon-no-mx)")
        return Plan(((RouteHost(domain, port),),), is_implicit=True)
    groups: dict[int, dict[str, None]] = {}
    for preference, name in sorted(answer.records)[:MX_HOSTS_MAX]:
        groups.setdefault(preference, {})[name.lower().removesuffix(".")] = None
    seen: set[str] = set()
    ordered = []
    for names in groups.values():
        fresh = [name for name in names if name and name not in seen]
        seen.update(fresh)
        if fresh:
            ordered.append(tuple(RouteHost(name, port) for name in fresh))
    if not ordered:
        return no_such_domain(domain)
    return Plan(tuple(ordered))


def usable(host: Host, own: Collection[str], *, is_route: bool) -> bool:
    """Whether mail may go to an address; `own` are the addresses of this host."""
    return is_route or not (_is_here(host.ip) or host.ip in own)


def no_such_domain(domain: str) -> Failure:
    """The DNS knows no such name, or no address of it."""
    return Failure("5.1.2", f"{domain} does not exist", "bad destination system: no such domain")


def literal_address(name: str) -> str | None:
    """The address of `[192.0.2.1]`, `[IPv6:2001:db8::1]` or a bare address; else None."""
    text = name.removeprefix("[").removesuffix("]")
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    try:
        return str(ip_address(text))
    except ValueError:
        return None


def _with_port(group: Iterable[RouteHost], port: int) -> tuple[RouteHost, ...]:
    return tuple(host if host.port is not None else host._replace(port=port) for host in group)


@lru_cache(4096)
def _is_here(ip: str) -> bool:
    """Whether an address never leads to another host: loopback, unspecified, multicast."""
    address = ip_address(ip)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or address.is_multicast
