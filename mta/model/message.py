"""A message in the spool: its envelope, its recipients, its content."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mta.model.frozen import frozen
from mta.model.queue_key import QueueKey
from mta.model.return_path import verp

PRIORITY: Final = 50
"""What a recipient has unless somebody says otherwise."""
LOCAL: Final = "local"
"""The source type of mail that the daemon makes itself."""

Window = tuple[int, int]
"""From when to when, epoch seconds; the end is outside."""


@frozen(kw_only=True)
class Envelope:
    """What is known of a message besides its content and recipients; never changes.

    Times are epoch seconds, sizes octets. Strings hold no CR, LF or NUL.
    """

    message_id: int
    mail_from: str
    """The envelope sender; empty for the null sender."""
    time_queued: float
    size: int
    """Octets of the stored content."""
    head_size: int
    """Octets of the header block at the start of the content, with its empty line."""
    has_leading_dot: bool = False
    """Whether a line of the content begins with a dot, so that sending must stuff it."""
    is_8bit: bool = False
    is_smtputf8: bool = False
    """Whether the submitter said SMTPUTF8: header fields may hold UTF-8 (RFC 6531)."""
    requires_tls: bool = False
    """REQUIRETLS (RFC 8689): it goes only where that is promised on, over verified TLS."""
    ret: str = ""
    """`FULL`, `HDRS` or empty (RFC 3461)."""
    suppresses_dsn: bool = False
    """Whether nobody is told what becomes of it: `suppress-local-dsn` of the source."""
    dsn_return: str = ""
    """`dsn-return-default` of the source: how much of it goes back where RET does not say."""
    env_id: str = ""
    """ENVID, decoded from xtext."""
    job_id: str = ""
    source_type: str = "smtp"
    source_helo: str = ""
    source_ip: str = ""
    """The client's address; empty if the message did not come over a network."""
    listener_ip: str = ""
    """The address the client connected to."""
    smtp_user: str = ""
    """The authenticated user, or empty."""
    with_protocol: str = "ESMTP"
    """The `with` clause of our Received field (RFC 3848): ESMTP, ESMTPS, ESMTPA, …"""
    hide_source: bool = False
    """`hide-message-source` of the source: keep the client out of our Received field."""
    add_received: bool = True
    """`add-received-header` of the source."""
    remove_fields: tuple[str, ...] = ()
    """Names, lower case, of header fields of the content that are not sent on: those that
    were instructions to us, and what the source says to remove."""
    dkim_options: str = ""
    """What an X-DKIM-Options field asks, where the source may ask."""
    has_dkim_key: bool = False
    """Whether the content has an X-DKIM-Key field to sign with. The key stays there."""
    added_fields: str = ""
    """Header fields of ours that were decided at reception, each with its line end."""
    adds_date: bool = False
    """Whether a Date field of the moment of delivery is added."""
    shows_vmta: bool = False
    """Whether an X-Virtual-MTA field with the name of the VirtualMTA is added."""
    from_domains: dict[str, str] = field(default_factory=dict)
    """What domains of the From field become, by the domain in lower case."""
    is_verp: bool = False
    """Whether each recipient has a sender of its own, which names the recipient."""
    vmta_by: str = ""
    """Which line chose the VirtualMTA, where a pattern list or a fallback did."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why recipients bounce that were accepted nevertheless, by address."""
    acct_headers: dict[str, str] = field(default_factory=dict)
    """Header values that accounting files ask for, by lower-case name."""
    windows: tuple[Window, ...] = ()
    """When alone it may be delivered, in order; empty for at any time (X-Schedule)."""

    def opens_at(self, at: float) -> float:
        """From when on, not before a time, it may be delivered; infinity if never again."""
        if not self.windows:
            return at
        return next((max(at, start) for start, end in self.windows if at < end), float("inf"))

    def expires_at(self, bounce_after: int) -> float:
        """When it is given up: that long after it came, or when its last window ends."""
        return self.windows[-1][1] if self.windows else self.time_queued + bounce_after

    def counts_from(self, bounce_after: int) -> float:
        """From when on `bounce-after` would count, if it gave the message up."""
        return self.windows[-1][1] - bounce_after if self.windows else self.time_queued

    @property
    def due(self) -> float:
        """When it is to be tried first, or given up untried."""
        if not self.windows:
            return self.time_queued
        return min(self.opens_at(self.time_queued), self.windows[-1][1])


@dataclass(slots=True, eq=False)
class Recipient:
    """One recipient of one message, as a queue holds it. `due` and `attempts` change."""

    recipient_id: int
    envelope: Envelope
    address: str
    """As the client wrote it."""
    queue: QueueKey
    due: float
    """Not to be tried before this time, epoch seconds."""
    pool: str = ""
    """The pool that gave the VMTA, or empty."""
    orcpt: str = ""
    """ORCPT as `type;address`, decoded from xtext, or empty (RFC 3461)."""
    notify: str = ""
    """NOTIFY as given, upper case, or empty (RFC 3461)."""
    priority: int = PRIORITY
    """0 to 100; of the recipients of a queue that are due, the highest goes first."""
    attempts: int = 0
    last_reply: str = ""
    """What the last failed try was answered, for people."""

    @property
    def return_path(self) -> str:
        """The sender that says to whom it went, where VERP makes one, else the message's."""
        envelope = self.envelope
        if envelope.is_verp and envelope.mail_from:
            return verp(envelope.mail_from, self.address)
        return envelope.mail_from


@dataclass(frozen=True, slots=True)
class FileContent:
    """Content too large for memory: a file of `size` octets that must not change."""

    path: Path
    size: int
    crc: int | None = None
    """CRC-32 of what was written, to be compared with what is read; None if nobody knows."""


Content = bytes | FileContent
"""Canonical message content: lines end in CRLF, no bare CR or LF, no NUL, ends in CRLF,
not dot-stuffed. Small ones are bytes, large ones a file."""
