"""What a running daemon can be asked and told: the seam between admin and daemon.

One implementation stands in the daemon; another may ask several shards and merge what
they say (`mta.admin.merge`). Reads take their snapshot in one synchronous step and are
bounded by what the query says. Whatever cannot be done raises CommandRefusedError.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from mta.admin.answers import (
    Changed,
    DisabledSourcesAnswer,
    DomainsAnswer,
    Explanation,
    ListAnswer,
    MessageExplanation,
    Mode,
    QueuesAnswer,
    ReloadAnswer,
    SettingsAnswer,
    StatusAnswer,
    VmtasAnswer,
)
from mta.admin.job_answers import JobsAnswer
from mta.admin.pattern import QueuePattern
from mta.errors import PetrelError
from mta.model.queue_key import QueueKey

Sort = Literal["name", "rcpt", "size"]


class CommandRefusedError(PetrelError):
    """A command that is not carried out. The text says why and what to do; may have lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueQuery:
    """Which queues to show, in which order, how many."""

    pattern: QueuePattern
    sort: Sort = "rcpt"
    """`name` ascending; `rcpt` and `size` descending, then by name."""
    max_items: int = 20
    connected: bool | None = None
    """Only queues with (without) open connections."""
    paused: bool | None = None
    mode: Mode | None = None
    errors: bool = False
    """Whether rows carry all their events; without, the newest is enough."""
    recipient_events: bool = False
    """Whether rows carry what became of their last recipients."""
    mode_events: bool = False
    """Whether rows carry all their events of the mode, besides the newest."""


DomainSum = tuple[str, int, int, int]
"""A domain, its recipients, octets and connections. A plain tuple: 100,000 of them cross from
process to process in the time of 10,000 rows."""


def domain_order(sort: Sort) -> Callable[[DomainSum], tuple[int, str]]:
    """The key to sort sums by: the most first, then by name."""
    match sort:
        case "name":
            return lambda one: (0, one[0])
        case "rcpt":
            return lambda one: (-one[1], one[0])
        case "size":
            return lambda one: (-one[2], one[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainQuery:
    """Which domains to show. `domain` may hold wildcards; empty is all, as is `vmta`."""

    domain: str = ""
    vmta: str = ""
    sort: Sort = "rcpt"
    max_items: int = 20
    connected: bool | None = None
    errors: bool = False
    names: frozenset[str] | None = None
    """Only domains of exactly these names, if given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientFilter:
    """Which queued recipients. All given conditions must hold; texts may hold wildcards."""

    queue: QueuePattern | None = None
    mail_from: str = ""
    """`<>` is the null sender; empty is any."""
    address: str = ""
    job_id: str = ""
    env_id: str = ""
    older_than: int | None = None
    """Seconds since the message was queued, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceQuery:
    """Which connections to follow, and what to tell of them."""

    pattern: QueuePattern
    source_ip: str = ""
    """Only those from this address, as it prints; empty is any."""
    data: bool = False
    """Every octet, too."""
    resolution: bool = False
    """Each host found, too; that none was found is told in any case."""
    to_log: bool = False
    """Whether the log has what is told, too."""

    def __str__(self) -> str:
        return f"{self.pattern} from {self.source_ip}" if self.source_ip else str(self.pattern)


class Operations(Protocol):
    """Everything the admin commands can do."""

    async def status(self) -> StatusAnswer: ...

    async def queues(self, query: QueueQuery) -> QueuesAnswer: ...

    async def domains(self, query: DomainQuery) -> DomainsAnswer: ...

    async def domain_sums(self, *, domain: str, vmta: str) -> list[DomainSum]:
        """Of all those domains: unsorted, uncut, to be added to what other shards have."""

    async def vmtas(self, *, sort: Sort, max_items: int | None) -> VmtasAnswer:
        """None for all there are."""

    async def jobs(self, *, sort: Sort, max_items: int) -> JobsAnswer: ...

    async def disabled_sources(
        self, pattern: QueuePattern, *, max_items: int
    ) -> DisabledSourcesAnswer: ...

    async def settings(self, queue: QueueKey) -> SettingsAnswer:
        """Of any queue, also one that has no recipients; unknown VMTA: CommandRefusedError."""

    async def explain_queue(self, queue: QueueKey) -> Explanation:
        """Of any queue, also one that has no recipients; unknown VMTA: CommandRefusedError."""

    async def explain_message(self, message_id: int) -> MessageExplanation:
        """CommandRefusedError if none of its recipients is queued any more."""

    async def pause(self, pattern: QueuePattern, *, paused: bool) -> Changed:
        """Pause or resume queues, and keep that over restarts.

        An exact pattern applies to a queue that has no recipients yet. Counts queues.
        """

    async def set_mode(self, pattern: QueuePattern, mode: Mode) -> Changed: ...

    async def disable_source(self, pattern: QueuePattern, ip: str, *, after: int | None) -> Changed:
        """Have queues use a source address no more, for so many seconds or until it is enabled.

        Counts queues; those match that send from it. Not kept over restarts.
        """

    async def enable_source(self, pattern: QueuePattern, ip: str) -> Changed: ...

    async def schedule(self, pattern: QueuePattern, *, recipients: bool) -> Changed:
        """Try retrying queues now; with `recipients`, their deferred recipients too."""

    async def delete(self, recipients: RecipientFilter, *, dsn: bool, accounting: bool) -> Changed:
        """Bounce queued recipients by an operator's order. Counts recipients.

        `dsn` sends bounce messages; `accounting` writes their `b` records.
        """

    async def set_priority(self, recipients: RecipientFilter, priority: int) -> Changed:
        """Give queued recipients another priority. Counts recipients that had not got it."""

    async def list_recipients(self, recipients: RecipientFilter, *, limit: int) -> ListAnswer: ...

    async def reload(self) -> ReloadAnswer:
        """Read the configuration again; with errors, CommandRefusedError names them all."""

    async def rotate(self, what: Literal["acct", "log"], file: str = "") -> None:
        """Begin new accounting files (only `file`, if given) or a new log file."""

    async def clear_dns_cache(self, domain: str) -> None:
        """Forget what is known of a domain, or of all for `*`."""

    async def reset_counters(self) -> None: ...

    async def stop(self) -> None:
        """Begin a clean stop; returns at once."""

    def trace(self, query: TraceQuery) -> AsyncIterator[str]:
        """Lines of the connections matching queues open from now on, until closed.

        What is not taken in time is dropped and counted in a line of its own; a trace
        never slows delivery.
        """
