"""A configuration, ready to be asked. It never changes; a reload makes another.

What holds for a queue is folded from layers (`layers`), most specific first: the domain
blocks of its VirtualMTA, those of the pool it belongs to, the global ones; among them by
pattern. For each directive the first layer that gives it decides. `domain` and `explain`
fold the same layers, so they cannot disagree.
"""

import re
from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from operator import itemgetter
from typing import Any, NamedTuple

from mta.address import domain_name
from mta.config.block import Block
from mta.config.patterns import (
    AddressPattern,
    DomainPattern,
    candidates,
    literal_matches,
    network_of,
)
from mta.config.place import Place
from mta.config.submitters import AUTH, Submitters
from mta.model.domain_key import DomainKey
from mta.model.pattern_list import PatternList
from mta.model.queue_key import QueueKey
from mta.model.reply_rule import ReplyRule
from mta.model.rollup_rule import RollupRule
from mta.settings.directive import Directive, Scope, Status, directives
from mta.settings.domain import DomainSettings
from mta.settings.root import RootSettings
from mta.settings.source import SourceSettings
from mta.settings.virtual_mta import VmtaDirectives
from mta.smtp.rewriting import RewriteList
from mta.units import UNLIMITED, DataRate, Rate

CACHED_QUEUES_MAX = 200_000
CACHED_SOURCES_MAX = 20_000
ADDED_UP = frozenset({"domain_key", "include_headers_from"})
"""Directives of a VirtualMTA that hide nothing: what its pool says holds as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where to listen. `address` may be a network: then all own addresses in it."""

    address: str
    port: int
    place: Place
    source: str = ""
    tls_certificate: str = ""
    """A PEM file with certificate and key, or empty."""
    tls_password: str = ""
    tls_versions: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    tls_ciphers: str = ""
    tls_ca_file: str = ""
    """Who vouches for the certificates of clients; without it none is asked for."""
    immediate_tls: bool = False
    await_slot: bool = False

    def under(self, listeners: "Iterable[ListenerSettings]") -> "ListenerSettings":
        """The one of the same address and port; itself if it is to be closed at the next start."""
        same = (one for one in listeners if (one.address, one.port) == (self.address, self.port))
        return next(same, self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSettings:
    """A spool directory, and how many octets of its disk are never used."""

    directory: str
    min_free_space: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AcctFileSettings:
    """One accounting file."""

    path: str
    place: Place
    records: tuple[str, ...] = ("d", "b")
    record_fields: tuple[tuple[str, tuple[str, ...]], ...] = ()
    map_header_to_field: tuple[tuple[str, str, str], ...] = ()
    move_to: str = ""
    move_interval: int = 86400
    max_size: int = UNLIMITED
    delete_after: int | None = 8 * 86400
    iso_times: bool = True
    user_string: str = ""
    world_readable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualMtaSettings:
    """What all queues of one VirtualMTA share."""

    name: str
    smtp_source_host: tuple[tuple[str, str], ...] = ()
    host_name: str = ""
    max_smtp_out: int = UNLIMITED
    max_msg_rate: Rate | None = None
    max_data_volume_rate: DataRate | None = None
    add_header: tuple[str, ...] = ()
    add_received_header: bool | None = None
    hide_received_header: bool = False
    include_headers_from: str = ""
    rewrite_list: str = ""
    cold_virtual_mta: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """A pool: its members serve in turn."""

    name: str
    virtual_mta: tuple[str, ...]


class Explained(NamedTuple):
    """A directive in effect: its value, where that was decided, and what it hides."""

    directive: str
    value_text: str
    place: Place | None
    hides: tuple[tuple[str, Place | None], ...]
    note: str


class DomainIndex:
    """The domain blocks of one place: global, of a pool, or of a VirtualMTA."""

    def __init__(self) -> None:
        self._by_pattern: dict[str, list[Block]] = {}
        self._literals: list[tuple[int, Block]] = []
        """The longest prefix first."""

    def block(self, pattern: str, place: Place, *, is_macro: bool) -> Block:
        """The block of a pattern, made if there is none; written out before macros."""
        blocks = self._by_pattern.setdefault(pattern, [])
        for one in blocks:
            if one.is_macro == is_macro:
                return one
        block = Block("domain", pattern, place, is_macro=is_macro)
        blocks.append(block)
        blocks.sort(key=lambda one: one.is_macro)
        network = network_of(pattern)
        if network is not None:
            insort(self._literals, (-network.prefixlen, block), key=itemgetter(0))
        return block

    def matching(self, domain: str) -> Iterator[Block]:
        """The blocks that match a domain, most specific first."""
        if not domain.isascii():
            domain = domain_name(domain)  # A queue of an older version.
        if domain.startswith("["):
            yield from (b for _, b in self._literals if literal_matches(b.name, domain))
            yield from self._by_pattern.get("*", ())
            return
        for pattern in candidates(domain):
            yield from self._by_pattern.get(pattern, ())

    def of_pattern(self, pattern: str) -> list[Block]:
        """The blocks of one pattern; the one written out before the one of macros."""
        return self._by_pattern.get(pattern, [])

    def __iter__(self) -> Iterator[Block]:
        for blocks in self._by_pattern.values():
            yield from blocks


@dataclass(slots=True, eq=False)
class Parts:
    """What a configuration is made of, as the builder leaves it."""

    path: str
    root: RootSettings
    root_block: Block
    listeners: tuple[ListenerSettings, ...] = ()
    spools: tuple[SpoolSettings, ...] = ()
    acct_files: tuple[AcctFileSettings, ...] = ()
    bounce_category_patterns: tuple[tuple[re.Pattern[str], str, Place], ...] = ()
    vmtas: dict[str, VirtualMtaSettings] = field(default_factory=dict)
    vmta_blocks: dict[str, Block] = field(default_factory=dict)
    vmta_domains: dict[str, DomainIndex] = field(default_factory=dict)
    pool_blocks: dict[str, Block] = field(default_factory=dict)
    pools: dict[str, PoolSettings] = field(default_factory=dict)
    pool_domains: dict[str, DomainIndex] = field(default_factory=dict)
    pool_of: dict[str, str] = field(default_factory=dict)
    unreached: frozenset[str] = frozenset()
    """VirtualMTAs, in lower case, that no mail can come to, as far as the file tells."""
    domains: DomainIndex = field(default_factory=DomainIndex)
    every_queue: Block | None = None
    """What the top level says of every queue, below all domain blocks."""
    domain_attributes: set[str] = field(default_factory=set)
    """Of which directives of queues anything is said anywhere."""
    rollup_rules: tuple[tuple[RollupRule, Place], ...] = ()
    networks: list[tuple[str, Block]] = field(default_factory=list)
    """Source blocks of networks, shortest prefix first."""
    named_sources: dict[str, Block] = field(default_factory=dict)
    reply_rules: dict[str, tuple[ReplyRule, ...]] = field(default_factory=dict)
    pattern_lists: dict[str, PatternList] = field(default_factory=dict)
    rewrite_lists: dict[str, RewriteList] = field(default_factory=dict)
    relay_domain: tuple[DomainPattern, ...] = ()
    relay_address: tuple[AddressPattern, ...] = ()
    domain_keys: tuple[DomainKey, ...] = ()
    vmta_domain_keys: dict[str, tuple[DomainKey, ...]] = field(default_factory=dict)
    pool_domain_keys: dict[str, tuple[DomainKey, ...]] = field(default_factory=dict)
    domain_key_lists: dict[str, tuple[DomainKey, ...]] = field(default_factory=dict)
    submitters: Submitters = field(default_factory=Submitters)

    @property
    def sources(self) -> tuple[Block, ...]:
        """All source blocks, of networks and named ones."""
        return (*(block for _, block in self.networks), *self.named_sources.values())


class Configuration:
    """One configuration. Names are found in any case."""

    def __init__(self, parts: Parts) -> None:
        self.__setstate__(parts)

    def __getstate__(self) -> Parts:
        # What is remembered is found by the identity of blocks, and another process has others.
        return self._parts

    def __setstate__(self, parts: Parts) -> None:
        self._parts = parts
        self.path = parts.path
        self.root = parts.root
        self.relay_domain = parts.relay_domain
        self.relay_address = parts.relay_address
        self.submitters = parts.submitters
        self.listeners = parts.listeners
        self.spools = parts.spools
        self.acct_files = parts.acct_files
        self.bounce_category_patterns = parts.bounce_category_patterns
        self._domains: dict[QueueKey, DomainSettings] = {}
        self._domains_by_layers: dict[tuple[int, ...], DomainSettings] = {}
        self._sources: dict[tuple[str, str, str], tuple[SourceSettings, bool]] = {}
        self._domain_vmtas: dict[str, tuple[str, ...]] = {}
        self._sending_from: dict[str, VirtualMtaSettings | None] = {}
        self._sources_by_layers: dict[tuple[int, ...], SourceSettings] = {}

    # VirtualMTAs and pools

    def vmta(self, name: str) -> VirtualMtaSettings | None:
        """The VirtualMTA of that name; `{default}` always exists."""
        return self._parts.vmtas.get(name.lower())

    def vmta_names(self) -> tuple[str, ...]:
        """All names as written, `{default}` first."""
        return tuple(vmta.name for vmta in self._parts.vmtas.values())

    def vmta_sending_from(self, ip: str) -> VirtualMtaSettings | None:
        """The first VirtualMTA that has ip among source addresses of its own."""
        if ip not in self._sending_from:
            if len(self._sending_from) > CACHED_SOURCES_MAX:
                self._sending_from.clear()
            self._sending_from[ip] = self._find_sender(ip)
        return self._sending_from[ip]

    def pool(self, name: str) -> PoolSettings | None:
        """The pool of that name."""
        return self._parts.pools.get(name.lower())

    def cold_places(self, name: str) -> Mapping[str, Place]:
        """Where each cold VirtualMTA of one was given, by its name in lower case."""
        parts = self._parts
        own = parts.vmta_blocks.get(name.lower())
        of_pool = parts.pool_blocks.get(parts.pool_of.get(name.lower(), ""))
        block = own if own is not None and own.entries.get("cold_virtual_mta") else of_pool
        entries = block.entries.get("cold_virtual_mta", ()) if block is not None else ()
        return {entry.value.lower(): entry.place for entry in entries}

    def pool_names(self) -> tuple[str, ...]:
        return tuple(pool.name for pool in self._parts.pools.values())

    def domain_vmtas(self, domain: str) -> tuple[str, ...]:
        """VirtualMTAs or pools that the domain's global block spreads its mail over."""
        found = self._domain_vmtas.get(domain)
        if found is None:
            found = ()
            for block in self._parts.domains.matching(domain):
                if "virtual_mta" in block.values:
                    found = block.values["virtual_mta"]
                    break
            if len(self._domain_vmtas) > CACHED_QUEUES_MAX:
                self._domain_vmtas.clear()
            self._domain_vmtas[domain] = found
        return found

    # Queues

    def layers(self, key: QueueKey) -> list[Block]:
        """The blocks that apply to a queue, most specific first. Guide: inheritance.

        A VirtualMTA's blocks, its `<domain *>` included, come before those of its pool, and
        they before the global ones. Last comes what the top level says of every queue.
        """
        parts = self._parts
        name = key.vmta.lower()
        found: list[Block] = []
        for index in (
            parts.vmta_domains.get(name),
            parts.pool_domains.get(parts.pool_of.get(name, "")),
            parts.domains,
        ):
            if index is not None:
                found.extend(index.matching(key.domain))
        if parts.every_queue is not None:
            found.append(parts.every_queue)
        return found

    def domain(self, key: QueueKey) -> DomainSettings:
        """The rules of a queue. The same object for queues with the same layers."""
        settings = self._domains.get(key)
        if settings is None:
            layers = self.layers(key)
            identity = tuple(id(block) for block in layers)
            settings = self._domains_by_layers.get(identity)
            if settings is None:
                values: dict[str, Any] = {}
                for block in reversed(layers):
                    values.update(block.values)
                settings = self._domains_by_layers[identity] = DomainSettings(**values)
            if len(self._domains) > CACHED_QUEUES_MAX:
                self._domains.clear()
            self._domains[key] = settings
        return settings

    def domain_places(self, key: QueueKey) -> Mapping[str, Place | None]:
        """Where each directive of a queue was decided; those of defaults are absent."""
        found: dict[str, Place | None] = {}
        names = _names(DomainSettings)
        for block in self.layers(key):
            for attribute in block.values:
                found.setdefault(names[attribute], block.place_of(attribute))
        return found

    def explain(self, key: QueueKey) -> tuple[Explained, ...]:
        """Every directive of a queue, in the order of the reference."""
        return _explain(directives(DomainSettings).values(), self.layers(key))

    def explain_vmta(self, name: str) -> tuple[Explained, ...]:
        """Every directive of a VirtualMTA, with what it has of its pool."""
        return _explain(directives(VmtaDirectives).values(), self._vmta_layers(name))

    def vmta_places(self, name: str) -> Mapping[str, Place | None]:
        """Where each directive of a VirtualMTA was given."""
        names = _names(VmtaDirectives)
        found: dict[str, Place | None] = {}
        for block in self._vmta_layers(name):
            for attribute in block.values.keys() & names.keys():
                found.setdefault(names[attribute], block.place_of(attribute))
        return found

    def _vmta_layers(self, name: str) -> list[Block]:
        """A VirtualMTA and its pool, whose values are those of the members that give none."""
        parts, key = self._parts, name.lower()
        pool = parts.pool_blocks.get(parts.pool_of.get(key, ""))
        return [block for block in (parts.vmta_blocks.get(key), pool) if block is not None]

    @property
    def root_places(self) -> Mapping[str, Place | None]:
        """Where each global directive was given."""
        block = self._parts.root_block
        names = _names(RootSettings)
        return {names[a]: block.place_of(a) for a in block.values}

    def pattern_list(self, name: str) -> PatternList | None:
        """The pattern-list of that name."""
        return self._parts.pattern_lists.get(name.lower())

    def rewrite_list(self, name: str) -> RewriteList | None:
        """The rewrite-list of that name."""
        return self._parts.rewrite_lists.get(name.lower())

    def reply_rules(self, name: str) -> tuple[ReplyRule, ...]:
        """The rules of an smtp-pattern-list; empty if there is no such list."""
        return self._parts.reply_rules.get(name.lower(), ())

    def domain_keys(self, vmta_name: str) -> tuple[DomainKey, ...]:
        """The keys that may sign for a VirtualMTA: its own, its pool's, the global ones."""
        parts, name = self._parts, vmta_name.lower()
        return (
            *parts.vmta_domain_keys.get(name, ()),
            *parts.pool_domain_keys.get(parts.pool_of.get(name, ""), ()),
            *parts.domain_keys,
        )

    def domain_key_list(self, name: str) -> tuple[DomainKey, ...] | None:
        """The keys of a domain-key-list; None if there is no such list."""
        return self._parts.domain_key_lists.get(name.lower())

    def all_domain_keys(self) -> tuple[DomainKey, ...]:
        """Every key of the file, wherever it stands."""
        parts = self._parts
        places = (parts.vmta_domain_keys, parts.pool_domain_keys, parts.domain_key_lists)
        listed = [key for place in places for keys in place.values() for key in keys]
        return (*parts.domain_keys, *listed)

    # Sources

    def source(
        self, client_ip: str, listener_source: str = "", user_source: str = ""
    ) -> SourceSettings:
        """What holds for a client: networks, longest prefix on top; then named sources.

        That of the listener comes first. `{auth}` lies below that of a user who has another.
        """
        return self._source(client_ip, listener_source, user_source)[0]

    def source_matches(
        self, client_ip: str, listener_source: str = "", user_source: str = ""
    ) -> bool:
        """Whether any `<source>` speaks of the client."""
        return self._source(client_ip, listener_source, user_source)[1]

    def _source(self, ip: str, listener: str, user: str) -> tuple[SourceSettings, bool]:
        key = (ip, listener.lower(), user.lower())
        found = self._sources.get(key)
        if found is None:
            address = ip_address(ip)
            blocks = [b for network, b in self._parts.networks if address in ip_network(network)]
            named = self._parts.named_sources
            names = (key[1], AUTH, key[2]) if key[2] not in ("", AUTH) else key[1:]
            blocks += [named[name] for name in names if name in named]
            identity = tuple(id(block) for block in blocks)
            settings = self._sources_by_layers.get(identity)
            if settings is None:
                values: dict[str, Any] = {}
                for block in blocks:
                    values.update(block.values)
                settings = self._sources_by_layers[identity] = SourceSettings(**values)
            found = (settings, bool(blocks))
            if len(self._sources) > CACHED_SOURCES_MAX:
                self._sources.clear()
            self._sources[key] = found
        return found

    def _find_sender(self, ip: str) -> VirtualMtaSettings | None:
        if not ip:  # mail of the daemon's own came to no listener
            return None
        for name, vmta in self._parts.vmtas.items():
            values = self._parts.vmta_blocks[name].values
            own = (*values.get("smtp_source_host", ()), *values.get("smtp_source_ip", ()))
            # Guide: of a network, every address but 127.0.0.1.
            if any(
                ip == text
                or ("/" in text and ip != "127.0.0.1" and ip_address(ip) in ip_network(text))
                for text, _ in own
            ):
                return vmta
        return None

    def pieces(self) -> list[object]:
        """Everything large that it is made of. Who holds these lets go of it bit by bit."""
        parts = self._parts
        indexes = [parts.domains, *parts.vmta_domains.values(), *parts.pool_domains.values()]
        blocks = [block for index in indexes for block in index]
        made = [*self._domains, *self._domains_by_layers.values(), *self._domains_by_layers]
        return [*made, *blocks, *indexes, *parts.vmta_blocks.values(), *parts.vmtas.values()]

    @property
    def parts(self) -> Parts:
        """What it is made of, for checks and reports."""
        return self._parts


def _names(scope: type[Scope]) -> dict[str, str]:
    return {one.attribute: one.name for one in directives(scope).values()}


def _explain(declared: Iterable[Directive], layers: list[Block]) -> tuple[Explained, ...]:
    rows = []
    for one in declared:
        if one.means or one.name == "include":
            continue
        given = [block for block in layers if one.attribute in block.values]
        if one.attribute in ADDED_UP:
            given = [block for block in given if block is layers[0]]
        texts = [
            (one.printed(block.values[one.attribute]), block.place_of(one.attribute))
            for block in given
        ]
        value, place = texts[0] if texts else (one.printed_default, None)
        note = "" if one.status is Status.IN_FORCE else one.reason or one.status.value
        rows.append(Explained(one.name, value, place, tuple(texts[1:]), note))
    return tuple(rows)
