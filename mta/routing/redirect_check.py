"""Finds directives that send mail nowhere, or round in a circle."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from mta.config.block import Block
from mta.config.configuration import Configuration, DomainIndex
from mta.config.patterns import EVERY, network_of
from mta.config.place import Diagnostic, Diagnostics, Place
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.routing.redirect import BACKOFF_REROUTE, QUEUE_TO, Loop, Redirects
from mta.routing.rollup import RollupList

QUEUES_MAX: Final = 20_000
"""Queues walked from in search of circles: a second's work."""
VMTAS_MAX: Final = 1000
"""VirtualMTAs a rollup queue is looked at in."""
_NO_DOMAIN: Final = (".queue", ".rollup", ".local", ".invalid")
_REROUTING: Final = ("queue_to", "reroute_to_virtual_mta", "backoff_reroute_to_virtual_mta")


def check(configuration: Configuration) -> tuple[Diagnostic, ...]:
    """What is to be said, by place."""
    diagnostics = Diagnostics()
    _check_rollups(configuration, diagnostics)
    for vmtas, block in _blocks(configuration):
        _check_queue_to(block, vmtas[0], configuration, diagnostics)
    _check_circles(configuration, diagnostics)
    _check_colds(configuration, diagnostics)
    return diagnostics.in_order()


def _check_rollups(configuration: Configuration, diagnostics: Diagnostics) -> None:
    rules = configuration.parts.rollup_rules
    rollup = RollupList(rule for rule, _ in rules)
    for rule, place in rules:
        queue = rollup.queue(rule.queue)
        assert queue is not None
        if rule.by_ip and configuration.root.workers != 1:
            diagnostics.warning(
                place,
                f"mx {rule.pattern}: with several workers rollup-by-ip rolls nothing up",
                hint=f"use `workers 1`, or give <domain {rule.queue}> smtp-hosts instead",
            )
        if not rule.is_wildcard or queue.by_ip:
            if not rule.is_wildcard and queue.has_wildcard:
                text = f"{rule.queue} has wildcards, too, so this is one of several hosts"
                diagnostics.note(place, f"mx {rule.pattern}: {text}; none of them must be there")
            continue
        names = list(islice(configuration.vmta_names(), VMTAS_MAX))
        without = [
            name
            for name in names
            if not configuration.domain(QueueKey(rule.queue, name)).smtp_hosts
        ]
        if without:
            where = "" if len(without) == len(names) else f" in VirtualMTA {without[0]}"
            diagnostics.warning(
                place,
                f"mx {rule.pattern}: {rule.queue} has no smtp-hosts{where}, so nothing is "
                "rolled up into it",
                hint=f"give <domain {rule.queue}> smtp-hosts such as "
                f"lookup-mx:{rule.pattern.lstrip('*.') or 'example.com'}, or add rollup-by-ip",
            )


def _check_queue_to(
    block: Block, vmta: str, configuration: Configuration, diagnostics: Diagnostics
) -> None:
    name, place = block.values.get("queue_to", ""), block.place_of("queue_to")
    if not name or place is None:
        return
    if name.startswith("{"):
        diagnostics.warning(place, f"queue-to {name} is not in force yet; the mail stays")
        return
    key = QueueKey(name, vmta)
    settings = configuration.domain(key)
    if settings.queue_to not in ("", name):
        further = configuration.domain_places(key).get(QUEUE_TO)
        diagnostics.warning(
            place,
            f"queue-to is one hop: mail goes to {name} and no further, although {name} says "
            f"queue-to {settings.queue_to}{f' ({further})' if further else ''}",
        )
    listed = any(rule.queue == name for rule, _ in configuration.parts.rollup_rules)
    if not settings.smtp_hosts and not listed and ("." not in name or name.endswith(_NO_DOMAIN)):
        diagnostics.warning(
            place,
            f"queue-to {name}: there is no such domain, and no smtp-hosts says where its mail goes",
            hint=f"give <domain {name}> smtp-hosts",
        )


def _check_circles(configuration: Configuration, diagnostics: Diagnostics) -> None:
    found: dict[tuple[Place, str], Loop] = {}

    def note(loop: Loop) -> None:
        place = configuration.domain_places(loop.key).get(loop.directive)
        if place is not None:
            found.setdefault((place, loop.directive), loop)

    redirects = Redirects(configuration, RollupList(), in_backoff=lambda _: True, on_loop=note)
    for key in islice(_queues(configuration), QUEUES_MAX):
        redirects.outlook(key)
    for (place, directive), loop in found.items():
        if directive == BACKOFF_REROUTE:
            diagnostics.note(
                place,
                f"{directive} comes back to {loop.key.vmta}: while all on the way are in backoff "
                "mode it is ignored",
            )
        else:
            diagnostics.warning(
                place, f"{directive} comes back to {loop.key}; it is ignored, and the mail stays"
            )


def _check_colds(configuration: Configuration, diagnostics: Diagnostics) -> None:
    parts = configuration.parts
    for block in parts.vmta_blocks.values():
        for name, place in block.entries.get("cold_virtual_mta", ()):
            if configuration.vmta(name) is None:
                diagnostics.warning(
                    place,
                    f"cold-virtual-mta {name} is a pool, which takes no mail this way",
                    hint="name each of its VirtualMTAs on a line of its own",
                )
            elif name.lower() == block.name.lower():
                diagnostics.warning(place, f"cold-virtual-mta {name} names itself")


def _queues(configuration: Configuration) -> Iterator[QueueKey]:
    """One queue for each block that sends mail elsewhere, in each VirtualMTA it may be met in."""
    domains = {"example.com": None}
    for _, block in _blocks(configuration):
        if sample := _sample(block.name):
            domains[sample] = None
    targets = {DEFAULT_VMTA: None}
    for vmtas, block in _blocks(configuration):
        named = [block.values.get(a, "") for a in _REROUTING[1:]]
        for name in filter(None, named):
            pool = configuration.pool(name)
            targets.update(dict.fromkeys(pool.virtual_mta if pool is not None else (name,)))
        targets.update(dict.fromkeys(vmtas))
    for domain in domains:
        for vmta in targets:
            yield QueueKey(domain, vmta)


def _blocks(configuration: Configuration) -> Iterator[tuple[tuple[str, ...], Block]]:
    """Blocks that send mail elsewhere, with the VirtualMTAs they are about."""
    parts = configuration.parts
    if not parts.domain_attributes & set(_REROUTING) and parts.every_queue is None:
        return
    if parts.every_queue is not None:
        yield (DEFAULT_VMTA,), parts.every_queue
    places: list[tuple[tuple[str, ...], DomainIndex]] = [((DEFAULT_VMTA,), parts.domains)]
    places += [
        (pool.virtual_mta, parts.pool_domains[name])
        for name, pool in parts.pools.items()
        if pool.virtual_mta and name in parts.pool_domains
    ]
    places += [((name,), index) for name, index in parts.vmta_domains.items()]
    for vmtas, index in places:
        for block in index:
            if any(block.values.get(attribute) for attribute in _REROUTING):
                yield vmtas, block


def _sample(pattern: str) -> str:
    """A domain that a pattern matches; empty for names that are no domains."""
    network = network_of(pattern)
    if network is not None:
        return f"[{network.network_address}]"
    if pattern == EVERY or not pattern:
        return "example.com"
    return pattern.removeprefix("[*.]").replace("*.", "any.", 1) if pattern[0] != "{" else ""
