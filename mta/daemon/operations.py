"""What operators can ask of one shard and tell it: `mta.admin.operations` made real."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple

from mta import clock, ids
from mta.admin import effective, merge
from mta.admin.answers import (
    EXPLAINED_RECIPIENTS_MAX,
    Changed,
    DisabledSource,
    DisabledSourcesAnswer,
    DomainsAnswer,
    Explanation,
    ListAnswer,
    ListedRecipient,
    MessageExplanation,
    Mode,
    QueueRow,
    QueuesAnswer,
    ReloadAnswer,
    SettingsAnswer,
    StatusAnswer,
    VmtasAnswer,
)
from mta.admin.job_answers import JobRow, JobsAnswer
from mta.admin.operations import (
    CommandRefusedError,
    DomainQuery,
    DomainSum,
    QueueQuery,
    RecipientFilter,
    Sort,
    TraceQuery,
    domain_order,
)
from mta.admin.pattern import QueuePattern, one_spelling, wildcard
from mta.bounces import local
from mta.config.plan import fixed
from mta.daemon import (
    domain_rows,
    explaining,
    limit_use,
    message_explaining,
    reload,
    signing_text,
    status,
    ways,
    x_schedule,
)
from mta.daemon.domain_rows import QUEUES_AT_ONCE
from mta.model.queue_key import QueueKey
from mta.queues import disabling
from mta.queues.disabling import BY_OPERATOR
from mta.smtp.header_block import find
from mta.spool.query import RecipientQuery

if TYPE_CHECKING:
    from mta.daemon.giving_up import Frozen
    from mta.daemon.log import LogLines
    from mta.daemon.shard import Shard
    from mta.model.message import Recipient
    from mta.queues.queue import Queue

CHANGE_PAGE = 1000
"""Recipients deleted or changed at once."""
FROZEN_MAX = 1000
"""Queues frozen together for a change of recipients, before it is known which hold any."""
_SUBJECT = frozenset({b"subject"})


class _FoundPage(NamedTuple):
    free: "list[Recipient]"
    """Of the page, those in no transaction."""
    changed: Changed
    """With this page and those before it."""


class ShardOperations:
    """The `Operations` of one shard."""

    def __init__(
        self, shard: "Shard", config_path: str, log: "LogLines", stopping: asyncio.Event
    ) -> None:
        self._shard = shard
        self._config_path = config_path
        self._started = fixed(shard.configuration)
        self._log = log
        self._stopping = stopping
        self._reloading = asyncio.Lock()
        """Who reads the file later is to be in force in the end."""

    # Reads

    async def status(self) -> StatusAnswer:
        return await status.status(self._shard)

    async def queues(self, query: QueueQuery) -> QueuesAnswer:
        order: Callable[[Queue], tuple[int, str]] = {
            "name": lambda queue: (0, str(queue.key)),
            "rcpt": lambda queue: (-queue.recipients, str(queue.key)),
            "size": lambda queue: (-queue.octets, str(queue.key)),
        }[query.sort]
        chosen: list[Queue] = []
        matching = total_recipients = total_queues = 0
        async for some in self._queues_in_turns():
            found = [
                queue
                for queue in some
                if (
                    queue.recipients
                    or queue.is_paused
                    or queue.connections
                    or queue.mode != "normal"
                )
                and query.pattern.matches(queue.key)
                and (query.connected is None or query.connected == bool(queue.connections))
                and (query.paused is None or query.paused == queue.is_paused)
                and (query.mode is None or query.mode == queue.mode)
            ]
            chosen = heapq.nsmallest(query.max_items, [*chosen, *found], key=order)
            matching += len(found)
            total_recipients += sum(queue.recipients for queue in some)
            total_queues += sum(queue.recipients > 0 for queue in some)
        now = clock.now()
        return QueuesAnswer(
            rows=tuple(self._row(queue, now, query) for queue in chosen),
            matching=matching,
            total_recipients=total_recipients,
            total_queues=total_queues,
        )

    async def _queues_in_turns(self) -> "AsyncIterator[list[Queue]]":
        """Those there are now, some at a time: between, the mail has its turn."""
        everything = list(self._shard.scheduler.queues.values())
        for start in range(0, len(everything), QUEUES_AT_ONCE):
            yield everything[start : start + QUEUES_AT_ONCE]
            await asyncio.sleep(0)

    def _row(self, queue: "Queue", now: float, query: QueueQuery) -> QueueRow:
        events = domain_rows.events(queue)
        all_events = query.errors or query.mode_events
        return QueueRow(
            key=queue.key,
            recipients=queue.recipients,
            octets=queue.octets,
            connections=len(queue.connections),
            mode="backoff" if queue.mode == "backoff" else "normal",
            is_paused=queue.is_paused,
            retry_at=queue.retry_at,
            events=events if all_events else events[:1],
            recipient_events=domain_rows.recipient_events(queue) if query.recipient_events else (),
            refusal=explaining.refusal(queue, self._shard.configuration, now),
        )

    async def domains(self, query: DomainQuery) -> DomainsAnswer:
        by_domain = await self._by_domain(query.domain, query.vmta, query.names)
        order = domain_order(query.sort)
        chosen: list[DomainSum] = []
        matching = 0
        async for some in domain_rows.sums_in_turns(by_domain):
            found = [
                one
                for one in some
                if (query.names is not None or one[1] or one[3])
                and query.connected in (None, one[3] > 0)
            ]
            chosen = heapq.nsmallest(query.max_items, [*chosen, *found], key=order)
            matching += len(found)
        return DomainsAnswer(
            tuple(
                domain_rows.row(one, by_domain[one[0]], all_events=query.errors) for one in chosen
            ),
            matching,
        )

    async def domain_sums(self, *, domain: str, vmta: str) -> list[DomainSum]:
        by_domain = await self._by_domain(domain, vmta, None)
        return [
            one
            async for some in domain_rows.sums_in_turns(by_domain)
            for one in some
            if one[1] or one[3]
        ]

    async def _by_domain(
        self, domain: str, vmta: str, names: frozenset[str] | None
    ) -> "dict[str, list[Queue]]":
        domains, vmtas = wildcard(one_spelling(domain or "*")), wildcard(vmta or "*")
        by_domain: dict[str, list[Queue]] = {}
        async for some in self._queues_in_turns():
            for queue in some:
                name = queue.key.domain
                if names is not None and name not in names:
                    continue
                if domains.fullmatch(name) and vmtas.fullmatch(queue.key.vmta):
                    by_domain.setdefault(name, []).append(queue)
        return by_domain

    async def vmtas(self, *, sort: Sort, max_items: int | None) -> VmtasAnswer:
        by_vmta: dict[str, list[Queue]] = {}
        async for some in self._queues_in_turns():
            for queue in some:
                by_vmta.setdefault(queue.key.vmta, []).append(queue)
        names = dict.fromkeys([*self._shard.configuration.vmta_names(), *by_vmta])
        rows = domain_rows.vmtas(names, by_vmta)
        whole = VmtasAnswer(tuple(rows), len(rows), sum(row.recipients for row in rows))
        return merge.merge_vmtas([whole], sort, max_items)

    async def jobs(self, *, sort: Sort, max_items: int) -> JobsAnswer:
        found, matching = await self._shard.spool.tally.jobs(sort, max_items)
        rows = (JobRow(name=n, recipients=r, octets=o) for n, r, o in found)
        return JobsAnswer(tuple(rows), matching)

    async def disabled_sources(
        self, pattern: QueuePattern, *, max_items: int
    ) -> DisabledSourcesAnswer:
        rows = [
            DisabledSource(
                queue=queue.key, ip=ip, until=until, reason=queue.disabled_by.get(ip, "")
            )
            async for some in self._queues_in_turns()
            for queue in some
            if queue.disabled and pattern.matches(queue.key)
            for ip, until in queue.disabled.items()
        ]
        return merge.merge_disabled([DisabledSourcesAnswer(tuple(rows), len(rows))], max_items)

    async def settings(self, queue: QueueKey) -> SettingsAnswer:
        self._check_vmta(queue)
        return effective.settings(self._shard.configuration, queue)

    async def explain_queue(self, queue: QueueKey) -> Explanation:
        self._check_vmta(queue)
        shard = self._shard
        if not shard.owns(queue):
            raise CommandRefusedError(f"another worker owns queue {queue}")
        now = clock.now()
        await shard.rollups.find_out(queue, shard.router.redirects)
        known = shard.scheduler.queue(queue, now)
        end = shard.scheduler.queue(ways.end(queue, shard.router), now)
        answer = explaining.explain(known, shard.scheduler, shard.configuration, now)
        of_clients = limit_use.inbound(shard.door.slots.total, shard.configuration)
        answer = replace(answer, limits=(*answer.limits, of_clients))
        return explaining.with_settings(
            answer,
            settings=effective.settings_of(shard.configuration.explain(queue)),
            leads=ways.of(queue, shard.router, shard.configuration),
            hosts=await explaining.hosts(end, shard.hosts),
            signing=await signing_text.lines(shard.signer, end.key, shard.configuration),
        )

    async def explain_message(self, message_id: int) -> MessageExplanation:
        found = await self._shard.spool.message(message_id)
        if found is None or not found[1]:
            raise CommandRefusedError(
                f"no recipient of message {ids.printed(message_id)} is queued; "
                "what became of it stands in the accounting files"
            )
        envelope, recipients = found
        shown = recipients[:EXPLAINED_RECIPIENTS_MAX]
        here = {r.queue for r in shown if self._shard.owns(r.queue)}
        queues = {key: await self.explain_queue(key) for key in sorted(here)}
        return await message_explaining.explain(self._shard, envelope, recipients, queues)

    async def list_recipients(self, recipients: RecipientFilter, *, limit: int) -> ListAnswer:
        spool = self._shard.spool
        found = await spool.find(_query(recipients), limit + 1)
        subjects = await spool.header_blocks.each(
            {r.envelope.message_id for r in found[:limit]}, _subject
        )
        rows = tuple(
            ListedRecipient(
                queue=r.queue,
                mail_from=r.envelope.mail_from,
                address=r.address,
                message_id=r.envelope.message_id,
                time_queued=r.envelope.time_queued,
                due=r.due,
                attempts=r.attempts,
                last_reply=r.last_reply,
                job_id=r.envelope.job_id,
                env_id=r.envelope.env_id,
                size=r.envelope.size,
                subject=subjects.get(r.envelope.message_id, ""),
                priority=r.priority,
                schedule=x_schedule.printed(r.envelope.windows),
            )
            for r in found[:limit]
        )
        keys = {row.queue for row in rows}
        known = self._shard.scheduler.queues
        busy = sum(key in known and known[key].in_flight > 0 for key in keys)
        return ListAnswer(rows, has_more=len(found) > limit, busy_queues=busy)

    def trace(self, query: TraceQuery) -> AsyncIterator[str]:
        return self._shard.traces.watch(query)

    # Writes

    async def pause(self, pattern: QueuePattern, *, paused: bool) -> Changed:
        verb = "paused" if paused else "resumed"
        return self._change(
            pattern,
            lambda queue: self._shard.scheduler.pause(queue, paused=paused),
            f"{verb} by an operator",
            make=paused,
        )

    async def set_mode(self, pattern: QueuePattern, mode: Mode) -> Changed:
        now = clock.now()
        return self._change(
            pattern,
            lambda queue: self._shard.scheduler.set_mode(queue, mode, now),
            f"set to {mode} mode by an operator",
            make=True,
        )

    async def disable_source(self, pattern: QueuePattern, ip: str, *, after: int | None) -> Changed:
        now = clock.now()
        return self._change(
            pattern,
            lambda q: disabling.disable(q, ip, after=after, reason=BY_OPERATOR, now=now),
            make=True,
            source_ip=ip,
        )

    async def enable_source(self, pattern: QueuePattern, ip: str) -> Changed:
        now = clock.now()
        return self._change(
            pattern,
            lambda queue: disabling.enable(queue, ip, reason=BY_OPERATOR, now=now),
            make=False,
            source_ip=ip,
        )

    async def schedule(self, pattern: QueuePattern, *, recipients: bool) -> Changed:
        now = clock.now()
        hastened: list[Recipient] = []

        def change(queue: "Queue") -> bool:
            changed = self._shard.scheduler.schedule(queue, now, recipients=recipients)
            hastened.extend(changed or ())
            return changed is not None

        answer = self._change(pattern, change, "scheduled by an operator", make=False)
        if hastened:
            # On disk, too: where a queue is read on it would find them there once more.
            await self._shard.spool.settle((), hastened, ())
        return answer

    def _change(
        self,
        pattern: QueuePattern,
        change: "Callable[[Queue], bool]",
        text: str = "",
        *,
        make: bool,
        source_ip: str | None = None,
    ) -> Changed:
        """Of the queues that match; with an address, of those that send from it.

        Or that would, if a reload had not taken it away: what is disabled can be enabled.
        """
        scheduler = self._shard.scheduler
        if make and pattern.is_exact and self._shard.owns(pattern.key):
            self._check_vmta(pattern.key)
            scheduler.touch(scheduler.queue(pattern.key, clock.now()))
        matching = [
            queue
            for queue in scheduler.queues.values()
            if pattern.matches(queue.key)
            and (source_ip is None or disabling.knows(queue, source_ip))
        ]
        changed = [queue for queue in matching if change(queue)]
        for queue in changed:
            scheduler.touch(queue)
            if text:
                self._log.write(f"queue {queue.key} {text}")
        self._shard.delivery.kick()
        return Changed(len(changed), len(matching))

    async def delete(self, recipients: RecipientFilter, *, dsn: bool, accounting: bool) -> Changed:
        shard = self._shard
        changed = Changed(0, 0)
        async with shard.delivery.giving_up.frozen(self._queues_of(recipients)) as frozen:
            async for page in self._pages(_query(recipients), frozen):
                self._bounce(page.free, accounting=accounting, dsn=dsn)
                changed = page.changed
        self._log.write(f"{changed.count} recipients deleted by an operator")
        return changed

    async def set_priority(self, recipients: RecipientFilter, priority: int) -> Changed:
        shard = self._shard
        query = replace(_query(recipients), priority_other_than=priority)
        changed = Changed(0, 0)
        async with shard.delivery.giving_up.frozen(self._queues_of(recipients)) as frozen:
            async for page in self._pages(query, frozen):
                await shard.spool.set_priority(page.free, priority)
                changed = page.changed
        self._log.write(f"priority of {changed.count} recipients set to {priority} by an operator")
        return changed

    def _queues_of(self, recipients: RecipientFilter) -> "list[Queue]":
        """The queues that a change of those recipients may be about; none if they are many.

        Each would read its mail again afterwards. Of many the few that hold such recipients are
        frozen as they are found.
        """
        found = [
            queue
            for queue in self._shard.scheduler.queues.values()
            if recipients.queue is None or recipients.queue.matches(queue.key)
        ]
        return found if len(found) <= FROZEN_MAX else []

    async def _pages(self, query: RecipientQuery, frozen: "Frozen") -> "AsyncIterator[_FoundPage]":
        """Recipients that match and are in no transaction, a page at a time.

        Whoever asks for the next page has changed these so that they match no more. A page with
        a queue that came about meanwhile is read again, once nothing is taken from it.
        """
        scheduler = self._shard.scheduler
        count = 0
        while True:
            limit = CHANGE_PAGE + len(frozen.busy)
            found = await self._shard.spool.find(replace(query, is_staged=False), limit)
            now = clock.now()
            if sum(frozen.add(scheduler.queue(key, now)) for key in {r.queue for r in found}):
                continue
            free = [r for r in found if r.recipient_id not in frozen.busy]
            count += len(free)
            yield _FoundPage(free, Changed(count, count + len(found) - len(free)))
            if len(found) < limit:
                return

    def _bounce(self, recipients: "list[Recipient]", *, accounting: bool, dsn: bool) -> None:
        now = clock.now()
        ordered = sorted(recipients, key=lambda r: r.queue)
        for key, group in groupby(ordered, key=lambda r: r.queue):
            queue = self._shard.scheduler.queue(key, now)
            self._shard.delivery.giving_up.bounce(
                queue, list(group), local.DELETED, now, is_accounted=accounting, is_told=dsn
            )

    async def reload(self) -> ReloadAnswer:
        async with self._reloading:
            configuration, remarks = await reload.read_again(self._config_path)
            answer = reload.answer(self._started, configuration, remarks)
            await reload.adopt(self._shard, await reload.prepare(configuration))
            reload.say(answer, self._log)
        return answer

    async def rotate(self, what: Literal["acct", "log"], file: str = "") -> None:
        if what == "log":
            self._log.rotate()
            return
        known = [one.path for one in self._shard.configuration.acct_files if one.path[0] != "|"]
        if file and file not in known:
            there = ", ".join(known) or "none"
            raise CommandRefusedError(f"there is no accounting file {file}; there are: {there}")
        self._shard.accounting.rotate(file)

    async def clear_dns_cache(self, domain: str) -> None:
        self._shard.resolver.clear(domain)
        self._shard.own_spf.clear(domain)

    async def reset_counters(self) -> None:
        self._shard.traffic.reset()

    async def stop(self) -> None:
        self._stopping.set()

    def _check_vmta(self, queue: QueueKey) -> None:
        known = self._shard.scheduler.queues.get(queue)
        if not self._shard.has_vmta(queue.vmta) and not (known and known.recipients):
            raise CommandRefusedError(
                f'there is no VirtualMTA "{queue.vmta}"; `show vmtas` lists those there are'
            )


def _query(recipients: RecipientFilter) -> RecipientQuery:
    age = recipients.older_than
    return RecipientQuery(
        domain=recipients.queue.domain if recipients.queue else "",
        vmta=recipients.queue.vmta if recipients.queue else "",
        mail_from=recipients.mail_from,
        address=recipients.address,
        job_id=recipients.job_id,
        env_id=recipients.env_id,
        queued_before=None if age is None else clock.now() - age,
    )


def _subject(block: bytes) -> str:
    return find(block, _SUBJECT).get(b"subject", "")
