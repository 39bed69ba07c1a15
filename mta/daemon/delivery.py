"""Carries out what the scheduler decides: one task for each outbound connection.

A task connects, then asks for batch after batch until it is told to close. What became of
a batch goes to the spool, with its accounting records, in one transaction that the task
does not wait for; how many such may be outstanding is bounded, as they are what a crash
would deliver twice.
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from mta import clock
from mta.bounces import local
from mta.daemon import ledger, moving, smtputf8
from mta.daemon.giving_up import GivingUp
from mta.daemon.heads import own_head
from mta.daemon.ledger import NO_ATTEMPT, Ledger
from mta.daemon.line import Line
from mta.daemon.lines import Lines, log_defect
from mta.daemon.moving import Mover
from mta.daemon.pages import Pages
from mta.daemon.requiretls import ProtectedRoads
from mta.daemon.traces import FOUND
from mta.errors import ResolveError, SpoolError
from mta.model.attempt import Try
from mta.model.outcome import NO_VERDICT, Bounced, Deferred, Delivered
from mta.net.connector import ConnectFailed, open_dialogue
from mta.queues import actions, replies
from mta.queues.actions import Action, Close
from mta.queues.scheduler import Scheduler
from mta.smtp.client import Transaction

if TYPE_CHECKING:
    from mta.admin.traffic import TrafficCounters
    from mta.config.configuration import Configuration
    from mta.daemon.heads import Heads
    from mta.daemon.hosts import HostFinder
    from mta.daemon.machine import Machine
    from mta.daemon.notices import Notices
    from mta.daemon.own_spf import OwnSpf
    from mta.daemon.signing import Signer
    from mta.model.host import Host
    from mta.model.message import Recipient
    from mta.model.record import Record
    from mta.net.dialogue import Dialogue
    from mta.net.told_smtp import Trace
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue
    from mta.queues.replies import Concluded
    from mta.spool.store import Spool


class Context(ledger.Context, moving.Context, Protocol):
    """What of the shard delivery depends on; a reload changes some of it."""

    configuration: "Configuration"
    heads: "Heads"
    hosts: "HostFinder"
    signer: "Signer"
    notices: "Notices"

    @property
    def machine(self) -> "Machine": ...

    @property
    def own_spf(self) -> "OwnSpf": ...

    def has_vmta(self, name: str) -> bool: ...


class Delivery:
    """The tasks of all outbound connections of one shard."""

    def __init__(
        self,
        context: Context,
        scheduler: Scheduler,
        spool: "Spool",
        traffic: "TrafficCounters",
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.connections_top = 0
        self._context = context
        self._scheduler = scheduler
        self._spool = spool
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._lines = Lines(tasks, context.log)
        self._ledger = Ledger(context, spool)
        self.giving_up = GivingUp(scheduler, spool, self._ledger, self.kick, context.log)
        self._pages = Pages(scheduler, spool, self._ledger, self.giving_up, self.kick, context.log)
        self._roads = ProtectedRoads(self._may_connect, self._open_anew)
        self._mover = Mover(context, scheduler, spool, self.kick)
        self._kicked = False
        self._alarm: asyncio.TimerHandle | None = None

    # Deciding and doing

    def kick(self) -> None:
        """Something happened: decide before the loop waits again."""
        if not self._kicked:
            self._kicked = True
            self._loop.call_soon(self._run)

    def arrive(self, recipients: Sequence["Recipient"], now: float) -> None:
        """Recipients whose message is on disk."""
        self._scheduler.arrive(recipients, now)
        self.kick()

    def give_up_staged(self, recipients: Sequence["Recipient"], why: str) -> None:
        """Bounce what is damaged and on its way to the shard that owns its queue."""
        self._pages.give_up_staged(recipients, why, self._context.configuration)

    def _run(self) -> None:
        self._kicked = False
        now = clock.now()
        scheduler = self._scheduler
        for action in scheduler.run(now):
            try:
                self._perform(action, now)
            except Exception as error:  # what one defect shows in, the others do not pay for
                log_defect(self._context.log, f"internal error: {type(action).__name__}", error)
        if scheduler.has_decisions:
            self.kick()
        at = scheduler.next_wake()
        if at is None:
            return
        if self._alarm is not None:
            if self._alarm.when() <= self._loop.time() + max(0.0, at - now):
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_later(max(0.0, at - now), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.kick()

    def _perform(self, action: Action, now: float) -> None:
        match action:
            case actions.Assign(connection, batch):
                self._lines.give(connection, batch)
            case Close(connection):
                self._lines.give(connection, action)
            case actions.Open(connection):
                self._lines.open(connection.number, self._live(connection))
                self.connections_top = max(self.connections_top, self._scheduler.gate.total.used)
            case actions.Interrupt(connection):
                self._lines.interrupt(connection)
            case actions.ReadPage():
                self._lines.start(self._pages.read(action))
            case actions.LookUp(queue):
                self._lines.start(self._mover.look_up(queue))
            case actions.Forward(queue):
                self._lines.start(self._mover.forward(queue))
            case actions.ReadPriorities(queue):
                self._lines.start(self._pages.read_priorities(queue))
            case actions.Expire(queue, recipients):
                self.giving_up.bounce(queue, recipients, local.EXPIRED, now)
            case actions.PutOff(queue, recipients):
                for recipient in recipients:
                    recipient.due = recipient.envelope.opens_at(now)
                self._ledger.settle((), recipients, ())
                self._scheduler.put_off(queue, recipients, now)
            case actions.Sweep(queue):
                self._lines.start(self.giving_up.sweep(queue))
            case actions.BounceQueue(queue, reply):
                self._lines.start(
                    self.giving_up.bounce_queue(queue, replies.bounce_of_queue(reply))
                )
            case actions.Notify(addresses, text):
                self._context.notices.tell(addresses, text)
            case actions.SaveQueue(queue):
                self._ledger.follow(
                    self._spool.save_queue(
                        queue.key, paused=queue.is_paused, retry_position=queue.ladder.position
                    )
                )

    async def stop(self, within_s: float) -> None:
        """Let transactions in flight finish, at most that long; then break off."""
        self._scheduler.stop()
        self._run()
        await self._lines.stop(within_s)
        if self._alarm is not None:
            self._alarm.cancel()
        await self._ledger.close()

    # One connection

    async def _live(self, connection: "Connection") -> None:
        """From the decision to open it to its slot coming back."""
        queue = connection.queue
        line: Line | None = None
        reason, failure = "", ""
        try:
            if queue.settings.type == "discard":
                self._scheduler.connected(connection, "", clock.now())
                self.giving_up.discard(connection)
                return
            outcome = local.never_sent(queue.key, has_vmta=self._context.has_vmta(queue.key.vmta))
            if outcome is not None:
                self.giving_up.bounce_due(connection, outcome)
                return
            dialogue = await self._connect(connection)
            if dialogue is None:
                return
            line = Line(connection, dialogue)
            self._lines.up(line)
            reason, failure = await self._converse(line)
        except Exception as error:
            reason = failure = f"internal error: {error!r}"
            log_defect(self._context.log, str(queue.key), error)
        except asyncio.CancelledError:
            reason = connection.interrupted or "stopping"
            if line is not None:
                line.dialogue.abort()  # in the middle of a transaction QUIT would be content
            raise
        finally:
            self._lines.over(connection)
            if connection.number in queue.connections:
                dialogue = line.dialogue if line is not None else None
                self._hang_up(connection, dialogue, reason, failure)
            self.kick()

    async def _connect(self, connection: "Connection") -> "Dialogue | None":
        """Try the queue's hosts in order; None after telling the scheduler of the failure."""
        queue, source = connection.queue, connection.source
        attempts_left = queue.settings.mx_connection_attempts
        problem: ConnectFailed | None = None
        is_judged = False
        trace = self._context.trace_of(queue, source.ip)
        if trace is not None:
            trace(f"starting {queue.key}")
        try:
            async for host in self._context.hosts.find(queue, source.ip, self.giving_up.without_mx):
                if trace is not None:
                    trace(f"{FOUND}{queue.key.domain} is {host.name} [{host.ip}]")
                if queue.skipped.get(host.name, 0) > clock.now():
                    continue
                if not attempts_left:
                    break
                if not self._may_connect(connection, host):
                    continue
                attempts_left -= 1
                try:
                    dialogue = await self._open(connection, host, trace)
                except ConnectFailed as error:
                    problem = error
                    if trace is not None:
                        trace(error.text)
                    if is_judged := self._judge_host(connection, host.name, error):
                        break
                    continue
                self._scheduler.connected(connection, host.name, clock.now())
                return dialogue
        except ResolveError as error:
            if trace is not None:
                trace(f"dns: {error}")
            self._unresolved(connection, error)
            return None
        if connection.crowded_by and not is_judged:
            self._scheduler.crowded(connection, clock.now())
        else:
            self._unreachable(connection, problem)
        return None

    def _may_connect(self, connection: "Connection", host: "Host") -> bool:
        """Whether the host has room. Others may have to make some, or get what comes back."""
        may = self._scheduler.connecting(connection, host.name, host.ip, clock.now())
        if self._scheduler.has_decisions:
            self.kick()
        return may

    async def _open_anew(self, connection: "Connection", host: "Host") -> "Dialogue":
        """In place of a dialogue that was up."""
        queue, source = connection.queue, connection.source
        return await self._open(connection, host, self._context.trace_of(queue, source.ip))

    async def _open(
        self, connection: "Connection", host: "Host", trace: "Trace | None"
    ) -> "Dialogue":
        queue, source = connection.queue, connection.source
        dialogue = await open_dialogue(
            host,
            source.ip,
            source.helo,
            queue.settings,
            connect=self._context.machine.connect,
            trace=trace,
            heeds=queue.heeds,
        )
        connection.heed(*dialogue.limits)
        return dialogue

    def _judge_host(self, connection: "Connection", host: str, error: ConnectFailed) -> bool:
        """What a host's refusal means; True if no other host is to be tried."""
        if error.reply is None:
            return False
        queue = connection.queue
        judged = replies.judge(error.reply, error.stage, queue.settings, queue.rules)
        if judged.verdict is NO_VERDICT:
            return False
        connection.host = host
        self._scheduler.apply(connection, judged.verdict, error.reply, clock.now())
        verdict = judged.verdict
        return verdict.bounce_queue or verdict.defer_queue or verdict.disable_source_ip

    def _unresolved(self, connection: "Connection", error: ResolveError) -> None:
        """No host: bounce where there never will be one, retry where DNS did not answer."""
        queue = connection.queue
        now = clock.now()
        if not error.permanent:
            said = f"x-pmta;{error.status_text}" if error.status_text else ""
            self._ledger.queue_failure(queue, Deferred(error.status, said), NO_ATTEMPT, now)
            after = queue.settings.retry_after_dns_error
            self._scheduler.failed(connection, str(error), now, after=after)
            return
        self.giving_up.bounce_due(
            connection, lambda _: Bounced(error.status, "", error.status_text)
        )

    def _unreachable(self, connection: "Connection", problem: ConnectFailed | None) -> None:
        now = clock.now()
        if problem is None:
            reason = "every host is passed over (skip-mx)"
            self._scheduler.failed(connection, reason, now)
            return
        deferred = replies.failure_of(problem.stage, problem.reply, problem.fault)
        self._ledger.queue_failure(connection.queue, deferred, problem.attempt, now)
        self._scheduler.failed(connection, problem.text, now)

    async def _converse(self, line: Line) -> tuple[str, str]:
        """Deliver batches until told to close; why it ended, and whether the queue failed."""
        scheduler = self._scheduler
        connection = line.connection
        line.dialogue.on_lost = lambda: self._lost_idle(line)
        step = scheduler.next_batch(connection, clock.now())
        while True:
            if step is None or scheduler.has_decisions:
                self.kick()  # the alarm does not know yet when a queue wakes that was refused
            if step is None:
                step = await line.next_step()
            if isinstance(step, Close):
                return step.reason, ""
            ended, failure = await self._transact(line, step)
            if ended:
                return ended, failure
            if self._ledger.is_full:
                await self._ledger.room()
            step = scheduler.next_batch(connection, clock.now())

    def _lost_idle(self, line: Line) -> None:
        """The peer closed a connection that had nothing to do."""
        if line.give(Close(line.connection, "closed by the remote host")):
            self._hang_up(line.connection, line.dialogue, "closed by the remote host", "")
            self.kick()

    def _hang_up(
        self, connection: "Connection", dialogue: "Dialogue | None", reason: str, failure: str
    ) -> None:
        """The connection is over: its record, its slot, and QUIT if the peer still listens."""
        now = clock.now()
        if connection.batch:
            batch, connection.batch = connection.batch, []
            self._scheduler.finish(connection, done=(), deferred=(), untried=batch, now=now)
        if dialogue is not None:
            self._ledger.connection(connection, dialogue, reason, now)
            if dialogue.usable and not failure:
                self._lines.start(self._quit(connection, dialogue))
                return
            dialogue.abort()
        self._scheduler.closed(connection, now, failure=failure)

    async def _quit(self, connection: "Connection", dialogue: "Dialogue") -> None:
        """The slot comes back when the connection is closed: until then the peer counts it."""
        try:
            await dialogue.quit()
        finally:
            self._scheduler.closed(connection, clock.now())
            self.kick()

    async def _transact(self, line: Line, batch: "list[Recipient]") -> tuple[str, str]:
        """Deliver one batch; why the connection has to end, and whether the queue failed."""
        connection = line.connection
        try:
            concluded, is_unheard = await self._attempt(line, batch)
        except SpoolError as error:
            self._pages.unreadable(connection, batch, error)
            return line.dialogue.ending, ""
        except Exception as error:  # a defect of ours that one message shows holds up no other
            log_defect(self._context.log, str(connection.queue.key), error)
            self._pages.unreadable(connection, batch, SpoolError(f"internal error: {error!r}"))
            return line.dialogue.ending, ""
        # A peer may close a connection it served before, and nobody has failed.
        was_stale = is_unheard and connection.messages > 1
        if concluded.failure and not (was_stale or concluded.said_421):
            concluded = replies.put_off(concluded)
        self._conclude(connection, line.dialogue, batch, concluded)
        if concluded.failure:
            was_spent = concluded.said_421 and connection.messages_delivered > 0
            return concluded.failure, "" if was_stale or was_spent else concluded.failure
        if concluded.verdict.close_connection:
            return concluded.verdict.pattern or "closed after a reply", ""
        return line.dialogue.ending, ""

    async def _attempt(self, line: Line, batch: "list[Recipient]") -> "tuple[Concluded, bool]":
        """What one transaction came to, and whether there was no reply to it at all."""
        queue, source = line.connection.queue, line.connection.source
        if batch[0].envelope.requires_tls and line.dialogue.usable:
            outcome = await self._roads.outcome(line, batch, self._context.hosts)
            line.dialogue.on_lost = lambda: self._lost_idle(line)
            if outcome is not None:
                return replies.decided([outcome] * len(batch)), False
        transaction = await self._transaction(queue, batch)
        if queue.settings.check_spf_outbound and source.ip:
            outcome = await self._context.own_spf.outcome(source, transaction.sender)
            if outcome is not None:
                return replies.decided([outcome] * len(batch)), False
        dialogue, refusals = line.dialogue, None
        if not dialogue.extensions.smtputf8 and transaction.is_smtputf8:
            refusals = await smtputf8.refusals(transaction, dialogue.host)
            transaction = smtputf8.without(transaction, refusals)
            if not transaction.recipients:
                return replies.decided(refusals), False
        result = await dialogue.transact(transaction)
        concluded = replies.conclude(result, queue.settings, queue.rules)
        if refusals is not None:
            concluded = replies.with_refusals(concluded, refusals)
        return concluded, result.mail is None

    async def _transaction(self, queue: "Queue", batch: "list[Recipient]") -> Transaction:
        envelope = batch[0].envelope
        content = await self._spool.content(envelope)
        heads = self._context.heads
        rules = heads.rules(queue.key.vmta, queue.settings)
        address = batch[0].address if len(batch) == 1 else ""
        is_signed = queue.settings.is_signed
        own = await own_head(content, envelope) if is_signed or rules.pattern(envelope) else b""
        head = heads.render(rules, envelope, address, own)
        if is_signed:
            head = await self._context.signer.sign(queue.key, envelope, head, own, content)
        sender = rules.sender(envelope, address)
        return Transaction(envelope, tuple(batch), head.octets, content, head.skip, sender)

    def _conclude(
        self,
        connection: "Connection",
        dialogue: "Dialogue",
        batch: "list[Recipient]",
        concluded: "Concluded",
    ) -> None:
        """Record what became of each recipient, on disk and in the queue."""
        now = clock.now()
        queue = connection.queue
        attempt = dialogue.attempt
        done: list[Recipient] = []
        deferred: list[Recipient] = []
        untried: list[Recipient] = []
        records: list[Record] = []
        delivered = 0
        for recipient, outcome in zip(batch, concluded.outcomes, strict=True):
            match outcome:
                case Delivered():
                    delivered += 1
                    done.append(recipient)
                    self._ledger.delivered(records, queue, recipient, outcome, attempt, now)
                case Bounced():
                    done.append(recipient)
                    self._ledger.bounced(records, queue, recipient, outcome, attempt, now)
                case Deferred():
                    recipient.attempts += 1
                    recipient.last_reply = outcome.diagnostic
                    recipient.due = queue.retry_recipient_at(recipient, now)
                    deferred.append(recipient)
                    self._ledger.deferred(records, queue, recipient, outcome, attempt, now)
                case None:
                    untried.append(recipient)
        if done or deferred:
            tried = Try(now, attempt.source_ip, attempt.dsn_mta, "") if deferred else None
            self._ledger.settle(done, deferred, records, tried)
        scheduler = self._scheduler
        scheduler.finish(
            connection,
            done=done,
            deferred=deferred,
            untried=untried,
            now=now,
            delivered=delivered,
        )
        connection.recipients_failed += len(done) - delivered + len(deferred)
        if delivered:
            connection.messages_delivered += 1
            connection.recipients_delivered += delivered
            self._traffic.out_messages += 1
            self._traffic.out_recipients += delivered
            self._traffic.out_octets += batch[0].envelope.size * delivered
            scheduler.delivered(queue, now)
        if concluded.verdict is not NO_VERDICT and concluded.reply is not None:
            scheduler.apply(connection, concluded.verdict, concluded.reply, now)
