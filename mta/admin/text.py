"""Answers as an operator reads them. Layouts of PowerMTA where it has one.

Integrations cut columns out of these, so widths and titles stay as they are.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, assert_never

import mta
from mta import ids
from mta.admin.answers import (
    Answer,
    Changed,
    CommandDone,
    Connections,
    DirectiveAnswer,
    DisabledSourcesAnswer,
    DomainsAnswer,
    Event,
    Explanation,
    ListAnswer,
    ListedRecipient,
    MessageExplanation,
    QueueRow,
    QueuesAnswer,
    QueueTotals,
    ReloadAnswer,
    SettingsAnswer,
    StatusAnswer,
    TrafficPeriod,
    VersionAnswer,
    VmtasAnswer,
)
from mta.admin.explanation_text import explanation, message, refusal_text
from mta.admin.job_answers import JobsAnswer
from mta.admin.tree import kilobytes, percent_of_total, printed_time
from mta.queues.disabling import SYSTEM

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DAY_S: Final = 86400


def text(answer: Answer) -> str:
    """The answer's lines, each with its line end, safe for a terminal."""
    return "".join(f"{printable(line).rstrip()}\n" for line in _lines(answer))


def printable(line: str) -> str:
    """A line as a terminal may have it, whatever a remote server put into it."""
    return line if line.isprintable() else _CONTROL.sub(" ", line)


def list_notes(answer: ListAnswer) -> list[str]:
    """What is to be said of a list besides its rows."""
    notes = []
    if answer.busy_queues:
        queues = "1 queue" if answer.busy_queues == 1 else f"{answer.busy_queues} queues"
        notes.append(f"{queues} busy while listing; what is listed may be delivered by now.")
    if answer.was_to_pause:
        notes.append("--pause paused nothing: recipients in a transaction are listed without it.")
    return notes


def _lines(answer: Answer) -> Iterator[str]:
    match answer:
        case StatusAnswer():
            return _status(answer)
        case VersionAnswer():
            return iter([f"{answer.product} v{answer.version}."])
        case QueuesAnswer():
            return _queues(answer)
        case DomainsAnswer():
            return _domains(answer)
        case VmtasAnswer():
            return _vmtas(answer)
        case DisabledSourcesAnswer():
            return _disabled(answer)
        case JobsAnswer():
            return _jobs(answer)
        case SettingsAnswer():
            return _settings(answer)
        case DirectiveAnswer():
            return _directive(answer)
        case Explanation():
            return explanation(answer)
        case MessageExplanation():
            return message(answer)
        case ListAnswer():
            return _list(answer)
        case ReloadAnswer():
            return _reload(answer)
        case CommandDone():
            return iter(answer.text.split("\n"))
        case Changed():
            return iter([f"{answer.count} of {answer.matching} changed."])
        case _:
            assert_never(answer)


def _status(s: StatusAnswer) -> Iterator[str]:
    title = f"Petrel v{mta.__version__} status on {s.host_name.partition('.')[0]}"
    yield f"{title} on {printed_time(s.now)}".center(77)
    yield ""
    yield "  Traffic    ------------inbound------------  ------------outbound-----------"
    yield "                 rcpts      msgs      kbytes      rcpts      msgs      kbytes"
    yield _traffic("Total", s.total)
    yield _traffic("Last Hour", s.last_hour)
    yield _traffic("Top/Hour", s.top_hour)
    yield _traffic("Last Min.", s.last_minute)
    yield _traffic("Top/Min.", s.top_minute)
    yield ""
    yield " Connections    active       top     maximum  Domain       cached     pending"
    names = f"    Names  {s.names_cached:>10}  {s.names_pending:>10}"
    yield f"{_connections('Inbound', s.inbound)}{names}"
    yield _connections("Outbound", s.outbound)
    yield ""
    yield "     Queues      rcpts   domains      kbytes  Spool        in use    recycled"
    smtp = s.queues.get("smtp", QueueTotals())
    others = [totals for kind, totals in s.queues.items() if kind != "smtp"]
    other = QueueTotals(
        sum(o.recipients for o in others),
        sum(o.domains for o in others),
        sum(o.octets for o in others),
    )
    yield f"{_totals('SMTP', smtp)}    Files  {s.spool_messages:>10}  {0:>10}"
    yield f"{_totals('other', other)}    Init.                complete"
    yield ""
    state = "stopping" if s.is_stopping else "running"
    started = printed_time(s.started)
    yield f"     Status    {state}    Started  {started}    Uptime   {_uptime(s.now - s.started)}"


