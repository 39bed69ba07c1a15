"""Every limit on a queue's way: what it is, where it is written, and its use now."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mta import units
from mta.admin.answers import LimitUse
from mta.queues.limits import RateLimit, Slots
from mta.queues.queue import CONNECT_RATE, DATA_RATE, MSG_RATE

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.net.slots import Places
    from mta.queues.queue import Queue
    from mta.queues.scheduler import Scheduler
    from mta.queues.trials import Trials

SOURCES_SHOWN_MAX = 20
"""Source addresses whose limits are shown: those in use and those next in turn come first."""


def uses(
    queue: "Queue", scheduler: "Scheduler", configuration: "Configuration", now: float
) -> tuple[LimitUse, ...]:
    """The limits of a queue, from the queue outwards; those of hosts if it meets any."""
    found = [_connections(queue, configuration)]
    found += [_use(limit, queue, configuration, now) for limit in _limits(queue, scheduler)]
    interval = queue.settings.smtp_out_rampup_interval
    if interval:
        found.insert(1, _rampup(queue, interval, configuration, now))
    if queue.is_on_trial:
        found += [_turns(one) for one in (queue.budget.trials, scheduler.gate.trials)]
    return tuple(found)


def inbound(clients: "Places", configuration: "Configuration") -> LimitUse:
    """How many clients are connected: no limit of a queue, but what it holds back comes late."""
    directive = "total-max-smtp-in"
    found = configuration.root_places.get(directive)
    return LimitUse(
        directive=directive,
        scope="total",
        used=str(clients.used),
        ceiling="unlimited" if clients.whole == units.UNLIMITED else str(clients.whole),
        place=str(found) if found else "",
        is_exhausted=clients.is_exhausted,
        here=_here(clients),
    )


def place(directive: str, scope: str, queue: "Queue", configuration: "Configuration") -> str:
    """Where a limit is written, as `file:line`; empty for a default."""
    if directive in ("total-max-smtp-out", "mx-connection-limit", "ip-connection-limit"):
        places = configuration.root_places
    elif scope == queue.key.vmta:
        places = configuration.vmta_places(scope)
        # In the dialect of simple files a VirtualMTA's cap is spelled max-msg-rate.
        if directive == "max-smtp-msg-rate" and places.get(directive) is None:
            directive = "max-msg-rate"
    else:
        places = configuration.domain_places(queue.key)
        # The backoff rates are the normal ones where not given; the others have their own default.
        if directive.endswith("-rate") and places.get(directive) is None:
            directive = directive.removeprefix("backoff-")
    found = places.get(directive)
    return str(found) if found else ""


def _here(limit: "Slots | Places") -> str:
    """What of it this worker may use, where it shares it with others."""
    is_shared = limit.part.is_lent and limit.whole != units.UNLIMITED
    return str(limit.ceiling) if is_shared else ""


def _turns(trials: "Trials") -> LimitUse:
    """How many queues on trial have their turn, and how many wait for it."""
    return LimitUse(
        directive=trials.directive,
        scope=trials.scope,
        used=str(len(trials.turns)),
        ceiling=str(trials.ceiling),
        place="",
        is_exhausted=len(trials.turns) >= trials.ceiling,
        waiting=len(trials.line.places),
    )


def _limits(queue: "Queue", scheduler: "Scheduler") -> Iterator[Slots | RateLimit]:
    own = (queue.msg_limit, queue.data_limit, queue.connect_limit)
    for limit, name in zip(own, (MSG_RATE, DATA_RATE, CONNECT_RATE), strict=True):
        yield limit or RateLimit(queue.directive(name), str(queue.key), "domain")
    for source in queue.sources[:SOURCES_SHOWN_MAX]:
        limits = queue.source_limits.get(source.ip)
        if limits is not None:
            every = (limits.slots, limits.msg, limits.data, limits.connect)
            yield from (one for one in every if _is_limit(one))
    yield queue.budget.slots
    yield queue.budget.msg
    yield queue.budget.data
    yield scheduler.gate.total
    hosts = [slots for full in queue.crowded.values() for slots in full]
    for connection in queue.connections.values():
        hosts += connection.host_slots
    yield from dict.fromkeys(hosts)


def _is_limit(limit: Slots | RateLimit) -> bool:
    if isinstance(limit, Slots):
        return limit.ceiling != units.UNLIMITED
    return limit.ceiling is not None


def _use(
    limit: Slots | RateLimit, queue: "Queue", configuration: "Configuration", now: float
) -> LimitUse:
    where = place(limit.directive, limit.scope, queue, configuration)
    waiting = 0 if limit.line is None else len(limit.line.places)
    if isinstance(limit, Slots):
        return LimitUse(
            directive=limit.directive,
            scope=limit.scope,
            used=str(limit.used),
            ceiling="unlimited" if limit.whole == units.UNLIMITED else str(limit.whole),
            place=where,
            # A lease is small until somebody waits: that alone is no trouble.
            is_exhausted=limit.is_exhausted and (waiting > 0 or not limit.part.is_lent),
            waiting=waiting,
            here=_here(limit),
        )
    is_exhausted = limit.ceiling is not None and limit.permits(1, now) <= 0
    is_exhausted = is_exhausted and (waiting > 0 or not limit.part.is_lent)
    return LimitUse(
        directive=limit.directive,
        scope=limit.scope,
        used="" if limit.ceiling is None else limit.use(now),
        ceiling="unlimited" if limit.ceiling is None else str(limit.ceiling),
        place=where,
        binds_until=limit.rate.until(now) if is_exhausted else None,
        is_exhausted=is_exhausted,
        waiting=waiting,
        here="" if limit.ceiling is None or not limit.part.is_lent else str(limit.share),
    )


def _connections(queue: "Queue", configuration: "Configuration") -> LimitUse:
    directive, scope = queue.directive("max-smtp-out"), str(queue.key)
    ceiling = queue.pace.max_smtp_out
    return LimitUse(
        directive=directive,
        scope=scope,
        used=str(len(queue.connections)),
        ceiling="unlimited" if ceiling == units.UNLIMITED else str(ceiling),
        place=place(directive, scope, queue, configuration),
        is_exhausted=len(queue.connections) >= ceiling,
    )


def _rampup(queue: "Queue", interval: int, configuration: "Configuration", now: float) -> LimitUse:
    directive, scope = "smtp-out-rampup-interval", str(queue.key)
    until = None if queue.opened_at is None else queue.opened_at + interval
    is_exhausted = until is not None and until > now
    return LimitUse(
        directive=directive,
        scope=scope,
        used="1" if is_exhausted else "0",
        ceiling=f"1 connection in {units.print_interval(interval)}",
        place=place(directive, scope, queue, configuration),
        binds_until=until if is_exhausted else None,
        is_exhausted=is_exhausted,
    )
