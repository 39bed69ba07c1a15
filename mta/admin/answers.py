"""What admin commands answer: frozen values, complete when made.

Times are epoch seconds, sizes octets. How they look as text, dom, XML or JSON is known
to `mta.admin.render` alone. A field with a default may be left out by who cannot know it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mta.admin.job_answers import JobsAnswer
from mta.model.queue_key import QueueKey
from mta.model.refusal import Refusal

Mode = Literal["normal", "backoff"]
MODE: Final = "mode"
"""The kind of an event that changed the mode of a queue."""
Pace = Literal["ready", "retrying", "paused"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went one way."""

    recipients: int = 0
    messages: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class TrafficPeriod:
    """What went both ways in some period."""

    inbound: Traffic = Traffic()
    outbound: Traffic = Traffic()


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of one direction: now, at most since the start, and the ceiling."""

    active: int = 0
    top: int = 0
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """All queues of one delivery type together."""

    recipients: int = 0
    domains: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """`show status`. Guide: pmta show status."""

    now: float
    started: float
    host_name: str
    user_string: str = ""
    is_stopping: bool = False
    total: TrafficPeriod = TrafficPeriod()
    last_hour: TrafficPeriod = TrafficPeriod()
    top_hour: TrafficPeriod = TrafficPeriod()
    last_minute: TrafficPeriod = TrafficPeriod()
    top_minute: TrafficPeriod = TrafficPeriod()
    inbound: Connections = Connections()
    outbound: Connections = Connections()
    names_cached: int = 0
    names_pending: int = 0
    queues: Mapping[str, QueueTotals] = field(default_factory=dict)
    """By delivery type: `smtp`, `pipe`, `discard`, `file`, …; a missing type has none."""
    domains: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Those of the queues, by delivery type, where there are several workers: more than one may
    have queues of the same domain. What is merged has none."""
    spool_directories: int = 1
    spool_messages: int = 0
    spool_recipients: int = 0
    spool_recipients_max: int = 0
    """`spool-max-recipients`; 0 if unlimited."""


@dataclass(frozen=True, slots=True)
class VersionAnswer:
    """`show version`."""

    product: str
    version: str
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something a queue remembers. Guide: max-events-recorded."""

    time: float
    text: str
    kind: str = "error"


@dataclass(frozen=True, slots=True)
class RecipientEvent:
    """What became of a recipient, or of a try for it. Guide: track-recipient-events."""

    kind: Literal["delivered", "bounced", "deferred"]
    time: float
    source_ip: str
    address: str
    job_id: str
    mta: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One queue in a list."""

    key: QueueKey
    recipients: int
    octets: int = 0
    connections: int = 0
    mode: Mode = "normal"
    is_paused: bool = False
    retry_at: float | None = None
    """When a retrying queue is tried again; None while it is not retrying."""
    events: tuple[Event, ...] = ()
    """Newest first."""
    refusal: Refusal | None = None
    """Which directive keeps it from moving now, if one does."""
    recipient_events: tuple[RecipientEvent, ...] = ()
    """Newest first; none where they are not tracked, or not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuesAnswer:
    """`show queues`, `show topqueues`: some rows, and of how much they are a part."""

    rows: tuple[QueueRow, ...]
    matching: int
    """Queues that match, shown or not."""
    total_recipients: int
    total_queues: int
    """Queues with recipients, matching or not."""
    title: str = ""
    """What `show topqueues` calls itself."""
    shows_events: bool = False
    """Whether `--errors` was asked for."""
    shows_mode_events: bool = False
    """Whether `--mode-events` was asked for."""

    def shown(self, row: QueueRow) -> tuple[Event, ...]:
        """Of the events of a row, those asked for."""
        if self.shows_events:
            return row.events
        return tuple(e for e in row.events if e.kind == MODE) if self.shows_mode_events else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRow:
    """All queues of one domain together."""

    domain: str
    recipients: int
    octets: int = 0
    connections: int = 0
    events: tuple[Event, ...] = ()
    """Newest first."""


@dataclass(frozen=True, slots=True)
class DomainsAnswer:
    """`show domains`, `show topdomains`."""

    rows: tuple[DomainRow, ...]
    matching: int
    shows_events: bool = False
    """Whether `--errors` was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmtaRow:
    """All queues of one VirtualMTA together."""

    name: str
    domains: int = 0
    recipients: int = 0
    octets: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class VmtasAnswer:
    """`show vmtas`."""

    rows: tuple[VmtaRow, ...]
    matching: int
    total_recipients: int
    """Of all VirtualMTAs, shown or not: what `% of total` refers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisabledSource:
    """A source address that a queue does not use now."""

    queue: QueueKey
    ip: str
    """Empty for the address that the system chooses."""
    until: float | None = None
    """None until an operator enables it."""
    reason: str = ""
    """The reply and the line that disabled it, or that an operator did."""


@dataclass(frozen=True, slots=True)
class DisabledSourcesAnswer:
    """`show disabled sources`, by queue and address."""

    rows: tuple[DisabledSource, ...]
    matching: int


@dataclass(frozen=True, slots=True)
class Hidden:
    """A value that another, more specific one hides."""

    value: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An effective directive: value, where it was decided, what that hides."""

    directive: str
    value: str
    place: str = ""
    """`file:line`, or empty for a default."""
    hides: tuple[Hidden, ...] = ()
    """Most specific first."""
    note: str = ""
    """Such as "not in force yet"; empty for most."""


