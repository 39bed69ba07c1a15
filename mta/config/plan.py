"""What a change of the configuration would change, in terms of what is in effect.

Two files may differ in every line and mean the same, or in one line and change every queue.
So settings are compared, not lines: of the daemon as a whole, of each VirtualMTA, pool and
source, and of queues: those that hold mail, and one for each domain block there is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mta.config.block import Block
from mta.config.configuration import Configuration, DomainIndex, Explained, ListenerSettings
from mta.config.patterns import EVERY, network_of
from mta.config.place import Place
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.settings.directive import Status, directives
from mta.settings.listener import ListenerDirectives
from mta.settings.lists import MxRollupDirectives
from mta.settings.root import RootSettings
from mta.settings.source import SourceSettings


class Change(NamedTuple):
    """A directive whose value in effect would be another."""

    directive: str
    before: str
    after: str
    place: Place | None
    """Of the line that would decide; None for a default."""
    needs_restart: bool = False


@dataclass(slots=True)
class Plan:
    """Everything that would be different; empty if nothing would."""

    top: list[Change] = field(default_factory=list)
    restarts: list[str] = field(default_factory=list)
    """What is no single directive and takes effect at the next start."""
    appear: list[str] = field(default_factory=list)
    vanish: list[str] = field(default_factory=list)
    changed: list[tuple[str, Change]] = field(default_factory=list)
    """Of a VirtualMTA, pool or source."""
    queues: dict[Change, list[str]] = field(default_factory=dict)
    """For each change, the queues or domain blocks it is about."""
    stranded: list[QueueKey] = field(default_factory=list)
    """Queues with mail whose VirtualMTA would be gone: their mail would bounce."""
    unreached: list[str] = field(default_factory=list)
    """VirtualMTAs that no mail could come to any more; what they hold would still go out."""

    @property
    def is_empty(self) -> bool:
        return not (
            self.top or self.restarts or self.appear or self.vanish or self.changed
            or self.queues or self.stranded or self.unreached
        )  # fmt: skip


def compare(old: Configuration, new: Configuration, queues: Iterable[QueueKey] = ()) -> Plan:
    """What going from old to new would change; `queues` are those that hold mail."""
    held = list(queues)
    plan = Plan(restarts=restarts(old, new))
    declared = directives(RootSettings)
    for before, after in zip(_of_root(old), _of_root(new), strict=True):
        if change := _change(before, after):
            restart = declared[change.directive].needs_restart
            plan.top.append(change._replace(needs_restart=restart))
    plan.top += _rollups(old, new)
    _vmtas(old, new, plan)
    _pools(old, new, plan)
    _sources(old, new, plan)
    _listeners(old, new, plan)
    _keys(old, new, plan)
    cut_off = new.parts.unreached - old.parts.unreached
    plan.unreached = [
        name for name in new.vmta_names() if name.lower() in cut_off and old.vmta(name)
    ]
    plan.stranded = [key for key in held if new.vmta(key.vmta) is None]
    for label, key in [*((str(key), key) for key in held), *_representatives(old, new)]:
        if old.vmta(key.vmta) is None or new.vmta(key.vmta) is None:
            continue
        if old.domain(key) != new.domain(key):
            for before, after in zip(old.explain(key), new.explain(key), strict=True):
                if change := _change(before, after):
                    plan.queues.setdefault(change, []).append(label)
    return plan


def restarts(old: Configuration, new: Configuration) -> list[str]:
    """What differs, is no single directive, and takes effect only at the next start."""
    before, after = _fixed_parts(old), _fixed_parts(new)
    return [name for name, value in after.items() if value != before[name]]


def fixed(configuration: Configuration) -> dict[str, object]:
    """What the start decides for good, by its directive: a reload leaves it as it is."""
    found = _fixed_parts(configuration)
    for one in directives(RootSettings).values():
        if one.needs_restart and one.status is Status.IN_FORCE:
            found.setdefault(one.name, getattr(configuration.root, one.attribute))
    return found


def at_next_start(started: Mapping[str, object], new: Configuration) -> list[str]:
    """The directives that say something else than at the start, of those `fixed` then."""
    return [name for name, value in fixed(new).items() if value != started[name]]


def _fixed_parts(configuration: Configuration) -> dict[str, object]:
    return {
        "smtp-listener": {(one.address, one.port) for one in configuration.listeners},
        "spool": [one.directory for one in configuration.spools],
        "log-file": configuration.root.log_file,
    }


def _change(before: Explained, after: Explained) -> Change | None:
    if before.value_text == after.value_text:
        return None
    return Change(after.directive, before.value_text, after.value_text, after.place)


def _of_root(configuration: Configuration) -> Iterator[Explained]:
    places = configuration.root_places
    for one in directives(RootSettings).values():
        value = getattr(configuration.root, one.attribute)
        yield Explained(one.name, one.printed(value), places.get(one.name), (), "")


def _rollups(old: Configuration, new: Configuration) -> Iterator[Change]:
    """Rollup queues that have other mail hosts."""
    one = directives(MxRollupDirectives)["mx"]
    places = {rule.queue: place for rule, place in reversed(new.parts.rollup_rules)}
    for name in dict.fromkeys((*_rollup_names(old), *_rollup_names(new))):
        before, after = (
            one.printed(tuple(rule for rule, _ in parts.rollup_rules if rule.queue == name))
            for parts in (old.parts, new.parts)
        )
        if before != after:
            yield Change(one.name, before, after, places.get(name))


def _rollup_names(configuration: Configuration) -> Iterator[str]:
    return (rule.queue for rule, _ in configuration.parts.rollup_rules)


def _vmtas(old: Configuration, new: Configuration, plan: Plan) -> None:
    _names(plan, "VirtualMTA", old.vmta_names(), new.vmta_names())
    for name in new.vmta_names():
        if old.vmta(name) is not None:
            rows = zip(old.explain_vmta(name), new.explain_vmta(name), strict=True)
            found = [change for before, after in rows if (change := _change(before, after))]
            plan.changed += [(f"VirtualMTA {name}", change) for change in found]


def _pools(old: Configuration, new: Configuration, plan: Plan) -> None:
    _names(plan, "pool", old.pool_names(), new.pool_names())
    for name in new.pool_names():
        before, after = old.pool(name), new.pool(name)
        if before is not None and after is not None and before.virtual_mta != after.virtual_mta:
            change = Change(
                "virtual-mta", ", ".join(before.virtual_mta), ", ".join(after.virtual_mta), None
            )
            plan.changed.append((f"pool {name}", change))


def _sources(old: Configuration, new: Configuration, plan: Plan) -> None:
    before, after = _source_blocks(old), _source_blocks(new)
    _names(plan, "source", tuple(before), tuple(after))
    for name, block in after.items():
        if name not in before:
            continue
        for one in directives(SourceSettings).values():
            texts = [
                one.printed(b.values[one.attribute]) if one.attribute in b.values else "not given"
                for b in (before[name], block)
            ]
            if texts[0] != texts[1]:
                change = Change(one.name, texts[0], texts[1], block.place_of(one.attribute))
                plan.changed.append((f"source {name}", change))


def _listeners(old: Configuration, new: Configuration, plan: Plan) -> None:
    """Those that are there before and after; where there are others is a `restart`."""
    before = {(one.address, one.port): one for one in old.listeners}
    for one in new.listeners:
        was = before.get((one.address, one.port))
        for directive, text in _said(one):
            said = dict(_said(was))[directive] if was is not None else text
            if said != text:
                change = Change(directive, said, text, one.place)
                plan.changed.append((f"smtp-listener {one.address}:{one.port}", change))


def _said(one: ListenerSettings) -> Iterator[tuple[str, str]]:
    """What holds at a listener, its own or not; never the password of a key."""
    for name in ("source", "tls-certificate", "tls-ca-file", "tls-ciphers"):
        yield name, getattr(one, name.replace("-", "_")) or '""'
    for name in ("immediate-tls", "await-slot"):
        declared = directives(ListenerDirectives)[name]
        yield name, declared.printed(getattr(one, declared.attribute))
    for version in ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"):
        yield f"tls-allow-{version.lower()}", "yes" if version in one.tls_versions else "no"


def _keys(old: Configuration, new: Configuration, plan: Plan) -> None:
    """The domain-keys of pools, and of lists that a message may name."""
    before, after = old.parts.domain_key_lists, new.parts.domain_key_lists
    _names(plan, "domain-key-list", tuple(before), tuple(after))
    for what, olds, news, names in (
        ("domain-key-list", before, after, before.keys() & after.keys()),
        ("pool", old.parts.pool_domain_keys, new.parts.pool_domain_keys,
         old.parts.pools.keys() & new.parts.pools.keys()),
    ):  # fmt: skip
        for name in sorted(names):
            was, will = (", ".join(map(str, keys.get(name, ()))) or '""' for keys in (olds, news))
            if was != will:
                plan.changed.append((f"{what} {name}", Change("domain-key", was, will, None)))


def _source_blocks(configuration: Configuration) -> dict[str, Block]:
    return {**dict(configuration.parts.networks), **configuration.parts.named_sources}


def _names(plan: Plan, what: str, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    before, after = {name.lower() for name in old}, {name.lower() for name in new}
    plan.appear += [f"{what} {name}" for name in new if name.lower() not in before]
    plan.vanish += [f"{what} {name}" for name in old if name.lower() not in after]


def _representatives(*both: Configuration) -> Iterator[tuple[str, QueueKey]]:
    """For each domain block of either, what it is called and a queue that it is about."""
    seen = set()
    for one in both:
        parts = one.parts
        indexes: list[tuple[str, DomainIndex]] = [(DEFAULT_VMTA, parts.domains)]
        indexes += [(parts.vmtas[name].name, i) for name, i in parts.vmta_domains.items()
                    if name in parts.vmtas]  # fmt: skip
        for pool, index in parts.pool_domains.items():
            indexes += [(member, index) for member in parts.pools[pool].virtual_mta]
        for vmta, index in indexes:
            for block in index:
                label = f"{block.name}/{vmta}"
                if label.lower() not in seen:
                    seen.add(label.lower())
                    yield label, QueueKey(_domain_of(block.name), vmta)


def _domain_of(pattern: str) -> str:
    """Some domain that a pattern matches."""
    if pattern == EVERY:
        return "any.invalid"
    network = network_of(pattern)
    if network is not None:
        prefix = "ipv6:" if network.version == 6 else ""
        return f"[{prefix}{network[0]}]"
    return pattern.replace("[*.]", "").replace("*.", "any.")
