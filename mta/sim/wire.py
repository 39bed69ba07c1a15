"""Limits seen from outside: no limit is exceeded in any window, at any level, on the wire.

Connections and recipients are counted where they leave the sender, in windows counted by
brute force; nothing is asked of the daemon's own counters. A connection counts from its
first packet until the sender has closed it. A recipient is attempted when the transaction
that names him begins. The octets of a message, as it was submitted, count when it is taken.
"""

import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from mta.queues.rates import CHUNKS_MAX
from mta.sim.findings import Findings
from mta.sim.network import Link
from mta.sim.policy import Pace, Policy, QueueRules
from mta.units import UNLIMITED, DataRate, Rate

DECISION_S: Final = 1800.0
"""From the decision to open a connection until its last host is tried: limits that were in
force that long ago may be why it is opened now."""
DNS_S: Final = 1.0
"""From that decision until the first packet, with DNS that answers."""

LATE_S: Final = 0.001
"""What a float loses of the time of day, generously."""
TIMES_MAX: Final = 5000
"""More than any window of a scenario permits."""
HEAD_MAX: Final = 2000
"""Of a message's octets; the field that names it is among them."""
_TEST_ID: Final = re.compile(rb"\r\nX-Petrel-Test-Id: (\S+)\r\n")


@dataclass(slots=True)
class _Client:
    """What one link carries, as far as it is watched."""

    queue: str = ""
    vmta: str = ""
    scopes: list[str] = field(default_factory=list)
    """Where it counts as a connection."""
    rcpts: list[str] = field(default_factory=list)
    began: float = 0.0
    reset_at: float | None = None
    """When RSET went out alone: the transaction began then, and MAIL follows its reply."""
    is_content: bool = False
    is_unanswered: bool = False
    """All content is sent, and no reply to it has come."""
    content: bytes = b""
    """The beginning of it."""


