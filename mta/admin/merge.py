"""How the answers of several shards become one.

A queue belongs to one shard, so rows of queues concatenate, and each shard may cut its own.
Rows of domains and VirtualMTAs of the same name add up: there the answers must be whole, for
what is little in each shard may be much in all. One answer merges to itself, sorted and cut.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import TypeVar

from mta.admin.answers import (
    EXPLAINED_RECIPIENTS_MAX,
    Changed,
    CommandDone,
    Connections,
    DisabledSourcesAnswer,
    DomainRow,
    DomainsAnswer,
    Event,
    Explanation,
    ListAnswer,
    MessageExplanation,
    QueueRow,
    QueuesAnswer,
    QueueTotals,
    ReloadAnswer,
    StatusAnswer,
    Traffic,
    TrafficPeriod,
    VmtaRow,
    VmtasAnswer,
)
from mta.admin.job_answers import JobRow, JobsAnswer
from mta.admin.operations import DomainQuery, DomainSum, QueueQuery, Sort, domain_order

Counts = TypeVar("Counts", Traffic, QueueTotals, Changed)
Row = TypeVar("Row", QueueRow, VmtaRow, JobRow)
Named = TypeVar("Named", VmtaRow, JobRow)


def merge_status(answers: Sequence[StatusAnswer]) -> StatusAnswer:
    """Sums, but each domain once; the earliest start; stopping if any shard is."""
    first = answers[0]
    queues = {
        kind: _sum([a.queues[kind] for a in answers if kind in a.queues])
        for kind in dict.fromkeys(kind for a in answers for kind in a.queues)
    }
    for kind in dict.fromkeys(kind for a in answers for kind in a.domains):
        names = frozenset().union(*(a.domains.get(kind, ()) for a in answers))
        queues[kind] = replace(queues[kind], domains=len(names))
    return replace(
        first,
        started=min(a.started for a in answers),
        is_stopping=any(a.is_stopping for a in answers),
        total=_sum_periods([a.total for a in answers]),
        last_hour=_sum_periods([a.last_hour for a in answers]),
        top_hour=_sum_periods([a.top_hour for a in answers]),
        last_minute=_sum_periods([a.last_minute for a in answers]),
        top_minute=_sum_periods([a.top_minute for a in answers]),
        inbound=_sum_connections([a.inbound for a in answers]),
        outbound=_sum_connections([a.outbound for a in answers]),
        names_cached=sum(a.names_cached for a in answers),
        names_pending=sum(a.names_pending for a in answers),
        queues=queues,
        domains={},
        spool_directories=sum(a.spool_directories for a in answers),
        spool_messages=sum(a.spool_messages for a in answers),
        spool_recipients=sum(a.spool_recipients for a in answers),
    )


def merge_queues(answers: Sequence[QueuesAnswer], query: QueueQuery) -> QueuesAnswer:
    """Rows of all, in the query's order, cut to its length."""
    rows = [row for answer in answers for row in answer.rows]
    return QueuesAnswer(
        rows=_sorted(rows, query.sort, lambda row: str(row.key))[: query.max_items],
        matching=sum(a.matching for a in answers),
        total_recipients=sum(a.total_recipients for a in answers),
        total_queues=sum(a.total_queues for a in answers),
    )


def merge_domains(sums: Sequence[Sequence[DomainSum]], query: DomainQuery) -> DomainsAnswer:
    """Sums of the same domain add up; then they are chosen from."""
    totals: dict[str, tuple[int, int, int]] = {}
    for name, recipients, octets, connections in chain.from_iterable(sums):
        before = totals.get(name, (0, 0, 0))
        totals[name] = (before[0] + recipients, before[1] + octets, before[2] + connections)
    found = [
        (name, *total) for name, total in totals.items() if query.connected in (None, total[2] > 0)
    ]
    found.sort(key=domain_order(query.sort))
    rows = tuple(
        DomainRow(domain=name, recipients=r, octets=o, connections=c)
        for name, r, o, c in found[: query.max_items]
    )
    return DomainsAnswer(rows, len(found))


def add_events(answer: DomainsAnswer, events: Sequence[DomainsAnswer]) -> DomainsAnswer:
    """With what those answers have of the events of its rows."""
    by_name: dict[str, list[Event]] = {}
    for row in (row for one in events for row in one.rows):
        by_name.setdefault(row.domain, []).extend(row.events)
    rows = (
        replace(row, events=tuple(sorted(by_name.get(row.domain, ()), key=lambda e: -e.time)))
        for row in answer.rows
    )
    return replace(answer, rows=tuple(rows))


