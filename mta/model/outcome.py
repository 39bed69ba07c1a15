"""What a try came to, for a recipient and for its queue."""

import enum
from dataclasses import dataclass

from mta.model.frozen import frozen


class Stage(enum.Enum):
    """Where in a dialogue a reply was given or the connection broke."""

    RESOLVE = "resolving"
    CONNECT = "connecting"
    GREETING = "greeting"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "message content"
    RSET = "RSET"
    QUIT = "QUIT"


@frozen()
class Delivered:
    """The peer took responsibility. `status` is `x.y.z`; `diagnostic` is `smtp;250 …`."""

    status: str
    diagnostic: str


@frozen()
class Bounced:
    """Given up for good. `status_text` replaces the table's text where one is known."""

    status: str
    diagnostic: str
    status_text: str = ""


@frozen()
class Deferred:
    """To be tried again."""

    status: str
    diagnostic: str


Outcome = Delivered | Bounced | Deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a reply means for the queue, the connection and the hosts tried next.

    Everything is "no" by default; Guide: smtp-pattern-list.
    """

    mode: str = ""
    """`backoff`, `normal` or empty."""
    backoff_to_normal_after: int | None = None
    """Seconds this entry into backoff lasts; None for the queue's own directive."""
    skip_mx: bool = False
    bounce_queue: bool = False
    defer_queue: bool = False
    disable_source_ip: bool = False
    reenable_after: int | None = None
    close_connection: bool = False
    """Send nothing more on this connection."""
    pattern: str = ""
    """The `reply` line that decided, as written, with its place; empty if none did."""


NO_VERDICT = Verdict()
