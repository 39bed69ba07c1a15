"""Why a queue does or does not move, from its state alone."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mta.admin.answers import Event, Explanation, Redirection, Setting
from mta.admin.tree import printed_time
from mta.daemon import limit_use, ways, x_schedule
from mta.errors import ResolveError
from mta.model.refusal import Refusal
from mta.queues.disabling import BY_OPERATOR
from mta.queues.trials import TRIAL
from mta.routing.redirect import BACKOFF_REROUTE, MX, REROUTE

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.hosts import HostFinder
    from mta.model.message import Recipient
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler

HOSTS_SHOWN_MAX = 20
X_SCHEDULE = "x-schedule"
ON_TRIAL = "since it failed, or the start, no connection came up: one is tried first, in turn"


def refusal(queue: "Queue", configuration: "Configuration", now: float) -> Refusal | None:
    """The one thing that keeps a queue from moving now; None if nothing does."""
    scope = str(queue.key)
    if not queue.recipients:
        return None
    if queue.is_paused:
        return Refusal("paused", scope, None, "an operator; see `resume queue`")
    if queue.departure is not None and queue.departure.holds:
        directive = queue.departure.directive or MX
        return Refusal(directive, scope, None, ways.place(directive, queue.key, configuration))
    if queue.is_undeliverable:
        return refused("type", scope, None, queue, configuration)
    if queue.retry_at is not None:
        return refused(queue.retry_directive, scope, queue.retry_at, queue, configuration)
    waiting = queue.recipients - queue.in_flight
    if waiting <= 0:
        return None
    if not queue.backlog.ready(now) and queue.backlog.is_complete:
        soonest = queue.backlog.soonest()
        if soonest is None:
            return refused("retry-recipients-after", scope, None, queue, configuration)
        return not_due(soonest, soonest.due, queue, configuration)
    if queue.blocked_by is None:
        return None
    until = queue.blocked_until
    if until is not None and until <= now:
        if queue.line is None:
            return None
        until = None  # Others have come before it in the line since it was refused.
    directive, scope = queue.blocked_by
    return refused(directive, scope, until, queue, configuration)


def not_due(
    recipient: "Recipient", due: float, queue: "Queue", configuration: "Configuration"
) -> Refusal:
    """Why a recipient is not due before a time: its schedule, or a try that failed."""
    scope, windows = str(queue.key), recipient.envelope.windows
    for window in windows:
        if window[0] == due:
            return Refusal(X_SCHEDULE, scope, due, f"window {x_schedule.printed((window,))}")
    if windows and due >= windows[-1][1]:
        return Refusal(X_SCHEDULE, scope, windows[-1][1], "no window is left")
    return refused("retry-recipients-after", scope, due, queue, configuration)


def refused(
    directive: str, scope: str, until: float | None, queue: "Queue", configuration: "Configuration"
) -> Refusal:
    """That a directive says no, with the line it stands at, or the reply and the line."""
    if directive == "disable-source-ip":
        return Refusal(directive, scope, until, next(iter(queue.disabled_by.values()), ""))
    if directive == TRIAL:
        return Refusal(directive, scope, until, ON_TRIAL)
    return Refusal(directive, scope, until, limit_use.place(directive, scope, queue, configuration))


def explain(
    queue: "Queue", scheduler: "Scheduler", configuration: "Configuration", now: float
) -> Explanation:
    """Everything known of a queue without asking disk or network."""
    why = refusal(queue, configuration, now)
    next_at, next_event = _next(queue, why, now)
    is_backoff = queue.mode == "backoff"
    return Explanation(
        now=now,
        queue=queue.key,
        recipients=queue.recipients,
        recipients_due=queue.backlog.ready(now) if queue.backlog.is_complete else None,
        octets=queue.octets,
        connections=len(queue.connections),
        in_flight=queue.in_flight,
        mode="backoff" if is_backoff else "normal",
        mode_since=queue.mode_since,
        mode_until=queue.backoff_until,
        mode_reason=queue.mode_reason,
        pace="paused" if queue.is_paused else "retrying" if queue.retry_at is not None else "ready",
        pace_until=queue.retry_at,
        pace_reason="an operator paused it" if queue.is_paused else queue.retry_reason,
        limits=limit_use.uses(queue, scheduler, configuration, now),
        refusal=why,
        next_at=next_at,
        next_event=next_event,
        sources=tuple(_source(queue, source.ip, source.helo) for source in queue.sources),
        events=tuple(Event(e.time, e.text, e.kind) for e in queue.events),
    )


def with_settings(
    explanation: Explanation,
    *,
    settings: tuple[Setting, ...],
    leads: tuple[Redirection, ...],
    hosts: tuple[str, ...],
    signing: tuple[str, ...],
) -> Explanation:
    """The explanation, with what had to be looked up for it."""
    return replace(explanation, settings=settings, ways=leads, hosts=hosts, signing=signing)


async def hosts(queue: "Queue", finder: "HostFinder") -> tuple[str, ...]:
    """The hosts the next connection would try, in order; or why there are none."""
    found = []
    try:
        async for host in finder.find(queue, queue.sources[0].ip):
            skipped = queue.skipped.get(host.name)
            found.append(f"{host} (passed over by skip-mx)" if skipped else str(host))
            if len(found) >= HOSTS_SHOWN_MAX:
                break
    except ResolveError as error:
        return (str(error),)
    return tuple(found)


def _next(queue: "Queue", why: Refusal | None, now: float) -> tuple[float | None, str]:
    if not queue.recipients:
        return None, "an operator resumes it" if queue.is_paused else "mail arrives"
    if why is None:
        return now, "it is moving"
    if why.until is not None:
        return why.until, f"{why.directive} lets the next through"
    return None, {
        "paused": "an operator resumes it",
        MX: "the mail hosts of its domain are looked up, and its mail moved if they say so",
        REROUTE: "its mail is moved",
        BACKOFF_REROUTE: "its mail is moved",
        TRIAL: "its turn comes, or the connection comes up that is tried first",
        "type": "a version that delivers so, or another type",
        "disable-source-ip": "a source address is enabled again",
    }.get(why.directive, f"a connection of {why.scope} ends")


def _source(queue: "Queue", ip: str, helo: str) -> str:
    text = f"{ip or 'chosen by the system'} {helo}"
    if ip not in queue.disabled:
        return text
    until = queue.disabled[ip]
    when = "" if until is None else f" until {printed_time(until)}"
    return f"{text} (disabled{when}: {queue.disabled_by.get(ip, BY_OPERATOR)})"