class Wire:
    """The `Observer` of a simulation's network."""

    def __init__(
        self,
        findings: Findings,
        now: Callable[[], float],
        *,
        domain_of: Callable[[str], str],
        mode_of: Callable[[str], str],
        slack_s: float,
    ) -> None:
        """`domain_of` gives the only domain served at an address, or nothing.

        `slack_s` is how long the spool may take to read what a connection has been given.
        """
        self.policy: Policy
        self.ambiguous: Counter[str] = Counter()
        """Recipients whose content was sent and never answered, how often."""
        self.attempts: dict[str, deque[float]] = {}
        """By scope, the latest ones: as many as the longest window holds."""
        self.attempts_total = 0
        self.sizes: dict[str, int] = {}
        """By test id, how many octets were submitted."""
        self.volumes: dict[str, deque[tuple[float, int]]] = {}
        """By scope, when a message was taken and how large it was."""
        self.open: Counter[str] = Counter()
        """Connections by scope: `total`, VirtualMTA, queue."""
        self.say: Callable[[str], None] | None = None
        """Where a line for everything on the wire goes."""
        self._findings = findings
        self._now = now
        self._domain_of = domain_of
        self._mode_of = mode_of
        self.slack_s = slack_s
        self._clients: dict[Link, _Client] = {}
        self._openings: dict[str, deque[float]] = {}
        self._openers: dict[str, set[object]] = {}
        self._dialled_at: dict[object, float] = {}
        """When who opens a connection tried the first host."""
        self._changed: dict[str, float] = {}
        """By scope, when its limits last changed."""
        self._unnamed: dict[str, deque[float]] = {}
        """By scope, transactions whose recipients came later than MAIL, or never."""
        self._before: dict[str, tuple[float, int]] = {}
        """By scope, until when a higher number of connections was permitted, and which."""

    # What was permitted when

    def follow(self, policy: Policy) -> None:
        """Another configuration is in force; windows begin anew."""
        if hasattr(self, "policy"):
            for scope in self.policy.scopes():
                self._remember(scope, self.permitted(scope))
        self.policy = policy
        self.forget()

    def forget(self) -> None:
        """The daemon has started, and remembers nothing: windows begin anew."""
        now = self._now()
        self._changed = dict.fromkeys(
            [*self.attempts, *self._openings, *self.volumes, *self._changed], now
        )

    def switched(self, queue: str, mode: str) -> None:
        """A queue's mode changed."""
        domain, _, vmta = queue.partition("/")
        before = "normal" if mode == "backoff" else "backoff"
        self._remember(queue, self.policy.rules(domain, vmta).pace(before).connections)
        self._changed[queue] = self._now()

    def _remember(self, scope: str, most: int) -> None:
        until, known = self._before.get(scope, (0.0, 0))
        now = self._now()
        self._before[scope] = (now, max(most, known if until + DECISION_S > now else 0))

    def pace(self, queue: str) -> Pace:
        """The limits of a queue in the mode it is in."""
        return self._rules(queue).pace(self._mode_of(queue))

    def _rules(self, queue: str) -> QueueRules:
        domain, _, vmta = queue.partition("/")
        return self.policy.rules(domain, vmta)

    def connections(self, scope: str) -> int:
        """How many there are, or may be: it shows late which queue a shared host serves."""
        vmta = scope.partition("/")[2]
        unknown = sum(not c.queue and c.vmta == vmta for c in self._clients.values())
        return self.open[scope] + unknown

    def permitted(self, scope: str) -> int:
        """The most connections permitted now."""
        if scope == "total":
            return self.policy.total
        if ">" in scope:
            is_all = scope.startswith(">")
            limit = self.policy.host_connections if is_all else self.policy.mx_connections
            return limit or UNLIMITED
        if "@" in scope:
            return self._rules(scope.partition("@")[2]).source_connections or UNLIMITED
        if "/" in scope:
            return self.pace(scope).connections
        return self.policy.vmtas[scope].connections or UNLIMITED

    def _ceiling(self, scope: str) -> int:
        """The most connections permitted of late."""
        until, before = self._before.get(scope, (-DECISION_S, 0))
        most = self.permitted(scope)
        return max(most, before) if until + DECISION_S > self._now() else most

    def attempted(self, scope: str, rate: Rate) -> int:
        """How many of a rate may have been used: what was named after MAIL, or may have been."""
        begins = self._now() - rate.per_s - LATE_S
        named = sum(time > begins for time in self.attempts.get(scope, ()))
        shared = scope[scope.find("/") :] if "/" in scope else scope
        for one in (scope, shared):
            if any(time > begins for time in self._unnamed.get(one, ())):
                return UNLIMITED
        return named

    # For the network

    def dialled(self, link: Link) -> None:
        client = _Client()
        if link.client[0] not in self.policy.own:
            return
        self._clients[link] = client
        client.vmta = self.policy.vmta_of(link.client[0])
        self._dialled_at.setdefault(link.opener, self._now())
        self._say(link, "connecting")
        host = link.server[0]
        for scope in ("total", client.vmta, f"{link.client[0]}>{host}", f">{host}"):
            self._opened(client, scope)
        domain = self._domain_of(link.server[0])
        if domain:
            self._belongs(link, client, f"{domain}/{client.vmta}")

    def _belongs(self, link: Link, client: _Client, queue: str) -> None:
        client.queue = queue
        source = f"{link.client[0]}@{queue}"
        self._opened(client, queue)
        self._opened(client, source)
        openers = self._openers.setdefault(queue, set())
        if link.opener not in openers:  # else it tries its next host
            openers.add(link.opener)
            rate = self.pace(queue).connect_rate
            at = self._dialled_at[link.opener]  # Whose it is may show late.
            self._count(queue, self._openings, rate, at, "max-connect-rate", DNS_S)
            rules = self._rules(queue)
            rate = Rate(1, rules.rampup) if rules.rampup else None
            kept = self._openings
            self._count(f"{queue} in turn", kept, rate, at, "smtp-out-rampup-interval", DNS_S)
            rate = rules.source_connect_rate
            self._count(source, kept, rate, at, "source-ip-max-connect-rate", DNS_S)

    def _opened(self, client: _Client, scope: str) -> None:
        client.scopes.append(scope)
        self.open[scope] += 1
        most = self._ceiling(scope)
        if self.open[scope] > most:
            self._findings.add(
                self._now(), f"{self.open[scope]} connections of {scope}, {most} are permitted"
            )

    def sent(self, link: Link, octets: bytes) -> None:
        client = self._clients.get(link)
        if client is None:
            return
        if client.is_content:
            if len(client.content) < HEAD_MAX:
                client.content += octets[:HEAD_MAX]
            if octets.endswith(b"\r\n.\r\n"):
                client.is_content, client.is_unanswered = False, True
            return
        if octets == b"RSET\r\n":
            client.reset_at = self._now()
        if octets[:5] in (b"MAIL ", b"RSET\r") and b"\r\nRCPT " not in octets:
            # Of a shared host it shows with RCPT whose it is.
            for scope in (client.queue or f"/{client.vmta}", client.vmta):
                self._unnamed.setdefault(scope, deque(maxlen=TIMES_MAX)).append(self._now())
        for line in octets.split(b"\r\n"):
            if line[:5].upper() == b"MAIL ":
                client.rcpts, client.content = [], b""
                client.began = self._now() if client.reset_at is None else client.reset_at
                client.reset_at = None
            elif line[:5].upper() == b"RCPT ":
                address = line.partition(b"<")[2].partition(b">")[0].decode()
                client.rcpts.append(address)
                self._attempted(link, client, address)
        self._say(link, ">", octets)

    def _attempted(self, link: Link, client: _Client, address: str) -> None:
        queue = f"{address.rpartition('@')[2]}/{client.vmta}"
        if not client.queue:
            self._belongs(link, client, queue)
        elif client.queue != queue:
            self._findings.add(self._now(), f"{address} in a connection of {client.queue}")
        self.attempts_total += 1
        at = client.began
        rate = self.pace(queue).msg_rate
        self._count(queue, self.attempts, rate, at, "max-msg-rate")
        rate = self._rules(queue).source_msg_rate
        source = f"{link.client[0]}@{queue}"
        self._count(source, self.attempts, rate, at, "source-ip-max-msg-rate")
        vmta = self.policy.vmtas[client.vmta]
        self._count(client.vmta, self.attempts, vmta.msg_rate, at, "max-smtp-msg-rate")

    def _taken(self, link: Link, client: _Client) -> None:
        """A message was: it counts in full, whoever of its recipients it was for."""
        named = _TEST_ID.search(client.content)
        assert named, client.content
        size = self.sizes[named[1].decode()]
        source = f"{link.client[0]}@{client.queue}"
        for scope, rate in (
            (client.queue, self.pace(client.queue).data_rate),
            (source, self._rules(client.queue).source_data_rate),
            (client.vmta, self.policy.vmtas[client.vmta].data_rate),
        ):
            times = self.volumes.setdefault(scope, deque(maxlen=TIMES_MAX))
            if client.began < self._changed.get(scope, -1.0):
                continue  # let go under another limit
            times.append((self._now(), size))
            if rate is None:
                continue
            within = self.taken(scope, rate)
            # One that is larger than the limit itself goes when nothing else counts.
            if sum(within) > rate.limit and len(within) > 1:
                self._findings.add(
                    self._now(), f"{sum(within)} octets in a window of {rate} of {scope}: {times}"
                )

    def taken(self, scope: str, rate: DataRate) -> list[int]:
        """The sizes of what the window that ends now holds for certain."""
        begins = max(self._now() - rate.per_s + LATE_S, self._changed.get(scope, -1.0))
        return self._volumes_since(scope, begins)

    def remembered(self, scope: str, rate: DataRate) -> list[int]:
        """The sizes of what the daemon may count now.

        What was taken together may leave the window together, with the last of it; and what is
        known of the old window after a reload counts in the new one.
        """
        begins = self._now() - rate.per_s - rate.per_s / CHUNKS_MAX - LATE_S
        return self._volumes_since(scope, begins)

    def _volumes_since(self, scope: str, begins: float) -> list[int]:
        return [size for time, size in self.volumes.get(scope, ()) if time > begins]

    def _count(
        self,
        scope: str,
        kept: dict[str, deque[float]],
        rate: Rate | None,
        at: float,
        directive: str,
        slack_s: float = 0.0,
    ) -> None:
        """Note one more, and count the window that ends now."""
        times = kept.setdefault(scope, deque(maxlen=TIMES_MAX))
        times.append(at)
        if rate is not None and (within := self.within(scope, kept, rate, slack_s)) > rate.limit:
            self._findings.add(
                self._now(), f"{within} in a window of {directive} {rate} of {scope}: {times}"
            )

    def within(
        self, scope: str, kept: dict[str, deque[float]], rate: Rate, slack_s: float = 0.0
    ) -> int:
        """How many the window that ends now holds."""
        begins = self._now() - rate.per_s + slack_s + self.slack_s + LATE_S
        begins = max(begins, self._changed.get(scope, -1.0))
        return sum(time > begins for time in kept.get(scope, ()))

    def heard(self, link: Link, octets: bytes) -> None:
        client = self._clients.get(link)
        if client is None:
            return
        self._say(link, "<", octets)
        if octets.startswith(b"354") or b"\r\n354" in octets:
            client.is_content = True
        elif client.is_unanswered:
            client.is_unanswered = False
            if octets.startswith(b"2"):
                self._taken(link, client)

    def hung_up(self, link: Link) -> None:
        client = self._clients.pop(link, None)
        if client is None:
            return
        self._say(link, "closed")
        for scope in client.scopes:
            self.open[scope] -= 1
        if client.is_unanswered or client.is_content:
            self.ambiguous.update(client.rcpts)

    def _say(self, link: Link, text: str, octets: bytes = b"") -> None:
        if self.say is not None:
            self.say(f"({link.number}) {link.client[0]} {link.server[0]} {text} {octets[:200]!r}")
