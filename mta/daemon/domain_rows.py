"""What the queues of a domain, or of a VirtualMTA, add up to, for operators."""

import asyncio
from typing import TYPE_CHECKING

from mta.admin.answers import DomainRow, Event, RecipientEvent, VmtaRow
from mta.admin.operations import DomainSum

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from mta.queues.queue import Queue

QUEUES_AT_ONCE = 2000
"""Queues looked at in one go, which takes some milliseconds."""


async def sums_in_turns(by_domain: "dict[str, list[Queue]]") -> "AsyncIterator[list[DomainSum]]":
    """Of some domains at a time: between, the mail has its turn."""
    names = list(by_domain)
    for start in range(0, len(names), QUEUES_AT_ONCE):
        yield [
            (
                name,
                sum(queue.recipients for queue in by_domain[name]),
                sum(queue.octets for queue in by_domain[name]),
                sum(len(queue.connections) for queue in by_domain[name]),
            )
            for name in names[start : start + QUEUES_AT_ONCE]
        ]
        await asyncio.sleep(0)


def row(one: DomainSum, queues: "list[Queue]", *, all_events: bool) -> DomainRow:
    """With its events, which are looked for only where they are shown."""
    name, recipients, octets, connections = one
    found = sorted((e for queue in queues for e in events(queue)), key=lambda e: -e.time)
    return DomainRow(
        domain=name,
        recipients=recipients,
        octets=octets,
        connections=connections,
        events=tuple(found if all_events else found[:1]),
    )


def events(queue: "Queue") -> tuple[Event, ...]:
    """Those a queue remembers, the newest first."""
    return tuple(Event(event.time, event.text, event.kind) for event in queue.events)


def recipient_events(queue: "Queue") -> tuple[RecipientEvent, ...]:
    """What became of the last recipients of a queue, the newest first."""
    return tuple(RecipientEvent(*event) for event in queue.recipient_events or ())


def vmtas(names: "Iterable[str]", by_vmta: "Mapping[str, list[Queue]]") -> list[VmtaRow]:
    """A row for each of the names, in that order."""
    rows = []
    for name in names:
        group = by_vmta.get(name, [])
        row = VmtaRow(
            name=name,
            domains=len({queue.key.domain for queue in group if queue.recipients}),
            recipients=sum(queue.recipients for queue in group),
            octets=sum(queue.octets for queue in group),
            connections=sum(len(queue.connections) for queue in group),
        )
        rows.append(row)
    return rows
