"""One shard: its listeners, its spool, the queues it owns, and their connections.

The parts know nothing of each other; here they are put together, in the order in which a
start must go: spool, accounting (what a crash left half written), queues, and only then
the listeners. A stop goes the other way.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mta import clock
from mta.accounting.writer import AccountingWriter
from mta.admin.traffic import TrafficCounters
from mta.bounces.categories import Categories
from mta.bounces.default_patterns import DEFAULT_PATTERNS
from mta.daemon import header_files, partition
from mta.daemon.accounts import Accounts, salt_key
from mta.daemon.delays import Delays
from mta.daemon.delivery import Delivery
from mta.daemon.handover import Handover
from mta.daemon.heads import Heads
from mta.daemon.hosts import HostFinder
from mta.daemon.intake import Intake
from mta.daemon.kept_files import NOTHING_KEPT
from mta.daemon.local_mail import LocalMail
from mta.daemon.machine import Machine
from mta.daemon.notices import Notices
from mta.daemon.own_spf import OwnSpf
from mta.daemon.records import RecordForwarder
from mta.daemon.reports import Reports
from mta.daemon.rollups import Rollups
from mta.daemon.router import Router
from mta.daemon.sender_checks import SenderChecks
from mta.daemon.signing import Signer
from mta.daemon.signing_threads import Threads
from mta.daemon.standing import Standing
from mta.daemon.suppression import Suppression, read_lists, read_now
from mta.daemon.takeover import Takeover
from mta.daemon.together import Together
from mta.daemon.traces import Traces, trace
from mta.net.listener import Door
from mta.queues.scheduler import Scheduler
from mta.routing.cold import ColdCounts
from mta.spool.shards import shard_directory
from mta.spool.store import Spool

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.keeping import Inbox, Keep
    from mta.daemon.kept_files import Kept
    from mta.daemon.log import LogLines
    from mta.model.message import Recipient
    from mta.model.queue_key import QueueKey
    from mta.net.told_smtp import Trace
    from mta.queues.queue import Queue

STOP_WITHIN_S = 20
"""How long a stop lets transactions in flight finish, in and out. Service managers wait
ninety seconds before they kill."""
WRITER = 0
"""The shard that writes the accounting files: one file, one writer."""
FOLLOWED_POLL_S = 0.05
CLOCK_AHEAD_S = 2.0
"""How far the clock may have been set back without a word: who keeps time does it all the time."""
DYING_S = 0.5
"""How long a process that has to end may take to get its reason into the log."""
EXIT_DAMAGED = 3
"""Its spool database is damaged; whoever supervises it starts it again."""
DAMAGED = "the spool database is damaged; the next start recovers what it can"
EXIT_FAILED = 4
"""What writes its spool has ended by a defect of the program; to be started again, too."""
FAILED = "what writes the spool has ended; all that was answered 250 is on disk"


class Shard:
    """Everything of one process that has to do with mail; made by `start`."""

    def __init__(
        self,
        configuration: "Configuration",
        log: "LogLines",
        machine: Machine | None = None,
        *,
        shard: int = 0,
        shards: int = 1,
        kept: "Kept | None" = None,
        standing: Standing | None = None,
    ) -> None:
        """Files that are `kept` are read there, and not where the configuration says.

        What is `standing` holds since the daemon was started with another configuration.
        """
        self.configuration = configuration
        self._standing = standing or Standing.of(configuration)
        self._paths = NOTHING_KEPT.paths if kept is None else kept.paths
        self.machine = machine or Machine()
        self.number = shard
        self.shards = shards
        self.traffic = TrafficCounters()
        self.traces = Traces()
        self._numbers = count(1 + shard, shards)
        """Of connections to peers whose lines are in the log: no two shards have the same."""
        self.started = clock.now()
        self.own = self.machine.own_addresses()
        self.is_stopping = False
        self._sampling: asyncio.Task[None] | None = None
        self._log = log
        self.spool: Spool
        self.scheduler: Scheduler
        self.delivery: Delivery
        self.intake: Intake
        self.local_mail: LocalMail
        self.reports: Reports
        self._reporting: tuple[asyncio.Task[None], ...] = ()
        self.notices: Notices
        self.accounting: AccountingWriter | RecordForwarder
        self.accounts: Accounts
        self.door: Door
        self.router: Router
        self.handover: Handover | None = None
        self.resolver = self.machine.resolver(configuration.root.name_server)
        self.own_spf = OwnSpf(self.resolver)
        self._threads = Threads(self.log, -(-self.machine.cores // shards))
        self._follow(header_files.read_now(configuration) if kept is None else kept.included)

    def _follow(self, included: Mapping[str, bytes]) -> None:
        """Make what is derived from the configuration and its files of header fields."""
        configuration = self.configuration
        self.heads = Heads(configuration, included)
        self.signer = Signer(configuration, self._threads, self.log)
        rules = [rule for rule, _ in configuration.parts.rollup_rules]
        self.rollups = Rollups(self.resolver, rules, shards=self.shards)
        self.hosts = HostFinder(self.resolver, self.own, self.rollups, self.log)
        patterns = [
            (pattern, category) for pattern, category, _ in configuration.bounce_category_patterns
        ]
        self.categories = Categories(patterns) if patterns else Categories.of(DEFAULT_PATTERNS)
        self.wanted_kinds = frozenset(
            kind for file in configuration.acct_files for kind in file.records
        )

    # What delivery asks of its surroundings

    def log(self, text: str) -> None:
        """One line of the log."""
        self._log.write(text)

    def has_vmta(self, name: str) -> bool:
        """Whether a VirtualMTA is in the configuration."""
        return self.configuration.vmta(name) is not None

    def trace_of(self, queue: "Queue", source_ip: str | None = None) -> "Trace | None":
        """Where the lines of a new connection of the queue from there, or such as no connection
        has, go, if anybody wants them.
        """
        watched, settings = self.traces.watched(queue.key, source_ip), queue.settings
        if watched is None:
            return trace(None, settings, self.log, next(self._numbers))
        logs, number = watched.logs(settings), next(self._numbers)
        return trace(watched.say, logs, self.log, number, watched.data)

    def owns(self, key: "QueueKey") -> bool:
        """Whether the queue of that name is this shard's."""
        return self.shards == 1 or partition.owner(key, self.shards) == self.number

    def _is_in_backoff(self, key: "QueueKey") -> bool | None:
        return self.scheduler.is_in_backoff(key) if self.owns(key) else None

    # Life

    async def run(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        """Open everything; returns when mail is served. The stack closes it again."""
        configuration = self.configuration
        root = configuration.root
        stack.callback(self._threads.close)
        spool_settings = self._standing.spool
        directory = Path(spool_settings.directory)
        self.spool = Spool.open(
            shard_directory(directory, self.number),
            shard=self.number,
            sync_create=root.sync_msg_create,
            sync_update=root.sync_msg_update,
            min_free=spool_settings.min_free_space,
            log=self.log,
            take_up=self.machine.take_up,
        )
        self.spool.on_damage = partial(self._die, DAMAGED, EXIT_DAMAGED)
        self.spool.on_failure = partial(self._die, FAILED, EXIT_FAILED)
        stack.push_async_callback(self.spool.close)
        handover = self.handover = self._handover(directory)
        if handover is not None:
            await stack.enter_async_context(handover)
        if handover is None or self.number == WRITER:
            self.accounting = AccountingWriter(
                self.spool.outbox, configuration.acct_files, log=self.log
            )
        else:
            self.accounting = RecordForwarder(self.spool.outbox, handover.links[WRITER])
        await self.accounting.start()
        stack.push_async_callback(self.accounting.stop)
        counts = ColdCounts(await self.spool.cold_counts())
        self.router = Router(
            self.spool,
            counts,
            self._is_in_backoff,
            self.log,
            shard=self.number,
            shards=self.shards,
        )
        self.router.follow(configuration, self.rollups)
        self.scheduler = Scheduler(
            configuration,
            self.own,
            self.log,
            self.router.redirects,
            is_lent=self.shards > 1,
        )
        self.delivery = Delivery(self, self.scheduler, self.spool, self.traffic, tasks)
        await self._restore()
        spool = self.spool
        keep: Keep = spool.accept
        inbox: Inbox = self.delivery.arrive
        if handover is not None:
            keep, inbox = handover.accept, self._arrive
        checks = SenderChecks(self.resolver, self.machine.cores)
        stack.callback(checks.close)
        self.intake = Intake(
            configuration,
            self.spool,
            checks=checks,
            suppression=await read_lists(configuration.submitters.address_lists, self._paths),
            keep=keep,
            begin=spool.begin_accept if handover is None else None,
            together=Together(spool, handover),
            inbox=inbox,
            router=self.router,
            wanted_kinds=self.wanted_kinds,
            acct_headers=acct_headers(configuration),
            traffic=self.traffic,
            log=self.log,
        )
        self.local_mail = LocalMail(self.intake, self.spool)
        self.notices = Notices(self.local_mail.write, tasks, log=self.log)
        self.reports = Reports(configuration, self.spool, self.local_mail, self.log)
        self._reporting = (
            tasks.create_task(self.reports.run()),
            tasks.create_task(Delays(self, self.spool).run()),
        )
        if handover is not None:
            handover.begin(self.delivery.give_up_staged)
            # Not before: what others bring is delivered, or given up and told of, at once.
            await stack.enter_async_context(self._takeover())
        key = await asyncio.to_thread(salt_key, directory)
        self.accounts = Accounts(configuration, key, self.log)
        stack.callback(self.accounts.close)
        self.door = Door(
            configuration,
            self.intake,
            self.accounts,
            self.own,
            shard=self.number,
            shards=self.shards,
            arrivals=self.spool.arrivals,
        )
        for listener in self._standing.listeners:
            await self.door.listen(listener, self.machine.bind, self._paths)
        self._sampling = tasks.create_task(self._sample())
        self.delivery.kick()

    def _handover(self, directory: Path) -> Handover | None:
        if self.shards == 1:
            return None
        return Handover(self.spool, directory, shard=self.number, shards=self.shards, log=self.log)

    def _takeover(self) -> Takeover:
        writer = self.accounting if isinstance(self.accounting, AccountingWriter) else None
        return Takeover(
            self.spool,
            inbox=self.delivery.arrive,
            records_inbox=None if writer is None else writer.take_from,
            shards=self.shards,
            log=self.log,
        )

    def _arrive(self, recipients: "Sequence[Recipient]", now: float) -> None:
        """Accepted here; what others own goes to them."""
        self.delivery.arrive([r for r in recipients if self.owns(r.queue)], now)

    async def _restore(self) -> None:
        now = clock.now()
        for state in await self.spool.queues():
            if not self.owns(state.key):
                continue  # on its way to its owner
            self.scheduler.restore(
                state.key,
                recipients=state.recipients,
                octets=state.octets,
                paused=state.paused,
                retry_position=state.retry_position,
                now=now,
            )

    def _die(self, why: str, status: int) -> None:
        """The spool can go on no more. To die at once loses nothing, to go on with it may."""
        sys.stderr.write(f"{why}\n")
        asyncio.get_running_loop().call_later(DYING_S, os._exit, status)

    def reload(
        self,
        configuration: "Configuration",
        suppression: Suppression | None = None,
        included: Mapping[str, bytes] | None = None,
    ) -> None:
        """Let a new configuration be in force for all that happens from now on.

        `suppression` are its address lists, `included` its header fields, where they were
        read already.
        """
        suppression = suppression or read_now(configuration.submitters.address_lists)
        if included is None:
            included = header_files.read_now(configuration)
        self.configuration = configuration
        self.own = self.machine.own_addresses()
        self._follow(included)
        self.router.follow(configuration, self.rollups)
        self.intake.follow(
            configuration, suppression, self.wanted_kinds, acct_headers(configuration)
        )
        self.accounts.follow(configuration)
        self.reports.follow(configuration)
        self.accounting.reload(configuration.acct_files)
        self.scheduler.reload(configuration, self.own, clock.now(), self.router.redirects)
        self.door.follow(configuration)
        self.door.own = self.own
        self.delivery.kick()

    async def followed(self) -> None:
        """Return when every listener and every queue is under the configuration in force."""
        await self.door.followed()
        while not (self.scheduler.has_followed or self.is_stopping):  # noqa: ASYNC110 - the core has no events
            await asyncio.sleep(FOLLOWED_POLL_S)

    async def stop(self) -> None:
        """Take no more mail, let transactions in flight finish within a bound."""
        self.is_stopping = True
        self.intake.is_stopping = True
        await self.notices.close()
        async with asyncio.TaskGroup() as closing:
            closing.create_task(self.door.close(STOP_WITHIN_S))
            closing.create_task(self.delivery.stop(STOP_WITHIN_S))
            closing.create_task(self.reports.stop())
        self.intake.refused.close()
        for task in (self._sampling, *self._reporting):
            if task is not None:
                task.cancel()

    async def _sample(self) -> None:
        was_ahead = False
        while not self.is_stopping:
            self.traffic.sample(clock.now())
            ahead = clock.ahead()
            if ahead > CLOCK_AHEAD_S and not was_ahead:
                self.log(
                    f"the clock was set back by {ahead:.0f} s; this process goes on from where it "
                    "was and lets the clock catch up in twice that time, or at the next start"
                )
            was_ahead = ahead > CLOCK_AHEAD_S
            await asyncio.sleep(self.machine.sample_s)


def acct_headers(configuration: "Configuration") -> frozenset[bytes]:
    """Names, lower case, of the message headers that accounting files have columns for."""
    names: set[str] = set()
    for file in configuration.acct_files:
        for _, items in file.record_fields:
            names.update(i[7:] for i in items if i.lower().startswith("header_"))
        names.update(header.removeprefix("header_") for _, header, _ in file.map_header_to_field)
    return frozenset(name.lower().encode() for name in names)
