"""At rest nothing sleeps that could work: due mail waits for a named reason that is true.

Looked at whenever nothing is ready and the clock is about to jump. A reason is checked
against what the wire has seen, not against the counters that gave it.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from mta import clock
from mta.queues.trials import TRIAL
from mta.sim.findings import Findings
from mta.sim.wire import LATE_S, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mta.daemon.shard import Shard
    from mta.queues.queue import Queue
    from mta.units import DataRate, Rate

_R = TypeVar("_R", "Rate", "DataRate")

UNCHECKED: Final = frozenset(
    {
        "max-connect-rate",
        "source-ip-max-smtp-out",
        "source-ip-max-msg-rate",
        "source-ip-max-connect-rate",
        "ip-connection-limit",
        "mx-connection-limit",
        "source-ip-max-data-volume-rate",
        "smtp-out-rampup-interval",
    }
)
"""Reasons taken at their word; that the limit itself holds is checked on the wire."""


class Rest:
    """Looks at a shard, and keeps count of the reasons."""

    def __init__(self, findings: Findings, now: Callable[[], float], wire: Wire) -> None:
        self.waits_ms: Counter[str] = Counter()
        """By queue and directive, how long due mail waited."""
        self._findings = findings
        self._now = now
        self._wire = wire
        self._since = 0.0
        self._waiting: list[str] = []
        self._shard: Shard

    def look(self, shard: "Shard") -> None:
        """All is at rest now."""
        now = self._now()
        for waiting in self._waiting:
            self.waits_ms[waiting] += int((now - self._since) * 1000)
        self._since = now
        self._waiting = []
        self._shard = shard
        self._check_slots()
        if shard.is_stopping:
            return
        wall = clock.now()
        for queue in shard.scheduler.queues.values():
            due = [r for r in queue.backlog if r.due <= wall - LATE_S]
            if not due:
                continue
            reason = self._reason(queue, wall)
            if reason:
                self._waiting.append(f"{queue.key} {reason}")
            elif queue.opening < len({r.envelope.message_id for r in due}):
                self._findings.add(
                    now,
                    f"{queue.key} sleeps with {len(due)} recipients due: {queue.blocked_by} "
                    f"until {queue.blocked_until}, {len(queue.connections)} connections, "
                    f"{queue.opening} being opened",
                )

    def _reason(self, queue: "Queue", wall: float) -> str:
        """The name of what the queue waits for, if that is true."""
        if queue.is_paused:
            return "paused"
        if queue.frozen:
            return "bounce-queue"
        if queue.retry_at is not None:
            return queue.retry_directive if queue.retry_at > wall - LATE_S else ""
        if queue.blocked_by is None:
            return self._unspoken(queue)
        directive, scope = queue.blocked_by
        is_over = queue.blocked_until is not None and queue.blocked_until <= wall - LATE_S
        # In a line the time is that of when it was refused: others may have come before it since.
        is_over = is_over and queue.line is None
        if is_over or not self._is_true(queue, directive, scope):
            return self._unspoken(queue)
        return directive

    def _unspoken(self, queue: "Queue") -> str:
        """Connections being opened will use what a rate has left, or had when it was looked at."""
        if not queue.opening:
            return ""
        return next((directive for directive, _, _ in self._rates(queue)), "")

    def _rates(self, queue: "Queue") -> "Iterator[tuple[str, str, Rate]]":
        own = self._wire.pace(str(queue.key)).msg_rate
        shared = self._wire.policy.vmtas[queue.key.vmta].msg_rate
        return self._at_levels(queue, "msg-rate", own, shared)

    def _volumes(self, queue: "Queue") -> "Iterator[tuple[str, str, DataRate]]":
        own = self._wire.pace(str(queue.key)).data_rate
        shared = self._wire.policy.vmtas[queue.key.vmta].data_rate
        return self._at_levels(queue, "data-volume-rate", own, shared)

    def _at_levels(
        self, queue: "Queue", kind: str, own: _R | None, shared: _R | None
    ) -> "Iterator[tuple[str, str, _R]]":
        """Directive, scope and value of a rate that the queue has, and its VirtualMTA."""
        if own is not None:
            yield queue.directive(f"max-{kind}"), str(queue.key), own
        if shared is not None:
            yield f"max-smtp-{kind}", queue.key.vmta, shared

    def _is_true(self, queue: "Queue", directive: str, scope: str) -> bool:
        """Whether the wire has seen what the refusal says."""
        wire = self._wire
        for name, of, rate in self._rates(queue):
            if (name, of) == (directive, scope):
                # What is left is for connections being opened; and a batch whose content is
                # being read is not on the wire yet.
                sharing = list(self._queues_of(scope))
                read = sum(q.in_flight for q in sharing) if wire.slack_s else 0
                is_claimed = any(q.opening for q in sharing)
                return is_claimed or wire.attempted(scope, rate) + read >= rate.limit
        for name, of, volume in self._volumes(queue):
            if (name, of) == (directive, scope):
                return self._is_full(scope, volume)
        if directive == TRIAL:
            return self._waits_for_turn(queue, scope)
        name = directive.removeprefix("backoff-")
        if name in ("max-smtp-out", "total-max-smtp-out"):
            # Those that look for their host are not on the wire yet.
            opening = sum(q.opening for q in self._queues_of(scope))
            return wire.connections(scope) + opening >= wire.permitted(scope)
        if name == "disable-source-ip":
            return all(source.ip in queue.disabled for source in queue.sources)
        return name in UNCHECKED

    def _waits_for_turn(self, queue: "Queue", scope: str) -> bool:
        """Whether a queue on trial opens its one connection, or others have all the turns."""
        if scope == str(queue.key):
            return queue.opening == 1
        both = (queue.budget.trials, self._shard.scheduler.gate.trials)
        (trials,) = (one for one in both if queue in one.line.places)
        at = trials.frees_at(clock.now())
        return at is None or at > clock.now()

    def _is_full(self, scope: str, rate: "DataRate") -> bool:
        """Whether the next message does not fit beside what was taken and what is under way."""
        sharing = list(self._queues_of(scope))
        sizes = self._wire.remembered(scope, rate)
        for queue in sharing:
            sizes += (c.batch[0].envelope.size for c in queue.connections.values() if c.batch)
        largest = max(max((r.envelope.size for r in q.backlog), default=0) for q in sharing)
        if any(queue.opening for queue in sharing):
            return True  # what is left is for connections being opened
        if not sizes and largest <= rate.limit:
            return self._is_paying(scope, rate)
        return sum(sizes) + largest > rate.limit

    def _is_paying(self, scope: str, rate: "DataRate") -> bool:
        """Whether the last that was larger than the limit still fills windows."""
        taken = self._wire.volumes.get(scope, ())
        return any(
            size > rate.limit and time > self._now() - rate.per_s * (size // rate.limit + 1)
            for time, size in taken
        )

    def _queues_of(self, scope: str) -> "Iterator[Queue]":
        for queue in self._shard.scheduler.queues.values():
            if scope in ("total", queue.key.vmta, str(queue.key)):
                yield queue

    def _check_slots(self) -> None:
        """Every connection has a slot at each level, and every slot a connection."""
        gate = self._shard.scheduler.gate
        for trials in (gate.trials, *(budget.trials for budget in gate.vmtas)):
            for queue in trials.turns:
                if not (queue.opening or queue.backlog.is_reading or queue.line is not None):
                    text = f"{queue.key} has a turn of {trials.scope} and makes nothing of it"
                    self._findings.add(self._now(), text)
        held: Counter[str] = Counter()
        for queue in self._shard.scheduler.queues.values():
            held["total"] += len(queue.connections)
            held[queue.key.vmta] += len(queue.connections)
        used = {"total": gate.total.used}
        for vmta in self._wire.policy.vmtas:
            budget = gate.vmtas.found(vmta)
            used[vmta] = budget.slots.used if budget is not None else 0
        for scope, count in used.items():
            if count != held[scope]:
                text = f"{count} slots of {scope} are in use, for {held[scope]} connections"
                self._findings.add(self._now(), text)
            if self._wire.open[scope] > count:
                text = f"{self._wire.open[scope]} connections of {scope} hold {count} slots"
                self._findings.add(self._now(), text)
