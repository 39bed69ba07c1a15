"""Where mail for a queue goes instead, in an operator's words and with the lines that say so."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mta.admin.answers import Redirection
from mta.model.queue_key import QueueKey
from mta.routing.redirect import COLD, MX, QUEUE_TO, Edge
from mta.settings.directive import directives
from mta.settings.domain import DomainSettings

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.router import Router

COLD_LIMIT = "max-cold-virtual-mta-msg"


def of(key: QueueKey, router: "Router", configuration: "Configuration") -> tuple[Redirection, ...]:
    """All steps for new mail, and what a queue says that is ignored."""
    return tuple(_steps(key, router, configuration))


def end(key: QueueKey, router: "Router") -> QueueKey:
    """The queue whose hosts serve mail for a queue; of a pool's members, the first."""
    for _, edge in router.redirects.outlook(key):
        key = edge.targets[0]
    return key


def place(directive: str, key: QueueKey, configuration: "Configuration") -> str:
    """Where a directive that sends mail of a queue elsewhere is written, as `file:line`."""
    if directive == MX:
        return next((str(at) for _, at in configuration.parts.rollup_rules), "")
    found = configuration.domain_places(key).get(directive)
    return str(found) if found else ""


def _steps(
    key: QueueKey, router: "Router", configuration: "Configuration"
) -> Iterator[Redirection]:
    redirects = router.redirects
    if configuration.vmta(key.vmta) is None and not redirects.outlook(key):
        note = "it is not in the configuration any more; mail in it bounces when it is tried next"
        yield Redirection(directive="virtual-mta", value=key.vmta, note=note)
    if redirects.is_orphan(key):
        directive = redirects.leads_away(key)
        note = (
            "no line names this queue any more; mail in it goes to its recipients' domains"
            if directive == MX
            else "queues are named with A-labels now; mail in it goes to its recipients' domains"
        )
        yield Redirection(directive=directive, value=key.domain, note=note)
        return
    outlook = redirects.outlook(key)
    yield from (_step(at, edge, configuration) for at, edge in outlook)
    renamed = key
    for _, edge in outlook:
        if edge.directive not in (QUEUE_TO, MX):
            break
        renamed = edge.targets[0]
    yield from _cold(renamed, router, configuration)
    for at, directive in redirects.ignored(key):
        yield _ignored(at, directive, configuration)
    if redirects.must_look_up(renamed):
        note = f"whether {renamed.domain} is rolled up is not known: the DNS did not say yet"
        yield Redirection(directive=MX, value="", note=note)


def _step(at: QueueKey, edge: Edge, configuration: "Configuration") -> Redirection:
    target = edge.targets[0]
    rules = configuration.parts.rollup_rules
    lines = [line for rule, line in rules if rule.queue == target.domain]
    is_mx = edge.directive == MX and lines
    return Redirection(
        directive=edge.directive,
        value=_value(at, edge.directive, configuration, target),
        place=str(lines[0]) if is_mx else place(edge.directive, at, configuration),
        targets=edge.targets,
    )


def _cold(key: QueueKey, router: "Router", configuration: "Configuration") -> Iterator[Redirection]:
    """What the cold VirtualMTAs of a queue's take of new mail."""
    limits = configuration.domain(key).max_cold_virtual_mta_msg
    if not any(limits):
        return
    printed = directives(DomainSettings)[COLD_LIMIT].printed(limits)
    where = place(COLD_LIMIT, key, configuration)
    given = configuration.cold_places(key.vmta)
    part = f" (the part of one of {router.shards} workers)" if router.shards > 1 else ""
    for count, limit in router.colds(key):
        left = max(0, limit - count.messages)
        yield Redirection(
            directive=COLD,
            value=count.cold,
            place=str(given.get(count.cold.lower(), "")),
            targets=(QueueKey(key.domain, count.cold),),
            note=f"{count.messages} of {limit} messages today, {left} left{part}; day "
            f"{count.position + 1} of {COLD_LIMIT} {printed}{f' ({where})' if where else ''}",
            is_partial=True,
        )


def _ignored(at: QueueKey, directive: str, configuration: "Configuration") -> Redirection:
    return Redirection(
        directive=directive,
        value=_value(at, directive, configuration, at),
        place=place(directive, at, configuration),
        note=f"ignored: from there mail for {at} would come back",
    )


def _value(at: QueueKey, directive: str, configuration: "Configuration", to: QueueKey) -> str:
    if directive == MX:
        rules = configuration.parts.rollup_rules
        return ", ".join(rule.pattern for rule, _ in rules if rule.queue == to.domain)
    value: str = getattr(configuration.domain(at), directive.replace("-", "_"))
    return value
