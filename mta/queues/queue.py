"""One queue: its recipients, its connections, its mode and its pace.

    mode    normal ⇄ backoff        which of two sets of limits is in force
    pace    ready → retrying → ready    after a failure of the queue as a whole
            any → paused → any          by an operator, until the operator says otherwise

A retrying queue opens no connection before `retry_at`. Connections that work go on, as a
provider that refuses the eleventh connection still serves the other ten; only `defer-queue`
stops those too (`is_held`). Guide: queues, backoff mode.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Never

from mta.model.message import Recipient
from mta.model.queue_key import QueueKey
from mta.model.reply import Reply
from mta.queues import disabling, source_limits
from mta.queues.backlog import Backlog
from mta.queues.backoff import Pace, effective
from mta.queues.connection import Connection, Source, State, expand
from mta.queues.events import RECIPIENT_EVENTS_MAX, QueueEvent, RecipientEvent, kept
from mta.queues.limits import RateLimit
from mta.queues.retry import POSITION_MAX, RetryLadder
from mta.queues.tempo import Tempo
from mta.settings.domain import UNDELIVERED_TYPES
from mta.units import DataRate, Rate, print_interval

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.outcome import Verdict
    from mta.model.reply_rule import ReplyRule
    from mta.queues.budgets import VmtaBudget
    from mta.queues.departures import Departure
    from mta.queues.limits import Limit, Slots
    from mta.queues.source_limits import SourceLimits
    from mta.settings.domain import DomainSettings

NORMAL = "normal"
BACKOFF = "backoff"
SWEEP_S = 60
"""How often a queue whose mail waits looks for recipients that have become too old."""
MSG_RATE = "max-msg-rate"
DATA_RATE = "max-data-volume-rate"
CONNECT_RATE = "max-connect-rate"
NOTHING: Mapping[str, Never] = MappingProxyType({})
"""What most queues have of most things; a hundred thousand empty dictionaries are 6 MB."""
WINDOWS_MAX = 10_000
"""With more queues than that, one that failed keeps no mail in memory: 4 KB for each, and more."""
KEEP_EMPTY_S = 300
"""How long an empty queue is remembered at least, with its last errors."""


class Queue:
    """State of one queue. Changed only between awaits, by the scheduler."""

    __slots__ = (
        "_log", "_tell", "backlog", "backoff_until", "blocked_by", "blocked_until",
        "budget", "called", "connect_limit", "connections", "crowded", "crowded_last",
        "crowded_until", "data_limit", "departure", "disabled", "disabled_by",
        "empty_since", "epoch", "events", "failures", "frozen", "idle", "is_held",
        "is_paused", "is_undeliverable", "is_untried", "key", "ladder", "line", "mode",
        "mode_reason", "mode_since", "msg_limit", "octets", "oldest", "opened_at",
        "opening", "pace", "rates", "recipient_events", "recipients", "retries_for_dns", "retry_at",
        "retry_reason", "rules", "settings", "skipped", "source_limits", "sources", "stays",
        "swept_at", "tempo", "turn", "wake_at",
    )  # fmt: skip

    def __init__(
        self,
        key: QueueKey,
        budget: "VmtaBudget",
        *,
        complete: bool,
        log: Callable[[str], None] = lambda _: None,
        tell: Callable[[tuple[str, ...], str], None] = lambda _addresses, _text: None,
    ) -> None:
        self.key = key
        self._log = log
        self._tell = tell
        self.budget = budget
        self.epoch = -1
        self.settings: DomainSettings
        self.rules: tuple[ReplyRule, ...] = ()
        self.pace: Pace
        self.sources: tuple[Source, ...] = ()
        self.turn = 0
        self.backlog = Backlog(complete=complete)
        self.recipients = 0
        """All that wait, in memory or not, those in flight included."""
        self.octets = 0
        self.connections: dict[int, Connection] = {}
        self.opening = 0
        self.idle: list[Connection] = []
        self.tempo = Tempo()
        # Of most queues these limit nothing, and then they are not there.
        self.msg_limit: RateLimit | None = None
        self.data_limit: RateLimit | None = None
        self.connect_limit: RateLimit | None = None
        self.rates: tuple[RateLimit, ...] = ()
        """What a transaction has to pass of the queue and its VirtualMTA."""
        self.source_limits: Mapping[str, SourceLimits] = NOTHING
        """By source address, where the configuration limits any."""
        self.opened_at: float | None = None
        """When the last connection was decided on."""
        self.ladder = RetryLadder()
        self.failures = 0
        """In a row without a connection that came up; of before the start, what was saved."""
        self.is_untried = False
        """Whether it is of before the start, and neither mail nor a connection came since."""
        self.retry_at: float | None = None
        self.retries_for_dns = False
        self.retry_reason = ""
        self.is_held = False
        self.is_paused = False
        self.is_undeliverable = False
        """Whether its type is one that this version does not deliver."""
        self.frozen = 0
        """How many are going through the queue in the spool, such as a `delete`."""
        self.mode = NORMAL
        self.mode_since: float | None = None
        self.mode_reason = ""
        self.backoff_until: float | None = None
        self.disabled: Mapping[str, float | None] = NOTHING
        """Source addresses not used for this queue, until when (None: until told)."""
        self.disabled_by: Mapping[str, str] = NOTHING
        """The reply and the line that disabled them."""
        self.skipped: Mapping[str, float] = NOTHING
        """Hosts passed over by skip-mx, until when."""
        self.events: tuple[QueueEvent, ...] = ()
        """Newest first, of each kind at most `max-events-recorded`."""
        self.recipient_events: deque[RecipientEvent] | None = None
        """Newest first; None where none was recorded, or is to be."""
        self.blocked_by: tuple[str, str] | None = None
        """Directive and scope that refused last; None while nothing does."""
        self.blocked_until: float | None = None
        # Where it waits; the gate alone changes these.
        self.line: Limit | None = None
        """The shared limit that refused it, in whose line it stands."""
        self.stays = False
        """Whether that refused it again when it was looked at last."""
        self.crowded: dict[str, tuple[Slots, ...]] = {}
        """By source address, slots of hosts that were all taken when it came to connect."""
        self.crowded_last: Slots | None = None
        self.crowded_until: float | None = None
        self.called: list[Slots] = []
        """Slots of hosts that it was told of and has not taken yet."""
        self.swept_at = 0.0
        self.oldest = float("inf")
        """Nothing it holds was queued before that, as far as is known; 0 if nothing is."""
        self.empty_since: float | None = None
        self.wake_at = float("inf")
        self.departure: Departure | None = None
        """None where nothing can lead its mail to another queue."""

    def follow(
        self, configuration: "Configuration", epoch: int, own: frozenset[str], now: float
    ) -> None:
        """Take the settings of a (new) configuration; `own` are this host's addresses."""
        self.epoch = epoch
        self.settings = configuration.domain(self.key)
        self.is_undeliverable = self.settings.type in UNDELIVERED_TYPES
        name = self.settings.smtp_pattern_list
        self.rules = configuration.reply_rules(name) if name else ()
        vmta = configuration.vmta(self.key.vmta)
        pairs = vmta.smtp_source_host if vmta is not None else ()
        self.sources = tuple(expand(pairs, own)) or (
            Source(
                "", (vmta.host_name if vmta is not None else "") or configuration.root.host_name
            ),
        )
        self.events = kept(self.events, self.settings.max_events_recorded)
        if not self.settings.track_recipient_events:
            self.recipient_events = None
        self._set_pace(now)
        source_limits.follow(self, now)

    def _set_pace(self, now: float) -> None:
        self.pace = effective(self.settings, self.mode)
        pace = self.pace
        self.msg_limit = self._limit(self.msg_limit, MSG_RATE, pace.max_msg_rate, now)
        self.data_limit = self._limit(self.data_limit, DATA_RATE, pace.max_data_volume_rate, now)
        self.connect_limit = self._limit(
            self.connect_limit, CONNECT_RATE, pace.max_connect_rate, now
        )
        both = (self.msg_limit, self.data_limit)
        own = (limit for limit in both if limit is not None and limit.ceiling is not None)
        self.rates = (*own, *self.budget.rates)

    def _limit(
        self, limit: RateLimit | None, name: str, ceiling: Rate | DataRate | None, now: float
    ) -> RateLimit | None:
        if limit is None:
            if ceiling is None:
                return None
            limit = RateLimit(name, str(self.key), "domain", is_octets=name == DATA_RATE)
        limit.directive = self.directive(name)
        limit.resize(ceiling, now)
        return limit

    @property
    def limits(self) -> Iterator[RateLimit]:
        """Its own rates, those that limit something."""
        for limit in (self.msg_limit, self.data_limit, self.connect_limit):
            if limit is not None:
                yield limit

    def directive(self, name: str) -> str:
        """The directive that sets a limit in the present mode."""
        return f"backoff-{name}" if self.mode == BACKOFF else name

    # Mode

    def enter_backoff(self, now: float, *, after: int | None, reason: str) -> bool:
        """Slow down; `after` seconds later go back by itself (None: as the directive says).

        True if the queue was in normal mode before.
        """
        was_normal = self.mode == NORMAL
        lasts = after if after is not None else self.settings.backoff_to_normal_after
        self.backoff_until = None if lasts is None else now + lasts
        self.mode_reason = reason
        if was_normal:
            self.mode = BACKOFF
            self.mode_since = now
            self._note_mode(now, f"entered backoff mode: {reason}")
        return was_normal

    def leave_backoff(self, now: float, reason: str) -> bool:
        """Go back to normal mode. True if the queue was in backoff."""
        if self.mode == NORMAL:
            return False
        self.mode = NORMAL
        self.mode_since = now
        self.mode_reason = reason
        self.backoff_until = None
        self._note_mode(now, f"back to normal mode: {reason}")
        return True

    def _note_mode(self, now: float, text: str) -> None:
        self.note(now, text, "mode")
        self._set_pace(now)
        if self.settings.backoff_notify:
            self._tell(self.settings.backoff_notify, f"{self.key}: {text}")

    # Pace

    def fail(
        self, now: float, reason: str, *, after: int | None = None, hold: bool = False
    ) -> bool:
        """The queue as a whole could not deliver: retry later.

        `after` seconds (of `retry-after-dns-error`) instead of the next `retry-after`;
        `hold` stops connections that work, too. True if the position in the retry list moved.
        """
        self._remember(QueueEvent(now, reason))
        self.is_held = self.is_held or hold
        if self.retry_at is not None:
            return False
        self.retry_reason = reason
        if not any(one.state in (State.BUSY, State.IDLE) for one in self.connections.values()):
            self.failures = min(self.failures + 1, POSITION_MAX)
        wait = self.ladder.next(self.pace.retry_after) if after is None else after
        self.retry_at = now + wait
        self.retries_for_dns = after is not None
        self._log(f"{self.key}: {reason}; next attempt in {print_interval(wait)}")
        return after is None

    @property
    def is_on_trial(self) -> bool:
        """Whether nobody knows it to work; see `queues/trials.py`."""
        return self.failures > 0 or self.is_untried

    def works(self) -> None:
        """A connection came up."""
        self.failures = 0
        self.is_untried = False

    @property
    def retry_directive(self) -> str:
        """The directive that says how long the wait for `retry_at` is."""
        return "retry-after-dns-error" if self.retries_for_dns else self.directive("retry-after")

    def end_retry(self) -> None:
        """The wait is over, or an operator or new mail cut it short."""
        self.retry_at = None
        self.retry_reason = ""
        self.is_held = False
        self.skipped = NOTHING

    def note(self, now: float, text: str, kind: str = "error") -> None:
        """Remember and log it."""
        self._remember(QueueEvent(now, text, kind))
        self._log(f"{self.key}: {text}")

    def _remember(self, event: QueueEvent) -> None:
        self.events = kept((event, *self.events), self.settings.max_events_recorded)

    def track(self, event: RecipientEvent) -> None:
        """Remember what became of a recipient."""
        if self.recipient_events is None:
            self.recipient_events = deque(maxlen=RECIPIENT_EVENTS_MAX)
        self.recipient_events.appendleft(event)

    def note_move(self, now: float, text: str) -> None:
        """Recipients went to another queue."""
        self.note(now, text, "move")

    # Replies

    def heeds(self, reply: Reply) -> bool:
        """Whether a line of the smtp-pattern-list speaks of the reply."""
        return any(rule.pattern.search(str(reply)) for rule in self.rules)

    def heed(self, connection: Connection, verdict: "Verdict", reply: str, now: float) -> str:
        """Follow what a reply says about this queue; the reason to give for it.

        `bounce-queue` and `defer-queue` are left to the scheduler.
        """
        reason = f'"{reply}" received from {connection.host}'
        if verdict.pattern:
            reason += f" matches {verdict.pattern}"
        if verdict.mode == BACKOFF:
            self.enter_backoff(now, after=verdict.backoff_to_normal_after, reason=reason)
        elif verdict.mode == NORMAL:
            self.leave_backoff(now, reason)
        if verdict.skip_mx and connection.host:
            until = now + self.pace.retry_after[0]
            self.skipped = {**self.skipped, connection.host: until}
            self.note(now, f"skip of MX requested: {reason}")
        ip = connection.source.ip
        # What was open when an operator disabled it may hear the same of its peer, for a time.
        if verdict.disable_source_ip and self.disabled_by.get(ip) != disabling.BY_OPERATOR:
            given, usual = verdict.reenable_after, self.settings.reenable_source_ip_after
            after = usual if given is None else given
            disabling.disable(self, ip, after=after, reason=reason, now=now)
        return reason

    # Connections

    def must_close(self, connection: Connection, now: float) -> str:
        """Why a connection between two transactions has to go; empty if it may stay."""
        if self.is_paused:
            return "paused"
        if self.is_held:
            return "retrying"
        if self.frozen:
            return "bounce-queue"
        if connection.messages >= self.settings.max_msg_per_connection:
            return "max-msg-per-connection"
        if connection.messages >= connection.mails_max:
            return "the remote host takes no more over one connection (MAILMAX)"
        if connection.recipients_failed >= max(self.settings.max_errors_per_connection, 1):
            return "max-errors-per-connection"
        if connection.interrupted:
            return connection.interrupted
        if len(self.connections) > self.pace.max_smtp_out and self._too_many():
            return self.directive("max-smtp-out")
        if connection.source.ip in self.disabled:
            return "disabled source IP"
        if self.skipped and self.skipped.get(connection.host, 0) > now:
            return "skip-mx"
        return ""

    def over(self, connection: Connection) -> None:
        """The connection is no more."""
        del self.connections[connection.number]
        self.connections = self.connections or {}  # An emptied one keeps its room.

    def _too_many(self) -> bool:
        """Whether more connections are open than the limit allows, those closing aside."""
        staying = sum(c.state is not State.CLOSING for c in self.connections.values())
        return staying > self.pace.max_smtp_out

    # Sources

    def note_source(self, now: float, text: str) -> None:
        """A source address was disabled, or enabled again."""
        self.note(now, text, "source")
        if self.settings.disabled_source_ip_notify:
            self._tell(self.settings.disabled_source_ip_notify, f"{self.key}: {text}")

    def is_probing(self, now: float) -> bool:
        """Whether it tries hosts that were full a moment ago: one connection at a time."""
        return self.crowded_until is not None and self.crowded_until > now and self.opening > 0

    def next_enabled(self) -> float | None:
        """When the first disabled source address comes back by itself."""
        return min((until for until in self.disabled.values() if until is not None), default=None)

    # Age

    def expires_at(self, recipient: Recipient) -> float:
        """When `bounce-after`, or the end of its schedule, gives a recipient up."""
        return recipient.envelope.expires_at(self.settings.bounce_after)

    def counts_from(self, recipient: Recipient) -> float:
        """From when on `bounce-after` would count, if it gave the recipient up."""
        return recipient.envelope.counts_from(self.settings.bounce_after)

    @property
    def has_mail_of_known_age(self) -> bool:
        """Whether a sweep finds something, or the age of what only the spool has is known."""
        return len(self.backlog) > 0 or (self.oldest > 0 and not self.backlog.is_complete)

    def let_go(self) -> None:
        """Keep no mail in memory while the queue waits for its retry: the spool has it."""
        if self.retry_at is None or self.connections or self.frozen or self.backlog.is_reading:
            return
        if self.backlog.is_complete:
            self.oldest = self.oldest_in_memory()
        if len(self.backlog):
            self.backlog.forget()

    def may_be_too_old(self, now: float) -> bool:
        """Whether something it holds may be older than `bounce-after`."""
        return self.oldest + self.settings.bounce_after <= now

    def oldest_in_memory(self) -> float:
        """When the oldest of those in memory was queued, in flight or not."""
        held = chain(self.backlog, *(one.batch for one in self.connections.values()))
        return min(map(self.counts_from, held), default=float("inf"))

    def retry_recipient_at(self, recipient: Recipient, now: float) -> float:
        """When a deferred recipient is tried again; never later than it expires."""
        at = recipient.envelope.opens_at(now + self.settings.retry_recipients_after)
        return min(at, self.expires_at(recipient))

    # Time

    def changes_at(self, now: float, *, resting: bool) -> list[float]:
        """When something about the queue changes by itself, epoch seconds, in no order."""
        times = [at for at in (self.backoff_until, self.retry_at) if at is not None]
        if self.disabled and (enabled := self.next_enabled()) is not None:
            times.append(enabled)
        if self.idle:
            times.append(self.idle[0].idle_until)
        if self.departure is not None and self.departure.not_before > now:
            times.append(self.departure.not_before)
        if self.recipients and (resting or self.blocked_by is not None):
            sweep = self.swept_at + SWEEP_S
            # Nothing is too old before the oldest is; a hundred thousand queues may wait.
            too_old = self.oldest + self.settings.bounce_after
            times.append(max(sweep if sweep > now else now + SWEEP_S, too_old))
        if not resting and (due := self.backlog.next_due()) is not None:
            times.append(due)
        return times

    def is_sweep_due(self, now: float) -> bool:
        """Whether it is time to look for mail that grows too old where it waits."""
        waits = self.is_resting or self.blocked_by is not None
        return waits and not self.swept_at <= now < self.swept_at + SWEEP_S

    @property
    def is_forgettable(self) -> bool:
        """Whether nothing about an empty queue outlives it but what its rates remember."""
        is_asking = self.backlog.is_reading or (self.departure is not None and self.departure.holds)
        stays = self.is_paused or self.mode != NORMAL or self.disabled
        return not (stays or is_asking or self.frozen)

    @property
    def keeps_s(self) -> int:
        """How long it is remembered when empty: each of its rates holds over its whole window."""
        sources = self.source_limits.values()
        limits = [*self.limits, *(one for s in sources for one in (s.msg, s.data, s.connect))]
        windows = [limit.ceiling.per_s for limit in limits if limit.ceiling is not None]
        return max(KEEP_EMPTY_S, self.settings.smtp_out_rampup_interval, *windows)

    @property
    def is_resting(self) -> bool:
        """Whether no connection may be opened, whatever is due."""
        return (
            self.is_paused
            or self.retry_at is not None
            or self.frozen > 0
            or (self.departure is not None and self.departure.holds)
            or self.is_undeliverable
        )

    @property
    def in_flight(self) -> int:
        """Recipients in a transaction this moment."""
        return sum(len(connection.batch) for connection in self.connections.values())
