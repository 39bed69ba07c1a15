"""What every queue has to pass: its own limits, then those it shares with others.

    queue         max-smtp-out, smtp-out-rampup-interval, max-connect-rate, and its rates
    source IP     source-ip-max-*: another address of the queue is used while it has room
    VirtualMTA    max-smtp-out, max-smtp-msg-rate, max-smtp-data-volume-rate
    all           total-max-smtp-out
    host          mx-connection-limit, ip-connection-limit: known only when it connects

Each level can refuse, and then says which directive refused and until when. What is checked
is taken in the same step, so nothing is ever between a check and a take. What comes back is
offered to the line of those that wait for it (`queues/limits.py`), here and nowhere else.
"""

from typing import TYPE_CHECKING, Final

from mta.queues import trials
from mta.queues.actions import Close, Interrupt
from mta.queues.agenda import FOREVER, Agenda
from mta.queues.budgets import VmtaBudgets
from mta.queues.connection import Connection, State
from mta.queues.host_limits import HostLimits
from mta.queues.limits import Limit, RateLimit, Slots
from mta.queues.queue import Queue
from mta.queues.trials import APART_S, Trials

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mta.config.configuration import Configuration

CROWDED_S: Final = 60
"""How long a queue takes the hosts of its domain for full if no slot of theirs comes back:
by then the DNS may name others."""


