"""What every queue has to pass: its own limits, then those it shares with others.

Each level can refuse, and then says which directive refused and until when. What is checked
here is taken by the caller at once, so nothing is ever between a check and a take.
"""

from typing import TYPE_CHECKING

from mta.queues.actions import Close
from mta.queues.agenda import Agenda
from mta.queues.budgets import Slots, VmtaBudgets
from mta.queues.connection import Connection, State
from mta.queues.queue import Queue

if TYPE_CHECKING:
    from mta.config.configuration import Configuration


class Gate:
    """The limits above the queues, and the checks of all levels in their order."""

    __slots__ = ("_agenda", "total", "vmtas")

    def __init__(self, configuration: "Configuration", agenda: Agenda) -> None:
        self._agenda = agenda
        self.total = Slots("total-max-smtp-out", "total", configuration.root.total_max_smtp_out)
        self.vmtas = VmtaBudgets(configuration)

    def reload(self, configuration: "Configuration", now: float) -> None:
        """Follow a new configuration."""
        self.total.ceiling = configuration.root.total_max_smtp_out
        self.vmtas.reload(configuration, now)

    # What may be attempted

    def permitted(self, queue: Queue, now: float) -> int:
        """How many recipients may be attempted now; 0 with the refusal noted."""
        own = queue.msg_rate.available(now)
        if own <= 0:
            until = queue.msg_rate.until(now)
            self.refuse(queue, queue.directive("max-msg-rate"), str(queue.key), until)
            return 0
        shared = queue.budget.msg_rate.available(now)
        if shared <= 0:
            until = queue.budget.msg_rate.until(now)
            self.refuse(queue, "max-smtp-msg-rate", queue.key.vmta, until)
            return 0
        return min(own, shared)

    def refuse(self, queue: Queue, directive: str, scope: str, until: float | None) -> None:
        """Note why the queue does not move, and look again when that is over."""
        queue.blocked_by = (directive, scope)
        queue.blocked_until = until
        if until is not None:
            self._agenda.wake_at(queue, until)

    # Connections

    def may_open(self, queue: Queue, now: float) -> bool:
        """Check every level from the queue outwards; the first that refuses is noted."""
        if len(queue.connections) >= queue.pace.max_smtp_out:
            self.refuse(queue, queue.directive("max-smtp-out"), str(queue.key), None)
            return False
        permitted = self.permitted(queue, now)
        if permitted <= queue.opening:  # Those being opened will use what is left.
            return False
        if queue.connect_rate.available(now) <= 0:
            until = queue.connect_rate.until(now)
            self.refuse(queue, queue.directive("max-connect-rate"), str(queue.key), until)
            return False
        for slots in (queue.budget.slots, self.total):
            if slots.is_exhausted:
                self.refuse(queue, slots.directive, slots.scope, None)
                slots.waiting[queue] = None
                if slots.idle:
                    self.close_idle(
                        next(iter(slots.idle)), f"{slots.directive}: another queue waits"
                    )
                return False
        return True

    def take_slots(self, queue: Queue) -> None:
        """One connection more; `may_open` was true this moment."""
        queue.budget.slots.take()
        self.total.take()

    def release_slots(self, queue: Queue) -> None:
        """One connection less."""
        queue.budget.slots.release()
        self.total.release()
        self.offer(queue)

    def offer(self, queue: Queue) -> None:
        """A free slot wakes the queue that was refused first."""
        for slots in (queue.budget.slots, self.total):
            if slots.waiting and not slots.is_exhausted:
                first = next(iter(slots.waiting))
                del slots.waiting[first]
                self._agenda.touch(first)

    def is_wanted(self, queue: Queue) -> bool:
        """Whether another queue waits for a slot that the queue's connections hold."""
        return bool(queue.budget.slots.waiting or self.total.waiting)

    def forget(self, queue: Queue) -> None:
        """The queue is no more."""
        queue.budget.slots.waiting.pop(queue, None)
        self.total.waiting.pop(queue, None)

    # Idle connections

    def idle(self, connection: Connection) -> None:
        """The connection has nothing to do, and keeps its slots until another wants them."""
        queue = connection.queue
        connection.state = State.IDLE
        queue.idle.append(connection)
        queue.budget.slots.idle[connection] = None
        self.total.idle[connection] = None

    def unidle(self, connection: Connection) -> None:
        """The connection is idle no longer."""
        queue = connection.queue
        queue.idle.remove(connection)
        del queue.budget.slots.idle[connection]
        del self.total.idle[connection]

    def close_idle(self, connection: Connection, reason: str) -> None:
        """Have an idle connection closed."""
        self.unidle(connection)
        connection.state = State.CLOSING
        self._agenda.do(Close(connection, reason))
