"""Answers as trees of named values: what dom, XML and JSON have in common.

Names and their order are those of PowerMTA where it has them, so that programs written
for it read ours; times are `YYYY-MM-DD HH:MM:SS` in local time, sizes kilobytes with one
decimal. A list stands under its singular; JSON alone uses the plural. What is absent
(None) is left out.
"""

import os
import platform
import time
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Final, NamedTuple, assert_never

import mta
from mta import ids
from mta.admin.answers import (
    Answer,
    Changed,
    CommandDone,
    Connections,
    DirectiveAnswer,
    DisabledSourcesAnswer,
    DomainRow,
    DomainsAnswer,
    Event,
    Explanation,
    ListAnswer,
    ListedRecipient,
    MessageExplanation,
    QueueRow,
    QueuesAnswer,
    QueueTotals,
    RecipientEvent,
    ReloadAnswer,
    SettingsAnswer,
    StatusAnswer,
    Traffic,
    TrafficPeriod,
    VersionAnswer,
    VmtaRow,
    VmtasAnswer,
)
from mta.admin.job_answers import JobRow, JobsAnswer
from mta.model.queue_key import QueueKey
from mta.model.refusal import Refusal


class YesNo(NamedTuple):
    """A truth value that is written yes or no, where others are 0 or 1."""

    value: bool


Node = str | int | float | bool | YesNo | list["Node"] | dict[str, "Node"] | None

DELIVERY_TYPES: Final = (
    "smtp", "pipe", "discard", "file", "alias", "bounceProcessor", "feedbackLoopProcessor",
)  # fmt: skip


def printed_time(moment: float) -> str:
    """Local time to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def kilobytes(octets: int) -> float:
    """Octets as PowerMTA shows them: units of 1,024 with one decimal."""
    return round(octets / 1024, 1)


def percent_of_total(recipients: int, total: int) -> int:
    """A share in whole percent; zero of nothing is zero."""
    return round(100 * recipients / total) if total else 0


def tree(answer: Answer) -> dict[str, Node]:
    """The answer's named values; empty for one that is only a sentence."""
    match answer:
        case StatusAnswer():
            product = _product(answer.host_name, answer.user_string)
            return {"mta": product, "status": _status(answer)}
        case VersionAnswer():
            return _product(answer.host_name, "")
        case QueuesAnswer():
            return {
                "title": answer.title or None,
                "queue": [_queue(row, answer) for row in answer.rows],
                "totalRcp": answer.total_recipients,
                "totalQueuesWithRcp": answer.total_queues,
            }
        case DomainsAnswer():
            rows = answer.rows
            return {"domain": [_domain(row, with_events=answer.shows_events) for row in rows]}
        case VmtasAnswer():
            return {"vmta": [_vmta(row, answer.total_recipients) for row in answer.rows]}
        case JobsAnswer():
            return {"job": [_job(row) for row in answer.rows]}
        case DisabledSourcesAnswer():
            return {"source": [_generic(row) for row in answer.rows]}
        case ListAnswer():
            with_schedule = answer.shows_schedule
            return {"msg": [_listed(row, with_schedule=with_schedule) for row in answer.rows]}
        case (
            SettingsAnswer()
            | DirectiveAnswer()
            | Explanation()
            | MessageExplanation()
            | ReloadAnswer()
            | Changed()
        ):
            return _generic(answer)
        case CommandDone():
            return {}
        case _:
            assert_never(answer)


def _product(host_name: str, user_string: str) -> dict[str, Node]:
    uname = platform.uname()
    return {
        "product": {
            "name": "Petrel",
            "version": mta.__version__,
            "buildDate": "",
            "revision": "",
            "bits": 64 if platform.architecture()[0] == "64bit" else 32,
        },
        "lak": {"serial": "", "instances": 1},
        "os": {"name": uname.system, "version": uname.release, "build": uname.version},
        "cpu": {"type": uname.machine, "count": os.cpu_count() or 1},
        "ram": {"real": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024},
        "fullHostName": host_name,
        "userString": user_string,
        "hostId": 0,
    }


def _status(answer: StatusAnswer) -> Node:
    traffic: dict[str, Node] = {
        "total": _period(answer.total),
        "lastHr": _period(answer.last_hour),
        "lastMin": _period(answer.last_minute),
        "topPerHr": _period(answer.top_hour),
        "topPerMin": _period(answer.top_minute),
        # Nobody measures these; PowerMTA, too, has zeros, and programs read every name.
        "perf": {"lastMin": {"in": {"count": 0, "mailFromTime": 0, "dataTime": 0, "totalTime": 0}}},
    }
    totals = {kind: answer.queues.get(kind, QueueTotals()) for kind in DELIVERY_TYPES}
    return {
        "timeNow": printed_time(answer.now),
        "startupTime": printed_time(answer.started),
        "shuttingDown": answer.is_stopping,
        "traffic": traffic,
        "conn": {"smtpIn": _connections(answer.inbound), "smtpOut": _connections(answer.outbound)},
        "resolver": {
            "namesCached": answer.names_cached,
            "queriesPending": answer.names_pending,
            "queriesActive": answer.names_pending,
        },
        "queue": {
            kind: {"rcp": t.recipients, "dom": t.domains, "kb": kilobytes(t.octets)}
            for kind, t in totals.items()
        },
        "spool": {
            "initPct": 100,
            "dirs": answer.spool_directories,
            "files": {
                "inUse": answer.spool_messages,
                "recycled": 0,
                "total": answer.spool_messages,
            },
            "totalRcp": answer.spool_recipients,
            "maxRcp": answer.spool_recipients_max,
        },
        "status": "stopping" if answer.is_stopping else "running",
    }