class Gate:
    """The limits above the queues, and the checks of all levels in their order."""

    __slots__ = ("_agenda", "hosts", "is_lent", "short", "total", "trials", "vmtas")

    def __init__(
        self, configuration: "Configuration", agenda: Agenda, *, is_lent: bool = False
    ) -> None:
        self._agenda = agenda
        self.is_lent = is_lent
        """Whether other shards obey the same limits, and each has a lease."""
        self.short: dict[Slots | RateLimit, None] = {}
        """Where queues began to wait, for whoever asks for larger leases."""
        root = configuration.root
        self.total = Slots(
            "total-max-smtp-out", "total", root.total_max_smtp_out, "global", is_lent=is_lent
        )
        self.trials = Trials(self.total, apart_s=APART_S)
        self.vmtas = VmtaBudgets(configuration, is_lent=is_lent)
        self.hosts = HostLimits(root, is_lent=is_lent)

    def reload(self, configuration: "Configuration", now: float) -> None:
        """Follow a new configuration: a ceiling that rises is offered to those that wait."""
        self.total.follow(configuration.root.total_max_smtp_out)
        self.hosts.reload(configuration.root)
        self.offer((self.total, *self.hosts), now)
        for budget in self.vmtas.reload(configuration, now):
            self.offer(budget.limits, now)

    # What may be attempted

    def permitted(self, connection: Connection, size: int, now: float) -> int:
        """How many recipients of a message may be tried now; 0 with the refusal noted."""
        queue = connection.queue
        most = min(queue.settings.max_rcpt_per_message, connection.rcpts_max)
        errors_left = queue.settings.max_errors_per_connection - connection.recipients_failed
        if errors_left < most:
            most = max(errors_left, 1)
        for limit in queue.rates:
            line = limit.line
            if line is not None and not connection.has_ticket and not line.lets(queue):
                self.refuse(queue, limit, None, now, size)
                return 0
            permitted = limit.permits(size, now)
            if permitted <= 0:
                self.refuse(queue, limit, limit.until(size, now), now, size)
                return 0
            most = min(most, permitted)
        if connection.limits is not None:
            for limit in connection.limits.rates:
                permitted = limit.permits(size, now)
                if permitted <= 0:
                    self.refuse(queue, limit, limit.until(size, now), now, size)
                    return 0
                most = min(most, permitted)
        return most

    def charge(self, connection: Connection, recipients: int, size: int, now: float) -> None:
        """A transaction begins; `permitted` allowed it this moment."""
        queue = connection.queue
        limits = queue.rates
        if connection.limits is not None:
            limits += connection.limits.rates
        connection.has_ticket = False
        if not limits:
            return
        for limit in limits:
            if limit.is_octets:
                limit.rate.reserve(size)
            else:
                limit.rate.take(recipients, now)
        connection.reserved = tuple(limit for limit in limits if limit.is_octets)
        connection.reserved_octets = size
        if queue.line in limits:
            self._leave(queue, now)

    def settle(self, connection: Connection, now: float, *, delivered: bool) -> None:
        """A transaction is over: its octets count from now, or are given back."""
        limits, connection.reserved = connection.reserved, ()
        for limit in limits:
            limit.rate.settle(connection.reserved_octets, now, is_used=delivered)
        if limits:
            self._agenda.touch(connection.queue)
            self.offer(limits, now)

    def refuse(
        self, queue: Queue, limit: Limit, until: float | None, now: float, amount: int = 1
    ) -> None:
        """Note why the queue does not move; it waits for that time, or its turn in the line."""
        queue.blocked_by = (limit.directive, limit.scope)
        queue.blocked_until = until
        if limit.line is None:
            if until is not None:
                self._agenda.wake_at(queue, until)
            return
        if queue.line is not limit:
            self._leave(queue, now)
        queue.line = limit
        queue.stays = True
        wanted = amount if isinstance(limit, RateLimit) and limit.is_octets else 1
        limit.line.join(queue, wanted)
        if limit.part.is_lent:
            self.short[limit.slots if isinstance(limit, Trials) else limit] = None
        if until is not None:
            self._agenda.wake_at(limit.line, until)

    def refuse_by(self, queue: Queue, directive: str, until: float | None) -> None:
        """As `refuse`, for what is of this queue alone and no limit that counts."""
        queue.blocked_by = (directive, str(queue.key))
        queue.blocked_until = until
        if until is not None:
            self._agenda.wake_at(queue, until)

    # Connections

    def open(
        self, queue: Queue, number: int, size: int, wanted: int, now: float
    ) -> Connection | None:
        """One connection more, all it needs taken; or None, with the refusal noted.

        It is for a message of that size; `wanted` is how many the queue could use.
        """
        if not self._queue_allows(queue, size, now):
            return None
        turn = self._source(queue, size, now)
        if turn is None:
            return None
        for slots in (queue.budget.slots, self.total):
            if slots.is_exhausted or not slots.line.lets(queue):
                self.refuse(queue, slots, None, now)
                if slots.is_exhausted:
                    self._make_room(slots, queue, wanted)
                return None
        queue.turn = turn + 1
        source = queue.sources[turn % len(queue.sources)]
        limits = queue.source_limits.get(source.ip) if queue.source_limits else None
        connection = Connection(queue, number, source, now, limits)
        self._take(connection, size, now)
        return connection

    def _queue_allows(self, queue: Queue, size: int, now: float) -> bool:
        if len(queue.connections) >= queue.pace.max_smtp_out:
            self.refuse_by(queue, queue.directive("max-smtp-out"), None)
            return False
        for limit in queue.rates:
            if limit.line is not None and not limit.line.lets(queue):
                self.refuse(queue, limit, None, now, size)
                return False
            if not limit.permits_opening(size, queue.opening, now):
                self.refuse(queue, limit, limit.until(size, now), now, size)
                return False
        connects = queue.connect_limit
        if connects is not None and connects.rate.available(now) <= 0:
            self.refuse(queue, connects, connects.rate.until(now), now)
            return False
        interval = queue.settings.smtp_out_rampup_interval
        if interval and queue.opened_at is not None and queue.opened_at + interval > now:
            self.refuse_by(queue, "smtp-out-rampup-interval", queue.opened_at + interval)
            return False
        return True

    def _source(self, queue: Queue, size: int, now: float) -> int | None:
        """Whose turn it is of the addresses that have room; None, with the refusal noted.

        That is the refusal of the address that will have room first.
        """
        nearest: tuple[float, Limit] | None = None
        count = len(queue.sources)
        for step in range(count):
            source = queue.sources[(queue.turn + step) % count]
            if source.ip in queue.disabled:
                continue
            full: Limit | None = None
            until: float | None = None
            if source.ip in queue.crowded:
                full = queue.crowded[source.ip][0]
            elif source.ip in queue.source_limits:
                full, until = queue.source_limits[source.ip].refusal(size, now) or (None, None)
            if full is None and queue.is_probing(now):
                full = queue.crowded_last
            if full is None:
                return queue.turn + step
            at = FOREVER if until is None else until
            if nearest is None or at < nearest[0]:
                nearest = (at, full)
        if nearest is None:
            self.refuse_by(queue, "disable-source-ip", queue.next_enabled())
        else:
            at, limit = nearest
            queue.blocked_by = (limit.directive, limit.scope)
            queue.blocked_until = None if at == FOREVER else at
            times = [at, queue.next_enabled() or FOREVER]
            if queue.crowded_until is not None and queue.crowded_until > now:
                times.append(queue.crowded_until)
            if min(times) != FOREVER:
                self._agenda.wake_at(queue, min(times))
        return None

    def _take(self, connection: Connection, size: int, now: float) -> None:
        queue = connection.queue
        budget = queue.budget
        slots = [budget.slots, self.total]
        pending = []
        if queue.connect_limit is not None and queue.connect_limit.ceiling is not None:
            pending.append(queue.connect_limit.rate)
        if connection.limits is not None:
            slots.append(connection.limits.slots)
            connection.limits.opening += 1
            if connection.limits.connect.ceiling is not None:
                pending.append(connection.limits.connect.rate)
        for rate in pending:
            rate.reserve(1)
        connection.pending = tuple(pending)
        connection.slots = tuple(slots)
        for one in slots:
            one.take(connection)
        for limit in budget.rates:
            assert limit.expected is not None
            limit.expected.add(connection, size)
        queue.opening += 1
        queue.opened_at = now
        queue.connections[connection.number] = connection
        self._leave(queue, now)  # It got what it stood there for; for more, it stands at the end.

    def opened(self, connection: Connection, now: float) -> None:
        """The connection is up; it asks for its first batch next."""
        self._connects(connection, now)
        self._end_opening(connection, now)

    def _end_opening(self, connection: Connection, now: float) -> None:
        queue = connection.queue
        queue.opening -= 1
        if connection.limits is not None:
            connection.limits.opening -= 1
        for limit in (queue.budget.msg, queue.budget.data):
            assert limit.expected is not None
            if limit.expected.remove(connection):
                connection.has_ticket = True
        if queue.called and not queue.opening:
            self._answer_call(queue, now)
        if queue.crowded_until is not None:
            self._agenda.touch(queue)
        self.offer(queue.budget.rates, now)

    def release(self, connection: Connection, now: float) -> None:
        """The connection is over: all it held comes back."""
        queue = connection.queue
        if connection.state is State.OPENING:
            self._end_opening(connection, now)
        elif connection.state is State.IDLE:
            queue.idle.remove(connection)
        connection.state = State.CLOSING
        for rate in connection.pending:
            rate.settle(1, now, is_used=False)
        connection.pending = ()
        self.settle(connection, now, delivered=False)
        held, connection.slots = connection.slots + connection.host_slots, ()
        connection.host_slots = ()
        for slots in held:
            slots.release(connection)
        queue.over(connection)
        self._agenda.touch(queue)
        self.offer(held, now)
        for slots in held:
            if slots.is_host:
                self.hosts.forget(slots)

    # Hosts

    def connecting(self, connection: Connection, mx: str, ip: str, now: float) -> bool:
        """Take the slots of the host that is tried next; False if there is none free.

        Those of the host tried before come back.
        """
        if connection.host_slots:
            before, connection.host_slots = connection.host_slots, ()
            for slots in before:
                slots.release(connection)
            self.offer(before, now)
            for slots in before:
                self.hosts.forget(slots)
        if not self.hosts.is_empty:
            needed = self.hosts.of(mx, ip, connection.source.ip)
            for slots in needed:
                if not slots.has_room(connection.queue):
                    connection.crowded_by.append(slots)
                    self._make_room(slots, connection.queue, 1)
                    return False
            for slots in needed:
                slots.take(connection)
                slots.called.pop(connection.queue, None)
            connection.host_slots = tuple(needed)
        self._connects(connection, now)
        return True

    def _connects(self, connection: Connection, now: float) -> None:
        if connection.pending:
            for rate in connection.pending:
                rate.settle(1, now, is_used=True)
            connection.pending = ()
            self._agenda.touch(connection.queue)

    def crowd(self, connection: Connection, now: float) -> None:
        """Every host was full: the queue waits for a slot of any of them."""
        queue = connection.queue
        # Another connection from the address may have met other hosts: it waits for those, too.
        met = (*queue.crowded.get(connection.source.ip, ()), *connection.crowded_by)
        full = queue.crowded[connection.source.ip] = tuple(dict.fromkeys(met))
        queue.crowded_last = connection.crowded_by[0]
        queue.crowded_until = now + CROWDED_S
        for slots in full:
            slots.line.join(queue)
            if slots.part.is_lent:
                self.short[slots] = None
        self.offer(full, now)

    def uncrowd(self, queue: Queue) -> None:
        """Take the hosts of the queue for free again."""
        for full in queue.crowded.values():
            for slots in full:
                slots.line.leave(queue)
                self.hosts.forget(slots)
        queue.crowded.clear()

    def _answer_call(self, queue: Queue, now: float) -> None:
        """The queue was told of free hosts, and has taken what it wanted."""
        called, queue.called = queue.called, []
        for slots in called:
            slots.called.pop(queue, None)
        self.offer(called, now)
        for slots in called:
            self.hosts.forget(slots)

    # Lines

    def offer(self, limits: "Iterable[Limit]", now: float) -> None:
        """Wake the first of each line for which there is something."""
        for limit in limits:
            if isinstance(limit, Slots) and limit.trials is not None:
                self.offer((limit.trials,), now)
            line = limit.line
            if line is None or not line.places:
                continue
            at = limit.frees_at(now)
            if at is None:
                continue
            if at > now:
                self._agenda.wake_at(line, at)
                continue
            first = line.first()
            assert first is not None
            if isinstance(limit, Slots) and limit.is_host:
                self._call(first, limit)
            self._agenda.touch(first)

    def _call(self, queue: Queue, slots: Slots) -> None:
        slots.called[queue] = None  # First, or the slots would be forgotten as nobody's.
        self.uncrowd(queue)
        if slots not in queue.called:
            queue.called.append(slots)

    def decided(self, queue: Queue, now: float) -> None:
        """The queue was looked at: where it waits no longer, others have their turn."""
        if queue.line is not None and not queue.stays:
            self._leave(queue, now)
        trials.end_turns(self, queue, now)
        if queue.called and not queue.opening:
            self._answer_call(queue, now)
        for limit in (*queue.budget.limits, self.total):
            if limit.line is not None and limit.line.places and limit is not queue.line:
                self.offer((limit,), now)

    def _leave(self, queue: Queue, now: float) -> None:
        """Stand in no line any more, so that others have their turn."""
        limit, queue.line = queue.line, None
        if limit is not None:
            assert limit.line is not None
            limit.line.leave(queue)
            self.offer((limit,), now)

    def forget(self, queue: Queue, now: float) -> None:
        """The queue is no more."""
        self.uncrowd(queue)
        self._leave(queue, now)
        trials.end_turns(self, queue, now, is_gone=True)
        self._answer_call(queue, now)

    # Connections that have to go

    def is_wanted(self, connection: Connection) -> bool:
        """Whether a queue, or another worker, waits for a slot that the connection holds."""
        return any(s.line.places or (self.is_lent and s.is_over) for s in connection.held)

    def idle(self, connection: Connection) -> None:
        """The connection has nothing to do, and keeps its slots until another wants them."""
        connection.state = State.IDLE
        connection.queue.idle.append(connection)
        for slots in connection.held:
            slots.idle[connection] = None

    def unidle(self, connection: Connection) -> None:
        """The connection is idle no longer."""
        connection.queue.idle.remove(connection)
        for slots in connection.held:
            del slots.idle[connection]

    def close_idle(self, connection: Connection, reason: str) -> None:
        """Have an idle connection closed."""
        self.unidle(connection)
        connection.state = State.CLOSING
        self.going(connection)
        self._agenda.do(Close(connection, reason))

    # Leases

    @property
    def lent(self) -> "Iterator[Slots | RateLimit]":
        """Every limit that limits anything and that other shards obey, too."""
        if not self.is_lent:
            return
        if self.total.is_limited:
            yield self.total
        for budget in self.vmtas:
            yield from (limit for limit in budget.limits if limit.is_limited)
        yield from (slots for slots in self.hosts if slots.is_limited)

    def obey(self, limit: Slots | RateLimit, amount: int, now: float) -> None:
        """Follow a new lease: more is offered to who waits, less takes what is idle."""
        limit.obey(amount, now)
        if isinstance(limit, Slots):
            while limit.is_over and limit.idle:
                self.close_idle(next(iter(limit.idle)), f"{limit.directive}: another worker waits")
        self.offer((limit,), now)

    def surplus(self, connection: Connection) -> str:
        """Why a connection has to go after a transaction; empty if it may stay."""
        # Not before: where a greeting takes longer than a turn, nothing would ever be delivered.
        for slots in connection.held:
            if slots.is_over and connection.messages:
                return f"{slots.directive}: another worker waits"
        return ""

    def going(self, connection: Connection) -> None:
        """The connection is about to end: nobody need give way for its slots."""
        if not connection.is_going:
            connection.is_going = True
            for slots in connection.held:
                slots.going(connection)

    def _make_room(self, slots: Slots, queue: Queue, wanted: int) -> None:
        """End connections that the queue has precedence over, as many as it can use."""
        while slots.coming < wanted:
            connection = slots.spare(queue.settings.queue_priority)
            if connection is None:
                return
            if connection.state is State.IDLE:
                self.close_idle(connection, f"{slots.directive}: another queue waits")
                continue
            self.going(connection)
            connection.interrupted = f"queue-priority: {queue.key} needs its slot"
            settings = connection.queue.settings
            is_free = connection.state is State.OPENING
            if is_free or settings.allow_priority_interruption_during_transfer:
                self._agenda.do(Interrupt(connection))