def _traffic(title: str, period: TrafficPeriod) -> str:
    i, o = period.inbound, period.outbound
    return (
        f"{title:>11} {i.recipients:>10}{i.messages:>10}{kilobytes(i.octets):>12}"
        f" {o.recipients:>10}{o.messages:>10}{kilobytes(o.octets):>12}"
    )


def _connections(title: str, c: Connections) -> str:
    return f"{title:>11} {c.active:>10}{c.top:>10}{c.maximum:>12}"


def _totals(title: str, totals: QueueTotals) -> str:
    kbytes = kilobytes(totals.octets)
    return f"{title:>11} {totals.recipients:>10}{totals.domains:>10}{kbytes:>12}"


def _uptime(seconds: float) -> str:
    days, rest = divmod(int(seconds), _DAY_S)
    return f"{days} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def _queues(answer: QueuesAnswer) -> Iterator[str]:
    now = max((row.events[0].time for row in answer.rows if row.events), default=0.0)
    titles = ("queue", "#rcpt", "kbytes", "conn", "st", "retry", "last error")
    rows = [
        (
            str(row.key),
            str(row.recipients),
            str(kilobytes(row.octets)),
            str(row.connections),
            ("P" if row.is_paused else "") + ("B" if row.mode == "backoff" else ""),
            _retry(row, now),
            _last_error(row),
        )
        for row in answer.rows
    ]
    table = _table(titles, rows, left=(0, 4, 6))
    yield next(table)
    yield next(table)
    for row, line in zip(answer.rows, table, strict=True):
        yield line
        yield from _events(answer.shown(row))
        if answer.shows_events and row.refusal:
            yield f"    waits for {refusal_text(row.refusal)}"
    tracked = [row for row in answer.rows if row.recipient_events]
    for row in tracked:
        yield from _recipient_events(row, f" of {row.key}" if len(answer.rows) > 1 else "")
    yield ""
    yield f"{len(answer.rows)} of {answer.matching} matching queues."


def _retry(row: QueueRow, now: float) -> str:
    if row.retry_at is None:
        return ""
    distant = now and row.retry_at > now + _DAY_S
    return time.strftime("%m-%d %Hh" if distant else "%H:%M:%S", time.localtime(row.retry_at))


def _last_error(row: QueueRow) -> str:
    if row.events:
        return row.events[0].text
    return refusal_text(row.refusal) if row.refusal else ""


def _events(events: Sequence[Event]) -> Iterator[str]:
    return (f"    {printed_time(event.time)} {event.text}" for event in events)


def _recipient_events(row: QueueRow, of_queue: str) -> Iterator[str]:
    kinds = Counter(event.kind for event in row.recipient_events)
    title = (
        f"Recipient Events{of_queue} (deliveries:{kinds['delivered']}, "
        f"bounces:{kinds['bounced']}, deferrals:{kinds['deferred']})"
    )
    yield ""
    yield title
    yield "-" * len(title)
    for event in row.recipient_events:
        parts = (event.kind, printed_time(event.time), event.source_ip, event.address)
        yield " | ".join((*parts, event.job_id, event.mta, event.text))


def _domains(answer: DomainsAnswer) -> Iterator[str]:
    yield "-----------------------------domain --#rcpt ---kbytes conn last error----------"
    for row in answer.rows:
        error = row.events[0].text if row.events else ""
        cut = error if len(error) <= 20 else f"{error[:17]}..."
        kbytes = kilobytes(row.octets)
        yield f"{row.domain:>35} {row.recipients:>7} {kbytes:>9} {row.connections:>4} {cut}"
        if answer.shows_events:
            yield from _events(row.events)
    yield f"{len(answer.rows)} of {answer.matching} domains shown."