@dataclass(frozen=True, slots=True)
class SettingsAnswer:
    """`show settings QUEUE`."""

    queue: QueueKey
    vmta_settings: tuple[Setting, ...]
    queue_settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class DirectiveAnswer:
    """`explain QUEUE DIRECTIVE`: what holds, of the VirtualMTA and of the queue."""

    queue: QueueKey
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitUse:
    """A limit on the way of a queue: how much of it is used, and who set it.

    `used` and `ceiling` are texts in the directive's own form: `7`, `20`, `86`, `100/h`,
    `unlimited`.
    """

    directive: str
    scope: str
    """What the limit belongs to: `gmail.com/vmta1`, `vmta1`, `203.0.113.9`, `total`."""
    used: str
    ceiling: str
    place: str = ""
    """`file:line`, or empty for a default."""
    binds_until: float | None = None
    """When it lets something through again, if it is exhausted now and time helps."""
    is_exhausted: bool = False
    waiting: int = 0
    """Queues that stand in line for it, where it is shared."""
    here: str = ""
    """What of the ceiling may be used by the worker that says so, where several share it.
    `used` is of that worker, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirection:
    """A directive that sends mail for a queue to another, or would if it were not ignored."""

    directive: str
    value: str
    """What it says, as written."""
    place: str = ""
    """`file:line`, or empty where nothing is written."""
    targets: tuple[QueueKey, ...] = ()
    """Where it leads; several serve in turn. Empty if it is ignored or not known."""
    note: str = ""
    is_partial: bool = False
    """Whether it takes some of the mail only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """`explain QUEUE`: what rules a queue, and why it does or does not move now."""

    now: float
    queue: QueueKey
    recipients: int
    """Waiting, in flight included."""
    recipients_due: int | None = None
    """Of those, due now; None if not known without reading the spool."""
    octets: int = 0
    connections: int = 0
    in_flight: int = 0
    """Recipients in a transaction this moment."""
    mode: Mode = "normal"
    mode_since: float | None = None
    mode_until: float | None = None
    """When backoff ends by itself; None if it does not, or in normal mode."""
    mode_reason: str = ""
    """The reply, pattern with its place, or operator that decided."""
    pace: Pace = "ready"
    pace_until: float | None = None
    """When a retrying queue is tried again."""
    pace_reason: str = ""
    """Why it retries or is paused."""
    limits: tuple[LimitUse, ...] = ()
    """From the queue outwards: queue, VirtualMTA, source IP, MX host, total."""
    refusal: Refusal | None = None
    """The limit that binds now, if one does."""
    next_at: float | None = None
    """The next moment anything can happen; None if it depends on an event."""
    next_event: str = ""
    """What that moment, or the event waited for, is."""
    ways: tuple[Redirection, ...] = ()
    """Where its mail goes instead, step by step; empty if it stays."""
    hosts: tuple[str, ...] = ()
    """Destination hosts as known now, `10 mx1.example.net (192.0.2.1)`; notes after them."""
    sources: tuple[str, ...] = ()
    """Source addresses, `203.0.113.9 mta1.example.com`; disabled ones say until when."""
    signing: tuple[str, ...] = ()
    """What signs its messages (DKIM), or why nothing does."""
    events: tuple[Event, ...] = ()
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class PastTry:
    """A try for a recipient that still waits."""

    time: float
    source_ip: str
    host: str
    reply: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientExplanation:
    """One recipient of an explained message, still queued."""

    address: str
    queue: QueueKey
    attempts: int
    due: float
    last_reply: str = ""
    is_in_flight: bool = False
    why: str = ""
    """Why it waits, in one sentence; empty to have it derived from what follows."""
    tries: tuple[PastTry, ...] = ()
    """The last ones, oldest first."""
    refusal: Refusal | None = None
    """Which directive keeps it from going, if one does."""
    next_at: float | None = None
    """When it is tried at the earliest; None if that depends on an event."""
    before: int | None = None
    """Recipients of its queue that are delivered before it; None if not counted, and
    COUNTED_BEFORE_MAX for that many or more."""
    pace: str = ""
    """How fast its queue goes, and how that is known."""
    expected_at: float | None = None
    """When it is likely to go at that pace, or where not all before it are counted, the earliest
    it can be; None if that cannot be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageExplanation:
    """`explain MESSAGE`."""

    now: float
    message_id: int
    mail_from: str
    time_queued: float
    size: int
    job_id: str = ""
    env_id: str = ""
    vmta_by: str = ""
    """Which line chose the VirtualMTA, where a pattern list or a fallback did."""
    schedule: str = ""
    """When alone it may be delivered, as X-Schedule says it; empty for at any time."""
    bounce_at: float | None = None
    """When `bounce-after`, or the end of its schedule, gives the message up; None for never."""
    recipients: tuple[RecipientExplanation, ...] = ()
    """At most `EXPLAINED_RECIPIENTS_MAX`; `recipients_total` counts all."""
    recipients_total: int = 0
    queues: tuple[Explanation, ...] = ()
    """The queues of those recipients, each once."""


EXPLAINED_RECIPIENTS_MAX = 100
"""A message may have 65,536 recipients; an operator reads the first hundred."""

COUNTED_BEFORE_MAX = 10_000
"""So many are counted in a few milliseconds; who is behind a million waits long anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRecipient:
    """One line of `list`."""

    queue: QueueKey
    mail_from: str
    address: str
    message_id: int
    time_queued: float
    due: float
    attempts: int = 0
    last_reply: str = ""
    job_id: str = ""
    env_id: str = ""
    size: int = 0
    subject: str = ""
    priority: int = 50
    schedule: str = ""
    """When alone it may be delivered, as X-Schedule says it; empty for at any time."""


