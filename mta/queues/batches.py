"""What a connection delivers next, and how long one that gets nothing stays open."""

from typing import Final

from mta.model.message import Recipient
from mta.queues import actions
from mta.queues.agenda import Agenda
from mta.queues.connection import Connection
from mta.queues.gate import Gate
from mta.queues.queue import Queue

RATE_WAIT_S: Final = 30
"""A connection whose next mail a rate lets through that soon stays open: to open another costs
its host more, and the queue some of its rate."""


class Batches:
    """Takes recipients out of queues, as the gate permits."""

    __slots__ = ("_agenda", "_gate")

    def __init__(self, agenda: Agenda, gate: Gate) -> None:
        self._agenda = agenda
        self._gate = gate

    def take(self, connection: Connection, now: float) -> list[Recipient]:
        """The next recipients for a connection that every rate lets through, rates taken."""
        queue = connection.queue
        refused, queue.blocked_by = queue.blocked_by, None
        backlog = queue.backlog
        batch: list[Recipient] = []
        first = self.first(queue, now)
        if first is not None:
            size = first.envelope.size
            limit = self._gate.permitted(connection, size, now)
            if limit:
                batch = backlog.pop(1 if first.envelope.is_verp else limit)
                if queue.line is not None or queue.blocked_until is not None:
                    self._agenda.touch(queue)  # it may be the turn of others, or of no one
                self._gate.charge(connection, len(batch), size, now)
                queue.blocked_by = refused  # another connection may be refused as before
        if backlog.wants_page():
            self._agenda.touch(queue)
        return batch

    def first(self, queue: Queue, now: float) -> Recipient | None:
        """The recipient that goes next; those before it that are too old are given up, and
        those whose window has closed put off to their next.
        """
        backlog = queue.backlog
        if not backlog.ready(now):
            return None
        first = backlog.first()
        while first is not None:
            envelope = first.envelope
            is_old = queue.expires_at(first) <= now
            if not is_old and (not envelope.windows or envelope.opens_at(now) <= now):
                return first
            batch = backlog.pop(queue.settings.max_rcpt_per_message)
            act = actions.Expire if is_old else actions.PutOff
            self._agenda.do(act(queue, batch))
            self._agenda.touch(queue)
            first = backlog.first()
        return None

    def idle_until(self, queue: Queue, now: float) -> float:
        """How long a connection that got nothing stays open: now if not at all."""
        at = now + queue.settings.connection_idle_timeout
        if queue.blocked_by is None:
            return at
        # There is mail, and a rate holds it back.
        until = queue.blocked_until
        if until is None:
            return max(at, now + RATE_WAIT_S)
        return max(at, until + 1) if until - now <= RATE_WAIT_S else at
