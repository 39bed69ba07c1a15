"""Which queue opens a connection, what a connection delivers next, and why not.

The scheduler decides and never waits. The shell tells it what happened (`arrive`,
`connected`, `finish`, `closed`, …), then calls `run`, and carries out the actions it
returns. A connection that is free asks `next_batch`; the answer is a batch, a reason to
close, or None: stay open, a batch will come as an action.

    arrive ─► queue is dirty ─► run ─► Assign to an idle connection, or Open ─► connected
                                  ▲                                                │
      closed ◄─ Close ◄───────────┴──────────── finish ◄─ next_batch ◄─────────────┘

A queue that cannot move is asleep until one of: its wake time on the one heap, an event of
its own (mail, a connection free), or a slot of a budget it was refused by. The invariant
tests hold it to that: no queue with due work and free slots sleeps.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from mta.model.message import Recipient
from mta.model.queue_key import QueueKey
from mta.model.reply import Reply
from mta.queues import actions, disabling, trials
from mta.queues.actions import Action, Close
from mta.queues.agenda import FOREVER, Agenda
from mta.queues.batches import Batches
from mta.queues.budgets import VmtaBudget
from mta.queues.connection import Connection, State
from mta.queues.departures import Departures, Redirecting
from mta.queues.gate import Gate
from mta.queues.lane import PAGE_RECIPIENTS, Lane
from mta.queues.queue import BACKOFF, SWEEP_S, WINDOWS_MAX, Queue

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.outcome import Verdict


class Scheduler:
    """All queues of one shard, and the limits above them."""

    def __init__(
        self,
        configuration: "Configuration",
        own: frozenset[str],
        log: Callable[[str], None] = lambda _: None,
        redirecting: Redirecting | None = None,
        *,
        is_lent: bool = False,
    ) -> None:
        """`is_lent` says that limits above a queue are shared; see `queues/leases.py`."""
        self._log = log
        self.queues: dict[QueueKey, Queue] = {}
        self._agenda = Agenda()
        self._departures = Departures(redirecting, self._agenda)
        self.gate = Gate(configuration, self._agenda, is_lent=is_lent)
        self._batches = Batches(self._agenda, self.gate)
        self._configuration = configuration
        self._own = own
        self._epoch = 0
        self._numbers = count(1)
        self._is_stopping = False

    # What happened

    def reload(
        self,
        configuration: "Configuration",
        own: frozenset[str],
        now: float,
        redirecting: Redirecting | None = None,
    ) -> None:
        """Follow a new configuration. Connections finish under the old one."""
        self._departures.redirecting = redirecting
        self._configuration = configuration
        self._own = own
        self._epoch += 1
        self.gate.reload(configuration, now)
        self._agenda.follow_all(self.queues)

    def restore(
        self,
        key: QueueKey,
        *,
        recipients: int,
        octets: int,
        paused: bool,
        retry_position: int,
        now: float,
    ) -> None:
        """A queue found in the spool at start."""
        queue = self.queue(key, now, complete=recipients == 0)
        queue.recipients, queue.octets = recipients, octets
        queue.is_paused = paused
        queue.ladder.position = queue.failures = retry_position
        queue.is_untried = recipients > 0
        queue.oldest = 0.0 if recipients else queue.oldest
        self._agenda.touch(queue)

    def queue(self, key: QueueKey, now: float, *, complete: bool = True) -> Queue:
        """The queue of that name, made if there is none."""
        queue = self.queues.get(key)
        if queue is None:
            budget = self.gate.vmtas.of(key.vmta, now)
            queue = self.queues[key] = Queue(
                key, budget, complete=complete, log=self._log, tell=self._tell
            )
            self._follow(queue, now)
        return queue

    def _follow(self, queue: Queue, now: float) -> None:
        queue.follow(self._configuration, self._epoch, self._own, now)
        self._departures.follow(queue)

    def is_in_backoff(self, key: QueueKey) -> bool:
        """Whether there is such a queue, in backoff mode."""
        queue = self.queues.get(key)
        return queue is not None and queue.mode == BACKOFF

    def _tell(self, addresses: tuple[str, ...], text: str) -> None:
        self._agenda.do(actions.Notify(addresses, text))

    def vmta_budget(self, name: str) -> VmtaBudget | None:
        """What the queues of a VirtualMTA share, if it has or had any queue."""
        return self.gate.vmtas.found(name)

    def arrive(self, recipients: Iterable[Recipient], now: float) -> None:
        """Recipients the spool has just taken."""
        for recipient in recipients:
            queue = self.queues.get(recipient.queue) or self.queue(recipient.queue, now)
            queue.recipients += 1
            queue.octets += recipient.envelope.size
            queue.is_untried = False
            queue.oldest = min(queue.oldest, queue.counts_from(recipient))
            queue.backlog.add(recipient, now)
            self._agenda.touch(queue)
            if queue.retry_at is not None and queue.settings.retry_upon_new_mail:
                queue.end_retry()

    def connecting(self, connection: Connection, mx: str, ip: str, now: float) -> bool:
        """The connection is about to try a host; False if that one is full: try the next.

        Say so without an `await` between the answer and the attempt.
        """
        return self.gate.connecting(connection, mx, ip, now)

    def connected(self, connection: Connection, host: str, now: float) -> None:
        """The connection is up and asks for its first batch next."""
        self.gate.opened(connection, now)
        connection.state = State.BUSY
        connection.host = host
        connection.queue.works()
        # What it does not take, and a rate had left for it alone, is for others now.
        self._agenda.touch(connection.queue)

    def crowded(self, connection: Connection, now: float) -> None:
        """Hosts that might take the mail were all full; the queue waits for a slot of theirs."""
        self.gate.crowd(connection, now)
        self.gate.release(connection, now)

    def failed(
        self, connection: Connection, reason: str, now: float, *, after: int | None = None
    ) -> None:
        """The connection did not come about; no other host is left to try.

        `after` replaces the next `retry-after`, as for a DNS error.
        """
        queue = connection.queue
        if queue.fail(now, reason, after=after):
            self._agenda.do(actions.SaveQueue(queue))
        self.gate.release(connection, now)

    def closed(self, connection: Connection, now: float, *, failure: str = "") -> None:
        """A connection is gone, or will not come about; its slots come back.

        `failure` says why, where that is the queue's trouble and it must retry.
        """
        queue = connection.queue
        if failure and queue.fail(now, failure):
            self._agenda.do(actions.SaveQueue(queue))
        self.gate.release(connection, now)

    def priorities_read(self, queue: Queue, priorities: Collection[int] | None, now: float) -> None:
        """The answer to ReadPriorities; None if the spool could not read."""
        queue.backlog.take_priorities(priorities, now)
        self._look_again(queue, now, failed=priorities is None)

    def page_read(
        self,
        queue: Queue,
        lane: Lane,
        page: Collection[Recipient] | None,
        *,
        is_last: bool,
        now: float,
    ) -> None:
        """The answer to ReadPage; None if the spool could not read."""
        queue.backlog.take_page(lane, page, is_last=is_last, now=now)
        self._look_again(queue, now, failed=page is None)

    def _look_again(self, queue: Queue, now: float, *, failed: bool) -> None:
        if failed:
            self._agenda.wake_at(queue, now + SWEEP_S)
        else:
            self._agenda.touch(queue)

    def swept(self, queue: Queue, oldest: float) -> None:
        """The answer to Sweep: nothing that is left was queued before that."""
        queue.oldest = min(queue.oldest, oldest)
        self._agenda.touch(queue)

    def settled(self, queue: Queue, recipients: Iterable[Recipient]) -> None:
        """Recipients that no longer wait: delivered, bounced or deleted."""
        for recipient in recipients:
            queue.recipients -= 1
            queue.octets -= recipient.envelope.size

    def finish(
        self,
        connection: Connection,
        *,
        done: Sequence[Recipient],
        deferred: Sequence[Recipient],
        untried: Sequence[Recipient],
        now: float,
        delivered: int = 0,
    ) -> None:
        """What became of the batch of a connection.

        `done` no longer wait; `deferred` carry their new due; `untried` go back unchanged.
        `delivered` of those done were: the octets count only if any was.
        """
        queue = connection.queue
        queue.tempo.count(len(done) + len(deferred), now)
        connection.batch = []
        if connection.reserved:
            self.gate.settle(connection, now, delivered=delivered > 0)
        self.settled(queue, done)
        if deferred or untried:
            self.put_off(queue, (*deferred, *untried), now)

    def put_off(self, queue: Queue, recipients: Iterable[Recipient], now: float) -> None:
        """Recipients that wait on, each for its due."""
        for recipient in recipients:
            queue.backlog.add(recipient, now)
        self._agenda.touch(queue)

    def delivered(self, queue: Queue, now: float) -> None:
        """A recipient was delivered: the retry list begins again."""
        if queue.ladder.position:
            queue.ladder.reset()
            self._agenda.do(actions.SaveQueue(queue))
        if queue.mode != "normal" and queue.settings.backoff_to_normal_after_delivery:
            queue.leave_backoff(now, "a delivery (backoff-to-normal-after-delivery)")
            self._agenda.touch(queue)

    def apply(self, connection: Connection, verdict: "Verdict", reply: Reply, now: float) -> None:
        """What a reply means for the queue as a whole. Guide: smtp-pattern-list."""
        queue = connection.queue
        reason = queue.heed(connection, verdict, str(reply), now)
        if verdict.bounce_queue:
            self._agenda.do(actions.BounceQueue(queue, reply))
        if verdict.defer_queue and queue.fail(now, reason, hold=True):
            self._agenda.do(actions.SaveQueue(queue))
        self._agenda.touch(queue)

    # What operators say

    def pause(self, queue: Queue, *, paused: bool) -> bool:
        """True if that changed anything."""
        if queue.is_paused == paused:
            return False
        queue.is_paused = paused
        self._agenda.do(actions.SaveQueue(queue))
        self._agenda.touch(queue)
        return True

    def set_mode(self, queue: Queue, mode: str, now: float) -> bool:
        """True if that changed anything."""
        self._agenda.touch(queue)
        if mode == "backoff":
            return queue.enter_backoff(now, after=None, reason="set by an operator")
        return queue.leave_backoff(now, "set by an operator")

    def schedule(self, queue: Queue, now: float, *, recipients: bool) -> list[Recipient] | None:
        """Try a retrying queue now; with recipients, all deferred ones in memory too.

        None if there is nothing to hasten; else the recipients whose due changed.
        """
        changed = queue.backlog.make_due(now) if recipients else []
        if queue.retry_at is None and not changed:
            return None
        queue.end_retry()
        queue.failures = min(queue.failures, 1)  # Its turn is among the next.
        self._agenda.touch(queue)
        return changed

    def reread(self, queue: Queue) -> None:
        """What the spool holds of a queue changed beside it: read it again."""
        queue.backlog.forget()
        self.touch(queue)

    def touch(self, queue: Queue) -> None:
        """Something about it changed beside this: decide anew."""
        self._agenda.touch(queue)

    def looked_up(self, queue: Queue) -> None:
        """The answer to LookUp is there."""
        self._departures.looked_up(queue)

    def forwarded(self, queue: Queue, now: float, *, later: bool) -> None:
        """The end of a Forward; `later` if to begin anew at once would be in vain."""
        self._departures.forwarded(queue, now, later=later)
        self.reread(queue)

    def stop(self) -> None:
        """Give out no more work; idle connections are closed."""
        self._is_stopping = True
        self._agenda.touch_all(self.queues.values())

    # What to do

    def run(self, now: float) -> list[Action]:
        """Decide for queues something happened to; the actions, in order.

        A run is bounded: call again while it `has_decisions`.
        """
        for queue in self._agenda.due(now):
            if self.queues.get(queue.key) is queue:  # not forgotten meanwhile
                self._decide(queue, now)
        return self._agenda.take_actions()

    @property
    def has_decisions(self) -> bool:
        """Whether `run` has something to do or to say now."""
        return not self._agenda.is_empty

    @property
    def has_followed(self) -> bool:
        """Whether every queue was decided under the configuration of the last reload."""
        return not self._agenda.are_behind

    def next_wake(self) -> float | None:
        """When `run` is to be called if nothing happens before."""
        return self._agenda.next_wake()

    def next_batch(self, connection: Connection, now: float) -> list[Recipient] | Close | None:
        """What a free connection delivers now.

        Recipients of one message; or why it is to close; or None: it is idle from now on.
        """
        queue = connection.queue
        if queue.epoch != self._epoch:
            self._follow(queue, now)
        closing = self._must_close(connection, now)
        if closing:
            return self._close(connection, closing)
        batch = self._batches.take(connection, now)
        if batch:
            connection.carry(batch)
            return batch
        connection.has_ticket = False
        idle_until = self._batches.idle_until(queue, now)
        if idle_until <= now or self.gate.is_wanted(connection):
            reason = "no more mail" if queue.blocked_by is None else queue.blocked_by[0]
            return self._close(connection, reason)
        connection.idle_until = idle_until
        self.gate.idle(connection)
        self._agenda.wake_at(queue, idle_until)
        return None

    def _close(self, connection: Connection, reason: str) -> Close:
        connection.state = State.CLOSING
        self.gate.going(connection)
        return Close(connection, reason)

    def _must_close(self, connection: Connection, now: float) -> str:
        queue = connection.queue
        if self._is_stopping:
            return "stopping"
        if queue.departure is not None and (directive := self._departures.must_close(queue)):
            return directive
        if self.gate.is_lent and (surplus := self.gate.surplus(connection)):
            return surplus
        return queue.must_close(connection, now)

    # Deciding for one queue

    def _decide(self, queue: Queue, now: float) -> None:
        if queue.epoch != self._epoch:
            self._follow(queue, now)
        self._pass_time(queue, now)
        queue.stays = False
        may_try = trials.may_try(self.gate, self._agenda, queue, now)
        if may_try and queue.backlog.wants_page():
            self._read_on(queue)
        if queue.departure is not None and not self._is_stopping:
            self._departures.decide(queue, queue.departure, now)
            self._departures.tell(queue, queue.departure, self.queues)
        resting = queue.is_resting or self._is_stopping
        if self._use_idle(queue, now) and not resting and may_try:
            self._open(queue, now)
        self.gate.decided(queue, now)
        if len(self.queues) > WINDOWS_MAX:
            queue.let_go()
        self._sleep(queue, now, resting=resting)

    def _read_on(self, queue: Queue) -> None:
        backlog = queue.backlog
        if backlog.wants_priorities():
            backlog.begin_priorities()
            self._agenda.do(actions.ReadPriorities(queue))
        in_flight = frozenset(r.recipient_id for c in queue.connections.values() for r in c.batch)
        for lane, after in backlog.begin_pages(in_flight):
            self._agenda.do(actions.ReadPage(queue, lane, after, PAGE_RECIPIENTS))

    def _pass_time(self, queue: Queue, now: float) -> None:
        """What changes by itself: retry ends, backoff ends, mail grows too old."""
        if queue.retry_at is not None and queue.retry_at <= now:
            queue.end_retry()
        if queue.disabled:
            disabling.pass_time(queue, now)
        if queue.backoff_until is not None and queue.backoff_until <= now:
            queue.leave_backoff(now, "its time is over (backoff-to-normal-after)")
        if queue.is_sweep_due(now) and not queue.frozen and queue.has_mail_of_known_age:
            queue.swept_at = now
            if expired := queue.backlog.take_expired(lambda r: queue.expires_at(r) <= now):
                self._agenda.do(actions.Expire(queue, expired))
            if queue.backlog.is_complete:
                queue.oldest = queue.oldest_in_memory()
            elif queue.may_be_too_old(now):
                queue.oldest = FOREVER  # until the answer comes
                self._agenda.do(actions.Sweep(queue))

    def _use_idle(self, queue: Queue, now: float) -> bool:
        """Give idle connections work, newest first, and close those idle for too long.

        False if some are left that a rate of the queue refused: more would not help.
        """
        is_refused = False
        for connection in reversed(queue.idle.copy()):
            closing = self._must_close(connection, now)
            if closing:
                self.gate.close_idle(connection, closing)
                continue
            if queue.departure is not None and queue.departure.is_looking:
                break
            batch = self._batches.take(connection, now)
            if batch:
                self.gate.unidle(connection)
                connection.carry(batch)
                self._agenda.do(actions.Assign(connection, batch))
            elif connection.limits is None or queue.blocked_by is None:
                is_refused = queue.blocked_by is not None
                break
        while queue.idle and queue.idle[0].idle_until <= now:
            self.gate.close_idle(queue.idle[0], "connection-idle-timeout")
        return not is_refused

    def _open(self, queue: Queue, now: float) -> None:
        """Open connections while there is mail for more of them and every limit allows."""
        first = self._batches.first(queue, now)
        if first is None:
            return
        queue.blocked_by = None
        if queue.crowded and queue.crowded_until is not None and queue.crowded_until <= now:
            self.gate.uncrowd(queue)
        size = first.envelope.size
        wanted = queue.backlog.ready_messages() - queue.opening
        on_trial = wanted - 1 + queue.opening if queue.is_on_trial else 0
        if on_trial > 0:
            wanted = 1 - queue.opening
        while wanted > 0:
            connection = self.gate.open(queue, next(self._numbers), size, wanted, now)
            if connection is None:
                return
            self._agenda.do(actions.Open(connection))
            wanted -= 1
        if on_trial > 0:
            self.gate.refuse_by(queue, trials.TRIAL, None)

    def _sleep(self, queue: Queue, now: float, *, resting: bool) -> None:
        """Set the time at which the queue is looked at again if nothing happens."""
        times = queue.changes_at(now, resting=resting)
        if queue.recipients or queue.connections or not queue.is_forgettable:
            queue.empty_since = None
        else:
            since = queue.empty_since = now if queue.empty_since is None else queue.empty_since
            if since + queue.keeps_s <= now:
                self._forget(queue, now)
                return
            times.append(since + queue.keeps_s)
        if times:
            self._agenda.wake_at(queue, min(times))

    def _forget(self, queue: Queue, now: float) -> None:
        del self.queues[queue.key]
        self.gate.forget(queue, now)
        self._agenda.forget(queue)