def _period(period: TrafficPeriod) -> Node:
    return {
        "out": _traffic(period.outbound),
        "in": _traffic(period.inbound),
        "bounceProcessed": 0,
        "feedbackLoopProcessed": 0,
    }


def _traffic(traffic: Traffic) -> Node:
    return {"rcp": traffic.recipients, "msg": traffic.messages, "kb": kilobytes(traffic.octets)}


def _connections(connections: Connections) -> Node:
    return {"cur": connections.active, "max": connections.maximum, "top": connections.top}


def _queue(row: QueueRow, answer: QueuesAnswer) -> Node:
    with_events = answer.shows_events or answer.shows_mode_events
    return {
        "name": str(row.key),
        "rcp": row.recipients,
        "kb": kilobytes(row.octets),
        "conn": row.connections,
        "event": _events(answer.shown(row)) if with_events else None,
        "rcptEvent": [_recipient_event(event) for event in row.recipient_events] or None,
        "refusal": _refusal(row.refusal),
        "paused": YesNo(row.is_paused),
        "mode": row.mode,
        "retryTime": printed_time(row.retry_at) if row.retry_at else None,
    }


def _domain(row: DomainRow, *, with_events: bool) -> Node:
    return {
        "name": row.domain,
        "rcp": row.recipients,
        "kb": kilobytes(row.octets),
        "conn": row.connections,
        "event": _events(row.events) if with_events else None,
    }


def _job(row: JobRow) -> Node:
    return {"name": row.name, "rcp": row.recipients, "kb": kilobytes(row.octets)}


def _events(events: Sequence[Event]) -> Node:
    return [{"type": e.kind, "time": printed_time(e.time), "text": e.text} for e in events]


def _recipient_event(event: RecipientEvent) -> Node:
    return {
        "type": event.kind,
        "time": printed_time(event.time),
        "sourceIp": event.source_ip,
        "rcpt": event.address,
        "jobId": event.job_id,
        "mta": event.mta,
        "text": event.text,
    }


def _refusal(refusal: Refusal | None) -> Node:
    return None if refusal is None else _generic(refusal)


def _vmta(row: VmtaRow, total: int) -> Node:
    return {
        "name": row.name,
        "dom": row.domains,
        "rcp": row.recipients,
        "pctOfTotal": percent_of_total(row.recipients, total),
        "kb": kilobytes(row.octets),
        "conn": row.connections,
    }


def _listed(row: ListedRecipient, *, with_schedule: bool) -> Node:
    number = ids.printed(row.message_id)
    return {
        "queue": str(row.queue),
        "orig": row.mail_from,
        "rcpt": row.address,
        "file": number,  # PowerMTA names a spool file here; what names a message of ours is this
        "timeQueued": printed_time(row.time_queued),
        "header_subject": row.subject,
        "priority": row.priority,
        "schedule": row.schedule if with_schedule else None,
        "id": number,
        "jobId": row.job_id,
        "envId": row.env_id,
        "kb": kilobytes(row.size),
        "due": printed_time(row.due),
        "attempts": row.attempts,
        "lastReply": row.last_reply,
    }


_TIMES: Final = frozenset({
    "now", "until", "since", "due", "time", "time_queued", "bounce_at", "next_at", "expected_at",
    "mode_since", "mode_until", "pace_until", "binds_until",
})  # fmt: skip
_SINGULAR: Final = {
    "hides": "hidden",
    "tries": "try",
    "queues": "queue",
    "needs_restart": "needsRestart",
}


def _generic(value: object) -> dict[str, Node]:
    """A value of our own making: its fields, in camel case."""
    assert is_dataclass(value)
    node: dict[str, Node] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        node[_name(field.name, content)] = _node(field.name, content)
    return node


def _node(name: str, content: object) -> Node:
    match content:
        case None:
            return None
        case QueueKey():
            return str(content)
        case tuple():
            return [_node("", item) for item in content]
        case int() | float() if name in _TIMES:
            return printed_time(content)
        case int() if name == "message_id":
            return ids.printed(content)
        case bool() | int() | float() | str():
            return content
        case _:
            return _generic(content)


def _name(name: str, content: object) -> str:
    if isinstance(content, tuple) and not isinstance(content, QueueKey):
        name = _SINGULAR.get(name, name.removesuffix("s"))
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
