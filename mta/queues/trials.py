"""Queues on trial: those nobody knows to work, and how many of them are tried at once.

A queue is *on trial* from a failure, or from the start of the program, until a connection of it
comes up. Meanwhile it opens one connection, and only when it has its *turn*. Of the connections
of a VirtualMTA and of all together such queues have half, so that providers that do not answer
never take all that there are; and those that failed before begin a little apart, so that a
hundred thousand that are due at once leave the processor to mail that moves.

The fewer failures in a row, the sooner its turn: what failed once is likelier to work than
what has for days. A queue has its turn while it reads its mail from the spool, opens its
connection, or stands in line for one; it then gives it back. Mail that is only in the spool is
not read before.
"""

from typing import TYPE_CHECKING, Final

from mta.queues.line import Line

if TYPE_CHECKING:
    from mta.queues.agenda import Agenda
    from mta.queues.gate import Gate
    from mta.queues.limits import Part, Slots
    from mta.queues.queue import Queue

TRIAL: Final = "trial"
"""What such a queue waits for, where others tell a directive."""
TRIALS_MAX: Final = 600
"""At once, whatever the limit of connections is: half of the default of all of them."""
APART_S: Final = 0.005
"""An attempt takes about half a millisecond of the processor: a tenth of it so. A hundred
thousand dead queues are tried in less than ten minutes, the default of `retry-after`."""


class Trials:
    """How many queues on trial have their turn at once, of those that share some slots."""

    __slots__ = ("_apart_s", "_free_at", "line", "slots", "turns")

    def __init__(self, slots: "Slots", *, apart_s: float = 0.0) -> None:
        self.slots = slots
        slots.trials = self
        self.line = Line(by_failures=True)
        self.turns: dict[Queue, None] = {}
        """Who has its turn."""
        self._apart_s = apart_s
        self._free_at = 0.0

    @property
    def directive(self) -> str:
        return TRIAL

    @property
    def scope(self) -> str:
        return self.slots.scope

    @property
    def part(self) -> "Part":
        """What of the slots may be used here."""
        return self.slots.part

    @property
    def ceiling(self) -> int:
        return min((self.slots.ceiling + 1) // 2, TRIALS_MAX)

    def take(self, queue: "Queue", now: float) -> bool:
        """Whether it has its turn; a queue that has it keeps it."""
        if queue in self.turns or not (self._apart_s or self.slots.is_limited):
            return True
        at = self._frees_at(queue, now)
        if at is None or at > now or not self.line.lets(queue):
            return False
        self.turns[queue] = None
        if queue.failures:
            self._free_at = now + self._apart_s
        return True

    def frees_at(self, now: float) -> float | None:
        """When the first of the line has its turn; None if one of the others has to end."""
        first = self.line.first()
        return None if first is None else self._frees_at(first, now)

    def _frees_at(self, queue: "Queue", now: float) -> float | None:
        if len(self.turns) >= self.ceiling:
            return None
        return max(self._free_at, now) if queue.failures else now


def may_try(gate: "Gate", agenda: "Agenda", queue: "Queue", now: float) -> bool:
    """Whether a queue may read and open; one on trial waits for its turn, the refusal noted.

    One that rests for another reason than its failure may read: what it holds grows too old.
    """
    if not queue.is_on_trial:
        return True
    if queue.retry_at is not None:
        return False
    backlog = queue.backlog
    if queue.is_resting or not (backlog.wants_page() or backlog.ready(now)):
        return True
    for trials in (queue.budget.trials, gate.trials):
        if not trials.take(queue, now):
            gate.refuse(queue, trials, None, now)
            at = trials.frees_at(now)
            if at is not None:
                agenda.wake_at(trials.line, at)
            return False
    return True


def end_turns(gate: "Gate", queue: "Queue", now: float, *, is_gone: bool = False) -> None:
    """Give back the turns of a queue that was decided, unless it makes something of them."""
    is_on_trial = queue.is_on_trial and not is_gone
    works = is_on_trial and (queue.opening > 0 or queue.backlog.is_reading)
    stands = is_on_trial and queue.line is not None
    for trials in (queue.budget.trials, gate.trials):
        if queue not in trials.turns or works:
            continue
        # What it waits for of its VirtualMTA must not keep the turn from those of others.
        if stands and (trials is queue.budget.trials or queue.line is gate.total):
            continue
        del trials.turns[queue]
        gate.offer((trials,), now)
