"""Finds values that are never in effect, as others hide them from every queue."""

from collections.abc import Iterator
from typing import NamedTuple

from mta.config.block import Block, Entry
from mta.config.configuration import Configuration, DomainIndex, Parts
from mta.config.patterns import EVERY
from mta.config.place import Diagnostics, Place
from mta.model.queue_key import DEFAULT_VMTA
from mta.settings.directive import Scope, by_attribute
from mta.settings.domain import DomainSettings
from mta.settings.root import RootSettings
from mta.settings.source import SourceSettings
from mta.settings.virtual_mta import PoolDirectives, VmtaDirectives

SCOPES: dict[str, type[Scope]] = {
    "global": RootSettings, "domain": DomainSettings, "source": SourceSettings,
    "virtual-mta": VmtaDirectives, "virtual-mta-pool": PoolDirectives,
}  # fmt: skip


class _Hidden(NamedTuple):
    """A value that counts for nothing in one block, and what counts instead."""

    entry: Entry
    attribute: str
    block: Block
    by: Place | None


def check(configuration: Configuration, diagnostics: Diagnostics) -> None:
    """Warn of each value that is hidden wherever it applies; one line may apply to many."""
    parts = configuration.parts
    alive: set[Place] = set()
    hidden: dict[Place, _Hidden] = {}
    for block, siblings in _blocks(parts):
        declared = by_attribute(SCOPES[block.scope])
        for attribute, entries in block.entries.items():
            by = _hider(block, attribute, siblings)
            for entry in entries:
                is_last = entry is entries[-1] or entry.value == entries[-1].value
                if declared[attribute].repeats or (is_last and by is None):
                    alive.add(entry.place)
                else:
                    last = entries[-1].place if by is None else by
                    hidden.setdefault(entry.place, _Hidden(entry, attribute, block, last))
    for place, one in hidden.items():
        if place not in alive:
            directive = by_attribute(SCOPES[one.block.scope])[one.attribute]
            value = directive.printed(one.entry.value)
            diagnostics.warning(
                place, f"{directive.name} {value} is never in effect: {one.by} hides it"
            )
    _behind_virtual_mtas(parts, diagnostics)


def _blocks(parts: Parts) -> Iterator[tuple[Block, DomainIndex | None]]:
    """Every block whose values are single, with the index it is in."""
    yield parts.root_block, None
    for block in (*parts.vmta_blocks.values(), *parts.named_sources.values()):
        yield block, None
    for _, block in parts.networks:
        yield block, None
    for index in (parts.domains, *parts.pool_domains.values(), *parts.vmta_domains.values()):
        for block in index:
            yield block, index


def _hider(block: Block, attribute: str, index: DomainIndex | None) -> Place | None:
    """Where the same directive is given in blocks that together come before this one."""
    if index is None:
        return None
    if block.is_macro:
        for other in index.of_pattern(block.name):
            if not other.is_macro and attribute in other.values:
                return other.place_of(attribute)
    if block.name.startswith("[*.]"):
        name = block.name.removeprefix("[*.]")
        places = [
            next(
                (b.place_of(attribute) for b in index.of_pattern(p) if attribute in b.values), None
            )
            for p in (name, f"*.{name}")
        ]
        if all(places):
            return places[0]
    return None


def _behind_virtual_mtas(parts: Parts, diagnostics: Diagnostics) -> None:
    """Global values that each VirtualMTA hides, as its own `<domain *>` gives them, too."""
    hiders = [_everywhere(parts, name) for name in parts.vmtas if name != DEFAULT_VMTA]
    common = set.intersection(*map(set, hiders)) if hiders else set()
    if not common:
        return
    for attribute in sorted(common):
        directive = by_attribute(DomainSettings)[attribute]
        given = {b.place_of(attribute): b for b in parts.domains if attribute in b.values}
        # A default for every domain is there to be replaced.
        places = [p for p, b in given.items() if p is not None and b.name != EVERY]
        if directive.repeats or not places:
            continue
        also = f" (and {len(places) - 1} more at the top level)" * (len(places) > 1)
        diagnostics.warning(
            places[0],
            f"{directive.name} here{also} holds for no VirtualMTA but {DEFAULT_VMTA}: "
            f"each of the others gives it in its <domain *> ({hiders[0][attribute]})",
            hint="what a VirtualMTA says comes before what the top level says",
        )


def _everywhere(parts: Parts, vmta: str) -> dict[str, Place | None]:
    """What a VirtualMTA, or its pool, gives for every domain; by attribute."""
    found: dict[str, Place | None] = {}
    for index in (
        parts.vmta_domains.get(vmta),
        parts.pool_domains.get(parts.pool_of.get(vmta, "")),
    ):
        for block in index.of_pattern(EVERY) if index is not None else ():
            for attribute in block.values:
                found.setdefault(attribute, block.place_of(attribute))
    return found
