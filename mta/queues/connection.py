"""One outbound connection as the scheduler sees it, and the address it goes out from."""

import enum
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from mta.units import UNLIMITED

if TYPE_CHECKING:
    from mta.model.message import Recipient
    from mta.queues.limits import RateLimit, Slots
    from mta.queues.queue import Queue
    from mta.queues.rates import RollingRate
    from mta.queues.source_limits import SourceLimits


class Source(NamedTuple):
    """A local address to send from, and the EHLO name that goes with it.

    An empty `ip` leaves the choice of the address to the system.
    """

    ip: str
    helo: str


class State(enum.Enum):
    """Where a connection is in its life."""

    OPENING = "opening"
    IDLE = "idle"
    BUSY = "busy"
    CLOSING = "closing"


class Connection:
    """One outbound connection, from the decision to open it until its slot is back."""

    __slots__ = (
        "batch", "crowded_by", "has_ticket", "host", "host_slots", "idle_until", "interrupted",
        "is_going", "limits", "mails_max", "messages", "messages_delivered", "number", "opened_at",
        "pending", "priority", "queue", "rcpts_max", "recipients_delivered", "recipients_failed",
        "reserved", "reserved_octets", "slots", "source", "state",
    )  # fmt: skip

    def __init__(
        self,
        queue: "Queue",
        number: int,
        source: Source,
        now: float,
        limits: "SourceLimits | None" = None,
    ) -> None:
        self.queue = queue
        self.number = number
        self.source = source
        self.limits = limits
        """What its source address may do for its queue; None if that is not limited."""
        self.opened_at = now
        self.state = State.OPENING
        self.messages = 0
        """Transactions given to it."""
        self.messages_delivered = 0
        self.recipients_delivered = 0
        self.recipients_failed = 0
        self.mails_max = UNLIMITED
        """Messages that its host takes over one connection, as that says (RFC 9422)."""
        self.rcpts_max = UNLIMITED
        """Recipients of one message, likewise."""
        self.idle_until = 0.0
        self.host = ""
        """The name of the MX or route host it goes to, once known."""
        self.batch: list[Recipient] = []
        """Recipients in the transaction of this moment."""
        # What it holds of the limits; the gate alone changes these.
        self.priority = queue.settings.queue_priority
        self.slots: tuple[Slots, ...] = ()
        self.host_slots: tuple[Slots, ...] = ()
        self.crowded_by: list[Slots] = []
        """Slots of hosts that were taken when it came to connect."""
        self.pending: tuple[RollingRate, ...] = ()
        """Connect rates that count as soon as it really connects."""
        self.reserved: tuple[RateLimit, ...] = ()
        """Where the octets of its transaction are reserved."""
        self.reserved_octets = 0
        self.has_ticket = False
        """Whether its first batch was counted when it was opened: it need not stand in line."""
        self.is_going = False
        """Whether it is about to end, so that its slots come back."""
        self.interrupted = ""
        """Why it has to end for a queue of higher priority, if it has to."""

    @property
    def held(self) -> "tuple[Slots, ...]":
        """All slots it has."""
        return self.slots + self.host_slots

    def heed(self, mails_max: int, rcpts_max: int) -> None:
        """What the host it goes to now says it takes: it has had nothing yet."""
        had = self.messages - bool(self.batch)
        self.mails_max = min(had + mails_max, UNLIMITED)
        self.rcpts_max = rcpts_max

    def carry(self, batch: "list[Recipient]") -> None:
        """These go in its next transaction."""
        self.state = State.BUSY
        self.batch = batch
        self.messages += 1


def expand(pairs: tuple[tuple[str, str], ...], own: frozenset[str]) -> list[Source]:
    """The addresses of smtp-source-host lines; a CIDR means those of it this host owns."""
    sources: list[Source] = []
    for text, helo in pairs:
        if "/" not in text:
            sources.append(Source(text, helo))
            continue
        network = ip_network(text, strict=False)
        inside = sorted(address for ip in own if (address := ip_address(ip)) in network)
        # Guide: smtp-source-host. 127.0.0.1 is skipped when a CIDR matches it.
        sources += [Source(str(address), helo) for address in inside if str(address) != "127.0.0.1"]
    return sources
