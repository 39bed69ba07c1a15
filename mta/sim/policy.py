"""What a simulated sender is permitted: limits as values, and the configuration that says them.

The invariants are checked against these values, never against what the daemon made of its
configuration.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from mta.units import DataRate, Rate, print_interval

ACCOUNTING: Final = ["records d,b,t,tq", "delete-after never"]
LISTENER: Final = ("10.0.0.1", 25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The limits of a queue in one mode. None is unlimited."""

    connections: int = 20
    msg_rate: Rate | None = None
    connect_rate: Rate | None = None
    data_rate: DataRate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRules:
    """One `<domain>` block; every directive named here stands in it."""

    normal: Pace = Pace()
    backoff: Pace = Pace()
    """Where a rate is None in backoff, it has to be None in normal mode, too: unlimited
    in backoff means as in normal mode."""
    retry_after: tuple[int, ...] = (600,)
    backoff_retry_after: tuple[int, ...] = (3600,)
    retry_recipients_after: int = 600
    bounce_after: int = 4 * 86400
    source_connections: int | None = None
    """For each source address; so are the next three."""
    source_msg_rate: Rate | None = None
    source_connect_rate: Rate | None = None
    source_data_rate: DataRate | None = None
    priority: int = 50
    rampup: int = 0
    max_msg_per_connection: int = 0
    max_rcpt_per_message: int = 1000
    connection_idle_timeout: int = 0
    backoff_to_normal_after: int = 3600
    flags: tuple[str, ...] = ()
    """Directives that are switched on."""

    def pace(self, mode: str) -> Pace:
        return self.backoff if mode == "backoff" else self.normal

    def lines(self) -> list[str]:
        """The directives."""
        lines = [
            f"max-smtp-out {self.normal.connections}",
            f"backoff-max-smtp-out {self.backoff.connections}",
            f"max-msg-rate {_rate(self.normal.msg_rate)}",
            f"max-connect-rate {_rate(self.normal.connect_rate)}",
            f"backoff-max-msg-rate {_rate(self.backoff.msg_rate)}",
            f"backoff-max-connect-rate {_rate(self.backoff.connect_rate)}",
            f"max-data-volume-rate {_rate(self.normal.data_rate)}",
            f"backoff-max-data-volume-rate {_rate(self.backoff.data_rate)}",
            f"retry-after {_list(self.retry_after)}",
            f"backoff-retry-after {_list(self.backoff_retry_after)}",
            f"retry-recipients-after {print_interval(self.retry_recipients_after)}",
            f"bounce-after {print_interval(self.bounce_after)}",
            f"max-rcpt-per-message {self.max_rcpt_per_message}",
            f"connection-idle-timeout {print_interval(self.connection_idle_timeout)}",
            f"backoff-to-normal-after {print_interval(self.backoff_to_normal_after)}",
            f"source-ip-max-smtp-out 0/0 {self.source_connections or 'unlimited'}",
            f"source-ip-max-msg-rate 0/0 {_rate(self.source_msg_rate)}",
            f"source-ip-max-connect-rate 0/0 {_rate(self.source_connect_rate)}",
            f"source-ip-max-data-volume-rate 0/0 {_rate(self.source_data_rate)}",
            f"queue-priority {self.priority}",
            f"smtp-out-rampup-interval {print_interval(self.rampup)}",
            "smtp-pattern-list replies",
        ]
        if self.max_msg_per_connection:
            lines.append(f"max-msg-per-connection {self.max_msg_per_connection}")
        return lines + [f"{flag} yes" for flag in self.flags]


@dataclass(frozen=True, slots=True, kw_only=True)
class VmtaRules:
    """One VirtualMTA; no two share an address."""

    ips: tuple[str, ...]
    connections: int | None = None
    msg_rate: Rate | None = None
    data_rate: DataRate | None = None
    domains: dict[str, QueueRules] = field(default_factory=dict)
    """Blocks of its own; they hide the global ones wholly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One configuration."""

    total: int = 1000
    host_connections: int | None = None
    """To each address of a provider: `ip-connection-limit`."""
    mx_connections: int | None = None
    """To each host of a provider from each of our addresses: `mx-connection-limit`."""
    vmtas: dict[str, VmtaRules]
    domains: dict[str, QueueRules]
    """The global blocks; one for each domain there is."""
    patterns: tuple[str, ...] = ()

    def rules(self, domain: str, vmta: str) -> QueueRules:
        """The rules of a queue."""
        return self.vmtas[vmta].domains.get(domain) or self.domains[domain]

    def vmta_of(self, ip: str) -> str:
        """Whose an address is."""
        return next(name for name, vmta in self.vmtas.items() if ip in vmta.ips)

    @property
    def own(self) -> frozenset[str]:
        """All addresses of the host."""
        return frozenset({LISTENER[0], *(ip for v in self.vmtas.values() for ip in v.ips)})

    def scopes(self) -> Iterator[str]:
        """Where connections are counted and a reload may change how many there may be."""
        yield "total"
        for name, vmta in self.vmtas.items():
            yield name
            for domain in self.domains:
                yield f"{domain}/{name}"
                yield from (f"{ip}@{domain}/{name}" for ip in vmta.ips)

    def text(self, directory: str) -> str:
        """The configuration file."""
        lines = [
            "host-name mta.sender.example",
            "postmaster postmaster@sender.example",
            # A notification is mail that no submitter knows of, and the books are by submission.
            "<domain sender.example>",
            "deliver-local-dsn no",
            "</domain>",
            "sync-msg-create no",
            "sync-msg-update no",
            f"total-max-smtp-out {self.total}",
            f"ip-connection-limit 0/0 {self.host_connections or 'unlimited'}",
            f"mx-connection-limit * {self.mx_connections or 'unlimited'}",
            *_block("spool", f"{directory}/spool", []),
            *_block("acct-file", f"{directory}/acct.csv", ACCOUNTING),
            *_block("smtp-listener", ":".join(map(str, LISTENER)), []),
            *_block(
                "source", "10.1.0.1", ["always-allow-relaying yes", "process-x-virtual-mta yes"]
            ),
            *_block("smtp-pattern-list", "replies", [f"reply {one}" for one in self.patterns]),
        ]
        for name, vmta in self.vmtas.items():
            inside = [f"smtp-source-host {ip} {name}.sender.example" for ip in vmta.ips]
            if vmta.connections is not None:
                inside.append(f"max-smtp-out {vmta.connections}")
            if vmta.msg_rate is not None:
                inside.append(f"max-smtp-msg-rate {vmta.msg_rate}")
            if vmta.data_rate is not None:
                inside.append(f"max-smtp-data-volume-rate {vmta.data_rate}")
            for domain, rules in vmta.domains.items():
                inside += _block("domain", domain, rules.lines())
            lines += _block("virtual-mta", name, inside)
        for domain, rules in self.domains.items():
            lines += _block("domain", domain, rules.lines())
        return "\n".join(lines) + "\n"


def _block(section: str, name: str, lines: list[str]) -> list[str]:
    return [f"<{section} {name}>", *(f"  {line}" for line in lines), f"</{section}>"]


def _rate(rate: Rate | DataRate | None) -> str:
    return "unlimited" if rate is None else str(rate)


def _list(intervals: tuple[int, ...]) -> str:
    return ",".join(map(print_interval, intervals))
