"""One outbound connection as the scheduler sees it, and the address it goes out from."""

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mta.model.message import Recipient
    from mta.queues.queue import Queue


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
        "batch", "host", "idle_until", "messages", "messages_delivered", "number", "opened_at",
        "queue", "recipients_delivered", "recipients_failed", "source", "state",
    )  # fmt: skip

    def __init__(self, queue: "Queue", number: int, source: Source, now: float) -> None:
        self.queue = queue
        self.number = number
        self.source = source
        self.opened_at = now
        self.state = State.OPENING
        self.messages = 0
        """Transactions given to it."""
        self.messages_delivered = 0
        self.recipients_delivered = 0
        self.recipients_failed = 0
        self.idle_until = 0.0
        self.host = ""
        """The name of the MX or route host it goes to, once known."""
        self.batch: list[Recipient] = []
        """Recipients in the transaction of this moment."""

    def carry(self, batch: "list[Recipient]") -> None:
        """These go in its next transaction."""
        self.state = State.BUSY
        self.batch = batch
        self.messages += 1