def _vmtas(answer: VmtasAnswer) -> Iterator[str]:
    yield from _table(
        ("name", "domains", "#rcpt", "% total", "kbytes", "conn"),
        [
            (
                row.name,
                str(row.domains),
                str(row.recipients),
                str(percent_of_total(row.recipients, answer.total_recipients)),
                str(kilobytes(row.octets)),
                str(row.connections),
            )
            for row in answer.rows
        ],
        left=(0,),
    )
    yield ""
    yield f"{len(answer.rows)} of {answer.matching} virtual MTAs."


def _jobs(answer: JobsAnswer) -> Iterator[str]:
    yield "-----------------------------job-id ----#rcpt ---kbytes"
    for row in answer.rows:
        yield f"{row.name:>35} {row.recipients:>9} {kilobytes(row.octets):>9}"
    yield f"Total of {answer.matching} job(s)."


def _disabled(answer: DisabledSourcesAnswer) -> Iterator[str]:
    yield from _table(
        ("queue", "source", "until", "reason"),
        [
            (
                str(row.queue),
                row.ip or SYSTEM,
                "enabled" if row.until is None else printed_time(row.until),
                row.reason,
            )
            for row in answer.rows
        ],
        left=(0, 1, 2, 3),
    )
    yield ""
    yield f"{len(answer.rows)} of {answer.matching} disabled sources."


def _settings(answer: SettingsAnswer) -> Iterator[str]:
    for title, settings in (
        ("Virtual MTA Settings", answer.vmta_settings),
        ("Queue Settings", answer.queue_settings),
    ):
        if not settings:
            continue
        yield title
        yield "-" * len(title)
        yield from (" ".join((s.directive, s.value or '""')) for s in settings)
        yield ""


def _directive(answer: DirectiveAnswer) -> Iterator[str]:
    for index, one in enumerate(answer.settings):
        if index:
            yield ""
        yield f"{one.directive} of {answer.queue}"
        rows = [("is", one.value or '""', one.place or "by default")]
        rows += [("hides", hidden.value or '""', hidden.place) for hidden in one.hides]
        width = max(len(value) for _, value, _ in rows)
        yield from (f"  {word:<5}  {value:<{width}}  {place}" for word, value, place in rows)
        if one.note:
            yield f"  {one.note}"


def _list(answer: ListAnswer) -> Iterator[str]:
    columns: list[tuple[str, Callable[[ListedRecipient], str]]] = [
        ("queue", lambda row: str(row.queue)),
        ("message", lambda row: ids.printed(row.message_id)),
        ("orig", lambda row: row.mail_from or "<>"),
        ("rcpt", lambda row: row.address),
        ("queued", lambda row: printed_time(row.time_queued)),
        ("due", lambda row: printed_time(row.due)),
        ("tries", lambda row: str(row.attempts)),
    ]
    if answer.shows_priority:
        columns.append(("priority", lambda row: str(row.priority)))
    if answer.shows_schedule:
        columns.append(("schedule", lambda row: row.schedule or "any"))
    columns.append(("last reply", lambda row: row.last_reply))
    yield from _table(
        [title for title, _ in columns],
        [[cell(row) for _, cell in columns] for row in answer.rows],
        left=[n for n, (title, _) in enumerate(columns) if title not in ("tries", "priority")],
    )
    yield ""
    more = "; there are more, see --maxitems" if answer.has_more else ""
    yield f"{len(answer.rows)} recipients{more}."
    yield from list_notes(answer)


def _reload(answer: ReloadAnswer) -> Iterator[str]:
    yield "Configuration reloaded."
    yield from answer.remarks
    for directive in answer.needs_restart:
        yield f"{directive}: takes effect at the next start"


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int]
) -> Iterator[str]:
    """Columns as wide as their widest cell; the last one is not filled up."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    # A long last column (an error text) gets no long ruler: terminals are narrow.
    rulers = ["-" * width for width in (*widths[:-1], min(widths[-1], 40))]
    for row in (titles, rulers, *rows):
        yield " ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
