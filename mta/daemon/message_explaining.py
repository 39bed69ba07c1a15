"""Why a message waits, recipient by recipient, what was tried, and when it is likely to go."""

from typing import TYPE_CHECKING, NamedTuple

from mta import clock
from mta.admin.answers import (
    COUNTED_BEFORE_MAX,
    EXPLAINED_RECIPIENTS_MAX,
    Explanation,
    MessageExplanation,
    PastTry,
    RecipientExplanation,
)
from mta.daemon import explaining, limit_use, x_schedule
from mta.units import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mta.daemon.shard import Shard
    from mta.model.attempt import Try
    from mta.model.message import Envelope, Recipient
    from mta.model.queue_key import QueueKey
    from mta.model.refusal import Refusal
    from mta.queues.queue import Queue

STAGED = "the worker that owns its queue has not taken it yet (workers)"
PLACES_MAX = 10
"""Recipients whose place in their queue is counted, a few milliseconds for each."""

WITHOUT_END = ("paused", "type", "disable-source-ip")
"""What keeps a queue from moving until somebody does something, if no time is given."""


class Pace(NamedTuple):
    """How many recipients a second a queue attempts, and how that is known."""

    per_s: float
    text: str


async def explain(
    shard: "Shard",
    envelope: "Envelope",
    recipients: "list[Recipient]",
    queues: "Mapping[QueueKey, Explanation]",
) -> MessageExplanation:
    """Of the recipients that wait, those in `queues` are this shard's to speak of."""
    number = envelope.message_id
    tries = await shard.spool.tries.of(number)
    shown = recipients[:EXPLAINED_RECIPIENTS_MAX]
    places = {
        r.recipient_id: await shard.spool.tries.before(r, COUNTED_BEFORE_MAX)
        for r in shown[:PLACES_MAX]
        if r.queue in queues
    }
    now = clock.now()
    ages = [envelope.expires_at(shard.configuration.domain(key).bounce_after) for key in queues]
    return MessageExplanation(
        now=now,
        message_id=number,
        mail_from=envelope.mail_from,
        time_queued=envelope.time_queued,
        size=envelope.size,
        job_id=envelope.job_id,
        env_id=envelope.env_id,
        vmta_by=envelope.vmta_by,
        schedule=x_schedule.printed(envelope.windows),
        bounce_at=min(ages, default=None),
        recipients=tuple(
            _recipient(shard, r, places.get(r.recipient_id), tries.get(r.recipient_id, ()), now)
            if r.queue in queues
            else RecipientExplanation(
                address=r.address, queue=r.queue, attempts=r.attempts, due=r.due, why=STAGED
            )
            for r in shown
        ),
        recipients_total=len(recipients),
        queues=tuple(queues.values()),
    )


def _recipient(
    shard: "Shard",
    recipient: "Recipient",
    before: int | None,
    tries: "list[Try] | tuple[()]",
    now: float,
) -> RecipientExplanation:
    queue = shard.scheduler.queue(recipient.queue, now)
    number = recipient.recipient_id
    why = refusal(queue, recipient, shard, now)
    next_at = earliest(recipient, why, now)
    pace = pace_of(queue, shard, now)
    expected_at = next_at
    if before and next_at is not None:
        expected_at = next_at + before / pace.per_s if pace.per_s else None
    return RecipientExplanation(
        address=recipient.address,
        queue=recipient.queue,
        attempts=recipient.attempts,
        due=recipient.due,
        last_reply=recipient.last_reply,
        is_in_flight=any(
            r.recipient_id == number for c in queue.connections.values() for r in c.batch
        ),
        tries=tuple(PastTry(*one) for one in tries),
        refusal=why,
        next_at=next_at,
        before=before,
        pace=pace.text,
        expected_at=expected_at,
    )


def refusal(queue: "Queue", recipient: "Recipient", shard: "Shard", now: float) -> "Refusal | None":
    """The directive that keeps one recipient waiting longest of those known now."""
    why = explaining.refusal(queue, shard.configuration, now)
    due = recipient.envelope.opens_at(max(now, recipient.due))
    if due <= now:
        return why
    if why is not None and (why.directive in WITHOUT_END if why.until is None else why.until > due):
        return why
    return explaining.not_due(recipient, due, queue, shard.configuration)


def earliest(recipient: "Recipient", why: "Refusal | None", now: float) -> float | None:
    """When it can be tried at the earliest; None if that depends on an event, or never."""
    if why is not None and why.until is None:
        return None
    until = now if why is None or why.until is None else why.until
    at = recipient.envelope.opens_at(max(now, recipient.due, until))
    return at if at < float("inf") else None


def pace_of(queue: "Queue", shard: "Shard", now: float) -> Pace:
    """The slowest of what its rates permit and what it lately did; 0 if nothing is known."""
    found = []
    measured = queue.tempo.per_second(now)
    if measured:
        found.append(Pace(measured, f"{measured:.2g}/s, as it went lately"))
    for limit in queue.rates:
        if isinstance(limit.ceiling, Rate):
            directive, rate = limit.directive, limit.ceiling
            place = limit_use.place(directive, limit.scope, queue, shard.configuration)
            text = f"{rate}, {directive} ({place or 'default'})"
            found.append(Pace(rate.limit / rate.per_s, text))
    return min(found, default=Pace(0.0, ""))
