"""A daemon that carries no mail: the admin commands over a handful of made-up queues.

For tests of the control socket and of programs that use it. What a command changes
shows in later answers; what it was told is noted in `told`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Final, Literal

from mta import ids
from mta.admin.answers import (
    Changed,
    DisabledSource,
    DisabledSourcesAnswer,
    DomainRow,
    DomainsAnswer,
    Event,
    Explanation,
    ListAnswer,
    ListedRecipient,
    MessageExplanation,
    Mode,
    QueueRow,
    QueuesAnswer,
    QueueTotals,
    RecipientExplanation,
    ReloadAnswer,
    Setting,
    SettingsAnswer,
    StatusAnswer,
    VmtaRow,
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
)
from mta.admin.pattern import QueuePattern
from mta.model.queue_key import QueueKey
from mta.model.refusal import Refusal

NOW: Final = 1709632800.0
MESSAGE_ID: Final = ids.message_id(7, 0)
SOURCE_IP: Final = "192.0.2.1"
"""The one that all its queues send from."""
_RECIPIENTS: Final = 40
_OCTETS: Final = 5000


class FakeOperations:
    """`Operations` over queues in memory."""

    def __init__(self, queues: Iterable[str] = ("gmail.com/vmta1", "yahoo.com/vmta1")) -> None:
        refusal = Refusal("max-smtp-out", "vmta1", None, "pmta.conf:12")
        self.rows = {
            key: QueueRow(
                key=key,
                recipients=_RECIPIENTS,
                octets=_RECIPIENTS * _OCTETS,
                events=(Event(NOW - 60, "ETIMEDOUT connecting to mx.example (192.0.2.1)"),),
                refusal=refusal,
            )
            for key in map(QueueKey.parse, queues)
        }
        self.told: list[str] = []
        self.disabled: dict[QueueKey, DisabledSource] = {}
        self.trace_lines: asyncio.Queue[str] = asyncio.Queue()
        self.traces_open = 0

    async def status(self) -> StatusAnswer:
        recipients = sum(row.recipients for row in self.rows.values())
        octets = sum(row.octets for row in self.rows.values())
        return StatusAnswer(
            now=NOW,
            started=NOW - 3600,
            host_name="mta1.example.com",
            queues={"smtp": QueueTotals(recipients, len(self.rows), octets)},
        )

    async def queues(self, query: QueueQuery) -> QueuesAnswer:
        rows = [
            row
            for row in self._matching(query.pattern)
            if query.paused in (None, row.is_paused) and query.mode in (None, row.mode)
        ]
        return QueuesAnswer(
            rows=tuple(rows),
            matching=len(rows),
            total_recipients=sum(row.recipients for row in self.rows.values()),
            total_queues=len(self.rows),
        )

    async def domains(self, query: DomainQuery) -> DomainsAnswer:
        rows = [
            DomainRow(domain=key.domain, recipients=row.recipients, events=row.events)
            for key, row in self.rows.items()
            if query.names is None or key.domain in query.names
        ]
        return DomainsAnswer(tuple(rows), len(rows))

    async def domain_sums(self, *, domain: str, vmta: str) -> list[DomainSum]:
        del domain, vmta
        rows = self.rows.items()
        return [(key.domain, row.recipients, row.octets, row.connections) for key, row in rows]

    async def vmtas(self, *, sort: Sort, max_items: int | None) -> VmtasAnswer:
        del sort, max_items
        recipients = sum(row.recipients for row in self.rows.values())
        row = VmtaRow(name="vmta1", domains=len(self.rows), recipients=recipients)
        return VmtasAnswer((row,), 1, recipients)

    async def settings(self, queue: QueueKey) -> SettingsAnswer:
        self._check_vmta(queue)
        setting = Setting(directive="max-smtp-out", value="20", place="pmta.conf:12")
        return SettingsAnswer(queue, (), (setting,))

    async def explain_queue(self, queue: QueueKey) -> Explanation:
        self._check_vmta(queue)
        row = self.rows.get(queue) or QueueRow(key=queue, recipients=0)
        return Explanation(now=NOW, queue=queue, recipients=row.recipients, refusal=row.refusal)

    async def explain_message(self, message_id: int) -> MessageExplanation:
        if message_id != MESSAGE_ID:
            raise CommandRefusedError(f"no recipient of {ids.printed(message_id)} is queued")
        queue = next(iter(self.rows))
        recipient = RecipientExplanation(
            address=f"someone@{queue.domain}", queue=queue, attempts=1, due=NOW + 60
        )
        return MessageExplanation(
            now=NOW,
            message_id=message_id,
            mail_from="news@example.com",
            time_queued=NOW - 60,
            size=_OCTETS,
            recipients=(recipient,),
            recipients_total=1,
            queues=(await self.explain_queue(queue),),
        )

    async def pause(self, pattern: QueuePattern, *, paused: bool) -> Changed:
        self.told.append(f"{'pause' if paused else 'resume'} {pattern}")
        return self._change(pattern, lambda row: replace(row, is_paused=paused))

    async def set_mode(self, pattern: QueuePattern, mode: Mode) -> Changed:
        self.told.append(f"{mode} {pattern}")
        return self._change(pattern, lambda row: replace(row, mode=mode))

    async def disable_source(self, pattern: QueuePattern, ip: str, *, after: int | None) -> Changed:
        self.told.append(f"disable {ip} {pattern} after={after}")
        matching = [row.key for row in self._matching(pattern) if ip == SOURCE_IP]
        fresh = [key for key in matching if key not in self.disabled]
        until = None if after is None else NOW + after
        self.disabled.update(
            {
                key: DisabledSource(queue=key, ip=ip, until=until, reason="by an operator")
                for key in matching
            }
        )
        return Changed(len(fresh), len(matching))

    async def enable_source(self, pattern: QueuePattern, ip: str) -> Changed:
        self.told.append(f"enable {ip} {pattern}")
        matching = [row.key for row in self._matching(pattern) if ip == SOURCE_IP]
        gone = [self.disabled.pop(key) for key in matching if key in self.disabled]
        return Changed(len(gone), len(matching))

    async def jobs(self, *, sort: Sort, max_items: int) -> JobsAnswer:
        del sort, max_items
        row = JobRow(name="news", recipients=_RECIPIENTS, octets=_RECIPIENTS * _OCTETS)
        return JobsAnswer((row,), 1)

    async def disabled_sources(
        self, pattern: QueuePattern, *, max_items: int
    ) -> DisabledSourcesAnswer:
        rows = [row for key, row in self.disabled.items() if pattern.matches(key)]
        return DisabledSourcesAnswer(tuple(rows[:max_items]), len(rows))

    async def schedule(self, pattern: QueuePattern, *, recipients: bool) -> Changed:
        self.told.append(f"schedule {pattern} recipients={recipients}")
        return self._change(pattern, lambda row: replace(row, retry_at=None))

    async def delete(self, recipients: RecipientFilter, *, dsn: bool, accounting: bool) -> Changed:
        self.told.append(f"delete {recipients.queue} dsn={dsn} accounting={accounting}")
        matching = self._matching(recipients.queue or QueuePattern("*", "*"))
        for row in matching:
            del self.rows[row.key]
        count = sum(row.recipients for row in matching)
        return Changed(count, count)

    async def set_priority(self, recipients: RecipientFilter, priority: int) -> Changed:
        self.told.append(f"priority {priority} {recipients.queue}")
        matching = self._matching(recipients.queue or QueuePattern("*", "*"))
        count = sum(row.recipients for row in matching)
        return Changed(count, count)

    async def list_recipients(self, recipients: RecipientFilter, *, limit: int) -> ListAnswer:
        listed = [
            ListedRecipient(
                queue=row.key,
                mail_from="news@example.com",
                address=f"user{number}@{row.key.domain}",
                message_id=ids.message_id(number, 0),
                time_queued=NOW - 60,
                due=NOW + 60,
                size=_OCTETS,
            )
            for row in self._matching(recipients.queue or QueuePattern("*", "*"))
            for number in range(row.recipients)
        ]
        return ListAnswer(tuple(listed[:limit]), has_more=len(listed) > limit)

    async def reload(self) -> ReloadAnswer:
        self.told.append("reload")
        return ReloadAnswer()

    async def rotate(self, what: Literal["acct", "log"], file: str = "") -> None:
        self.told.append(f"rotate {what} {file}".rstrip())

    async def clear_dns_cache(self, domain: str) -> None:
        self.told.append(f"clear {domain}")

    async def reset_counters(self) -> None:
        self.told.append("reset")

    async def stop(self) -> None:
        self.told.append("stop")

    async def trace(self, query: TraceQuery) -> AsyncIterator[str]:
        """The lines put into `trace_lines`."""
        self.traces_open += 1
        try:
            yield f"starting {query}"
            while True:
                yield await self.trace_lines.get()
        finally:
            self.traces_open -= 1

    def _matching(self, pattern: QueuePattern) -> list[QueueRow]:
        return [row for key, row in self.rows.items() if pattern.matches(key)]

    def _change(self, pattern: QueuePattern, change: Callable[[QueueRow], QueueRow]) -> Changed:
        matching = self._matching(pattern)
        changed = {row.key: change(row) for row in matching}
        count = sum(self.rows[key] != row for key, row in changed.items())
        self.rows.update(changed)
        return Changed(count, len(matching))

    def _check_vmta(self, queue: QueueKey) -> None:
        if all(key.vmta != queue.vmta for key in self.rows):
            raise CommandRefusedError(f'no VirtualMTA "{queue.vmta}" is configured')