@dataclass(frozen=True, slots=True)
class ListAnswer:
    """`list`: recipients of a filter, by queue and due."""

    rows: tuple[ListedRecipient, ...]
    has_more: bool = False
    """Whether the limit cut the list."""
    busy_queues: int = 0
    """Queues that had recipients in flight while listing."""
    shows_priority: bool = False
    shows_schedule: bool = False
    was_to_pause: bool = False
    """Whether `--pause` was asked for, of which there is no need."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a command that changes something changed.

    `count` things of the `matching` ones; the command says what they are.
    """

    count: int
    matching: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadAnswer:
    """`reload`, done. A configuration with errors raises CommandRefusedError instead."""

    remarks: tuple[str, ...] = ()
    """Warnings and notes, `file:line: text`."""
    needs_restart: tuple[str, ...] = ()
    """Changed directives that take effect only at the next start, with their places."""


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A command that has nothing to tell but that it is done."""

    text: str


Answer = (
    StatusAnswer
    | VersionAnswer
    | QueuesAnswer
    | DomainsAnswer
    | VmtasAnswer
    | DisabledSourcesAnswer
    | JobsAnswer
    | SettingsAnswer
    | DirectiveAnswer
    | Explanation
    | MessageExplanation
    | ListAnswer
    | Changed
    | ReloadAnswer
    | CommandDone
)