def merge_vmtas(answers: Sequence[VmtasAnswer], sort: Sort, max_items: int | None) -> VmtasAnswer:
    """Rows of the same VirtualMTA add up; of whole answers, or of that of one shard."""
    rows = _sorted(_by_name(answer.rows for answer in answers), sort, lambda row: row.name)
    return VmtasAnswer(
        rows[:max_items],
        matching=answers[0].matching if len(answers) == 1 else len(rows),
        total_recipients=sum(a.total_recipients for a in answers),
    )


def merge_jobs(answers: Sequence[JobsAnswer], sort: Sort, max_items: int) -> JobsAnswer:
    """Rows of the same job add up. What a shard left out is counted as jobs of its own."""
    rows = _sorted(_by_name(answer.rows for answer in answers), sort, lambda row: row.name)
    left_out = sum(a.matching - len(a.rows) for a in answers)
    return JobsAnswer(rows[:max_items], len(rows) + left_out)


def merge_disabled(
    answers: Sequence[DisabledSourcesAnswer], max_items: int
) -> DisabledSourcesAnswer:
    """Rows of all, by queue and address, and cut."""
    rows = sorted(
        (row for answer in answers for row in answer.rows), key=lambda row: (str(row.queue), row.ip)
    )
    return DisabledSourcesAnswer(tuple(rows[:max_items]), sum(a.matching for a in answers))


def merge_explanations(answers: Sequence[Explanation]) -> Explanation:
    """The owner's: the one whose queue has recipients or connections."""
    return max(answers, key=lambda a: (a.recipients, a.connections))


def merge_messages(answers: Sequence[MessageExplanation]) -> MessageExplanation:
    """Recipients of one message may wait in several shards."""
    recipients = tuple(recipient for answer in answers for recipient in answer.recipients)
    return replace(
        answers[0],
        recipients=recipients[:EXPLAINED_RECIPIENTS_MAX],
        recipients_total=sum(a.recipients_total for a in answers),
        queues=tuple(queue for answer in answers for queue in answer.queues),
    )


def merge_lists(answers: Sequence[ListAnswer], limit: int) -> ListAnswer:
    """Concatenated and cut."""
    rows = tuple(row for answer in answers for row in answer.rows)
    return ListAnswer(
        rows[:limit],
        has_more=len(rows) > limit or any(a.has_more for a in answers),
        busy_queues=sum(a.busy_queues for a in answers),
    )


def merge_reloads(answers: Sequence[ReloadAnswer]) -> ReloadAnswer:
    """Shards read the same file; what one remarks, all do."""
    return ReloadAnswer(
        remarks=_distinct(remark for a in answers for remark in a.remarks),
        needs_restart=_distinct(name for a in answers for name in a.needs_restart),
    )


def merge_changes(answers: Sequence[Changed]) -> Changed:
    """Sums."""
    return _sum(answers)


def merge_done(answers: Sequence[CommandDone]) -> CommandDone:
    """All said the same."""
    return answers[0]


def _sum_periods(periods: Sequence[TrafficPeriod]) -> TrafficPeriod:
    return TrafficPeriod(_sum([p.inbound for p in periods]), _sum([p.outbound for p in periods]))


def _sum_connections(connections: Sequence[Connections]) -> Connections:
    """One ceiling holds for all. The tops may be of different moments: at most their sum."""
    maximum = connections[0].maximum
    top = sum(c.top for c in connections)
    return Connections(sum(c.active for c in connections), min(top, maximum), maximum)


def _sum(counts: Sequence[Counts]) -> Counts:
    kind = type(counts[0])
    return kind(*(sum(getattr(c, f.name) for c in counts) for f in fields(kind)))


def _sorted(rows: Sequence[Row], sort: Sort, name: Callable[[Row], str]) -> tuple[Row, ...]:
    match sort:
        case "name":
            return tuple(sorted(rows, key=name))
        case "rcpt":
            return tuple(sorted(rows, key=lambda row: (-row.recipients, name(row))))
        case "size":
            return tuple(sorted(rows, key=lambda row: (-row.octets, name(row))))


def _by_name(answers: Iterable[Iterable[Named]]) -> list[Named]:
    """Rows of the same name as one: all else in them adds up."""
    found: dict[str, Named] = {}
    for row in chain.from_iterable(answers):
        other = found.get(row.name)
        if other is None:
            found[row.name] = row
            continue
        counts = [field.name for field in fields(row) if field.name != "name"]
        sums = {name: getattr(row, name) + getattr(other, name) for name in counts}
        found[row.name] = replace(row, **sums)
    return list(found.values())


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
