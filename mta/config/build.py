"""From the tree of a file to a configuration: each section taken apart by its declarations.

Two passes: macros first, as they may stand after their use; then everything else. Names of
VirtualMTAs, pools and lists are looked up when all is read. Every problem is said and the
line left out, so that one run finds them all.
"""

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mta.address import domain_name, is_valid
from mta.config import (
    acct,
    domain_keys,
    every_queue,
    listeners,
    spools,
    submitters,
    unknown,
    unreached_check,
    virtual_mtas,
)
from mta.config.block import Block
from mta.config.configuration import (
    Configuration,
    DomainIndex,
    Parts,
)
from mta.config.domain_blocks import DomainBlocks
from mta.config.expressions import compile_expression, split_expression
from mta.config.grammar import Node, Section, Statement
from mta.config.macros import Macros
from mta.config.names import VIRTUAL_MTA, Names
from mta.config.pattern_lists import PatternLists
from mta.config.patterns import AddressPattern, DomainPattern, parse_pattern
from mta.config.place import Diagnostics, Place
from mta.config.rewrite_lists import RewriteLists
from mta.config.sections import (
    ALIASES,
    MISPRINTS,
    SECTIONS,
    SectionRule,
)
from mta.config.submission_patterns import SubmissionPatterns
from mta.model.queue_key import BY_SOURCE_IP
from mta.settings.directive import Directive, Status, directives
from mta.settings.kinds import (
    INTERVAL_LIST,
    parse_cidr,
    unquote,
    without_needless_quotes,
)
from mta.settings.root import RootSettings

DEFAULT_LOG = "/var/log/pmta/log"

_SOURCE_NAME = re.compile(r"\{[^{}]+\}|(?=.*[^\W\d])[\w@.+-]+")
"""With a letter in it, or in braces; anything else was to be an address."""


class Builder:
    """Builds one configuration."""

    def __init__(self, path: str, diagnostics: Diagnostics, host_name: str) -> None:
        self._path = path
        self._base = posixpath.dirname(path)
        self._host_name = host_name
        self._diagnostics = diagnostics
        self._macros = Macros(diagnostics)
        self._domain_blocks = DomainBlocks(diagnostics, self._macros)
        start = Place(path, 0)
        self._root = Block("global", "", start)
        self._vmtas: dict[str, Block] = {}
        self._pools: dict[str, Block] = {}
        self._key_lists: dict[str, Block] = {}
        self._listeners: list[Block] = []
        self._spools: list[Block] = []
        self._relay_domains: list[DomainPattern] = []
        self._relay_addresses: list[AddressPattern] = []
        self._acct_files: list[Block] = []
        self._log_rotate: Block | None = None
        self._networks: dict[str, Block] = {}
        self._rollup = Block("mx-rollup-list", "", start)
        self._parts = Parts(path, RootSettings(), self._root)
        self._patterns = PatternLists(diagnostics)
        self._names = Names(diagnostics)
        self._submission = SubmissionPatterns(diagnostics, self._names, self._patterns)
        self._rewrites = RewriteLists(diagnostics, self._macros, self._patterns)
        self._submitters = submitters.Builder(diagnostics, self._macros)

    def build(self, tree: Section) -> Configuration:
        """The configuration; not to be used if there are errors."""
        for statement in _statements(tree):
            if statement.name == "domain-macro":
                self._macros.define(statement.value, statement.place, statement.line)
        self._body(tree.body, SECTIONS["global"], self._root, self._root_statement)
        self._finish()
        self._check_names()
        self._macros.report_unused()
        return Configuration(self._parts)

    # Reading

    def _body(
        self,
        body: list[Node],
        rule: SectionRule,
        block: Block,
        special: Callable[[Statement], bool] | None = None,
        domains: DomainIndex | None = None,
    ) -> None:
        for node in body:
            if isinstance(node, Section):
                self._section(node, rule, domains)
            elif special is None or not special(node):
                self._statement(node, rule, block)
        block.seal()

    def _node(self, node: Node, rule: SectionRule) -> None:
        """What is in a section of rules and is none of them."""
        if isinstance(node, Section):
            self._section(node, rule, None)
        else:
            self._statement(node, rule, Block(rule.tag, "", node.place))

    def _statement(self, statement: Statement, rule: SectionRule, block: Block) -> None:
        name = MISPRINTS.get(statement.name, statement.name)
        declared = directives(rule.scope)
        one = declared.get(name)
        if one is None:
            unknown.directive(statement, rule, self._diagnostics)
            return
        canonical = declared.get(one.means)
        if one.means:
            same = canonical is not None and canonical.repeats == (one.repeats or one.kind.is_item)
            hint = f"write {one.means}" if same else f"see {one.means}"
            self._note(statement, f"{one.name} is an old spelling", hint)
            if same and canonical is not None:
                one = replace(canonical, kind=one.kind, status=one.status, reason=one.reason)
        value = self._value(one, statement)
        # What is turned off is not missed.
        is_off = one.status is Status.NOT_YET and value is not None and value[0] in (False, 0)
        if one.status is not Status.IN_FORCE and not is_off:
            self._note(statement, f"{one.name}: {one.reason or one.status.value}")
        if value is None:
            return
        if value[0] in one.not_yet_values:
            self._note(statement, f"{one.name} {value[0]}: {Status.NOT_YET.value}")
        block.add(one, value[0], statement.place)
        if one.kind.names and value[0]:
            self._names.use(one.kind.names, str(value[0]), statement)
        if one.kind is INTERVAL_LIST and 0 in value[0]:
            self._diagnostics.warning(
                statement.value_place,
                f"{one.name} {statement.value} tries again and again without a pause",
                hint="give it a time, such as 10m",
                line=statement.line,
            )
        if one.name.endswith("-rate") and value[0] is None and statement.value.startswith("0"):
            self._diagnostics.warning(
                statement.value_place,
                f"{one.name} {statement.value} means no limit",
                hint="to stop delivery use `type discard`, or pause the queue",
                line=statement.line,
            )

    def _value(self, one: Directive, statement: Statement) -> tuple[Any] | None:
        """The value in a tuple of one, as None is a value; None after an error."""
        text = statement.value
        if not text:
            # Only a comment can follow a directive without a value.
            swallowed = "#" in statement.line
            comment = '; the comment takes what follows: put a "#" of the value in double quotes'
            self._diagnostics.error(
                statement.value_place,
                f"{one.name}: argument missing",
                hint=f"expected {one.kind.syntax}{comment if swallowed else ''}",
                line=statement.line,
            )
            return None
        try:
            value = one.kind.parse(text if one.kind.is_raw else without_needless_quotes(text))
        except ValueError as error:
            is_secret = one.kind.secret_after is not None
            message = f"{one.name}: {error}" + f", not {text!r}" * (not is_secret)
            self._diagnostics.error(statement.value_place, message, line=statement.line)
            return None
        if one.kind.is_path and value:
            value = self._path_of(value)
        return (value,)

    def _path_of(self, text: str) -> str:
        return posixpath.normpath(posixpath.join(self._base, text)) if text[:1] != "|" else text

    def _section(self, section: Section, parent: SectionRule, domains: DomainIndex | None) -> None:
        tag = ALIASES.get(section.name, section.name)
        rule = SECTIONS.get(tag)
        if rule is None or parent.tag not in rule.parents:
            unknown.section(section, rule, parent, self._diagnostics)
            return
        argument = unquote(section.argument)
        if rule.argument and not argument and not rule.is_argument_optional:
            self._diagnostics.error(
                section.place, f"<{section.name}> needs {rule.argument}", line=section.line
            )
            return
        if argument and not rule.argument:
            self._diagnostics.warning(
                section.place, f"<{section.name}> takes no argument", line=section.line
            )
        if rule.note:
            self._diagnostics.note(
                section.place, f"<{section.name}> is {rule.note}", line=section.line
            )
        self._enter(tag, section, argument, rule, domains)

    def _enter(
        self,
        tag: str,
        section: Section,
        argument: str,
        rule: SectionRule,
        domains: DomainIndex | None,
    ) -> None:
        match tag:
            case "global":
                self._body(section.body, rule, self._root, self._root_statement)
            case "domain":
                self._domain(section, argument, rule, domains)
            case "virtual-mta":
                block = self._named(self._vmtas, argument, section, rule)
                index = self._parts.vmta_domains.setdefault(argument.lower(), DomainIndex())
                self._body(section.body, rule, block, None, index)
            case "virtual-mta-pool":
                block = self._named(self._pools, argument, section, rule)
                index = self._parts.pool_domains.setdefault(argument.lower(), DomainIndex())
                self._body(section.body, rule, block, None, index)
            case "source":
                self._source(section, argument, rule)
            case "smtp-pattern-list":
                self._names.define(tag, argument, section.place)
                self._body(section.body, rule, _scratch(section), self._patterns.replies(argument))
            case "pattern-list" if argument:
                self._names.define(tag, argument, section.place)
                self._submission.read(section, argument, lambda node: self._node(node, rule))
            case "rewrite-list":
                self._names.define(tag, argument, section.place)
                self._body(section.body, rule, _scratch(section), self._rewrites.rules(argument))
            case "mx-rollup-list":
                self._body(section.body, rule, self._rollup)
            case "bounce-category-patterns":
                self._body(section.body, rule, _scratch(section), self._patterns.category)
            case "domain-key-list":
                block = self._named(self._key_lists, argument, section, rule)
                self._body(section.body, rule, block)
            case "smtp-user" | "source-group" | "address-list" | "aliases" if domains is None and (
                argument or tag == "aliases"
            ):
                self._names.define(tag, argument, section.place)
                fresh = Block(tag, argument, section.place)
                self._body(section.body, rule, self._submitters.block(tag, argument, fresh))
            case "smtp-listener" | "spool" | "acct-file" | "log-rotate":
                self._file_section(tag, section, argument, rule)
            case _:
                if argument:
                    self._names.define(tag, argument, section.place)
                # Checked, and otherwise left for when it is in force.
                self._body(section.body, rule, _scratch(section))

    def _file_section(self, tag: str, section: Section, argument: str, rule: SectionRule) -> None:
        block = Block(tag, argument, section.place)
        special = None
        if tag == "acct-file" and not argument:
            special = acct.dialect_statement(block, self._diagnostics)
        self._body(section.body, rule, block, special)
        match tag:
            case "smtp-listener":
                self._listeners.append(block)
            case "spool":
                self._spools.append(block)
            case "acct-file":
                self._acct_files.append(block)
            case _:
                self._log_rotate = block

    def _named(
        self, blocks: dict[str, Block], name: str, section: Section, rule: SectionRule
    ) -> Block:
        """The block of a name, the same for all sections of that name in any case."""
        block = blocks.get(name.lower())
        if block is None:
            block = blocks[name.lower()] = Block(rule.tag, name, section.place)
        elif block.name != name:
            self._diagnostics.warning(
                section.place,
                f"{name} and {block.name} ({block.place}) are one: case does not count in names",
                line=section.line,
            )
        return block

    def _domain(
        self, section: Section, argument: str, rule: SectionRule, domains: DomainIndex | None
    ) -> None:
        index = self._parts.domains if domains is None else domains
        if not self._domain_blocks.is_pattern(section, argument):
            return
        read = _scratch(section)
        self._body(section.body, rule, read)
        self._parts.domain_attributes |= read.values.keys()
        self._domain_blocks.add(section, argument, read, index)

    def _source(self, section: Section, argument: str, rule: SectionRule) -> None:
        parts = self._parts
        try:
            network = parse_cidr(argument)
        except ValueError as error:
            if not _SOURCE_NAME.fullmatch(argument):
                message = f"<source {argument}>: {error}, or a name"
                hint = "a section is for one network; write one for each"
                self._diagnostics.error(section.place, message, hint=hint, line=section.line)
            block = self._named(parts.named_sources, argument, section, rule)
        else:
            network = network if "/" in network else f"{network}/{128 if ':' in network else 32}"
            fresh = Block("source", argument, section.place)
            block = self._networks.setdefault(network, fresh)
        self._body(section.body, rule, block)

    def _root_statement(self, statement: Statement) -> bool:
        """Global directives that are more than a value."""
        match statement.name:
            case "domain-macro":
                return True
            case "smtp-listener":
                block = listeners.from_directive(statement, self._names, self._diagnostics)
                if block is not None:
                    self._listeners.append(block)
                return True
            case "spool" if statement.value:
                self._spools.append(Block("spool", unquote(statement.value), statement.place))
                return True
            case "relay-domain" if statement.value:
                self._relay_domain(statement)
                return True
            case "relay-address" if statement.value:
                self._relay_address(statement)
                return True
        return False

    def _relay_domain(self, statement: Statement) -> None:
        texts = self._macros.expand(unquote(statement.value), statement.place, statement.line)
        for text in texts:
            try:
                pattern = DomainPattern(parse_pattern(text))
            except ValueError as error:
                self._patterns.error(statement, error)
            else:
                self._relay_domains.append(pattern)

    def _relay_address(self, statement: Statement) -> None:
        text = statement.value
        try:
            if text.startswith("/"):
                expression = compile_expression(split_expression(text)[0])
                self._relay_addresses.append(AddressPattern(text, expression))
            else:
                if "*" in text or not is_valid(unquote(text)):
                    raise ValueError(
                        "expected an address such as abuse@example.com, or /an expression/; "
                        "a whole domain is a relay-domain"
                    )
                self._relay_addresses.append(AddressPattern(unquote(text)))
        except ValueError as error:
            self._patterns.error(statement, error)

    def _note(self, statement: Statement, text: str, hint: str = "") -> None:
        self._diagnostics.note(statement.place, text, hint=hint, line=statement.line)

    # Putting together

    def _finish(self) -> None:
        parts, root = self._parts, self._root
        values = dict(root.values)
        values["host_names"] = tuple(filter(None, values.get("host_names", ()))) or (
            self._host_name,
        )
        self._domain_blocks.finish(values["host_names"])
        values["log_file"] = values.get("log_file") or self._default_log()
        parts.root = RootSettings(**values)
        parts.networks = sorted(self._networks.items(), key=_prefix_length)
        # Guide: mail to a name of this host is accepted as if by relay-domain.
        local = (DomainPattern(domain_name(name)) for name in parts.root.host_names)
        parts.relay_domain = (*self._relay_domains, *local)
        parts.relay_address = tuple(self._relay_addresses)
        parts.bounce_category_patterns = self._patterns.categories
        parts.reply_rules = self._patterns.rules
        parts.pattern_lists = self._submission.finish()
        parts.rewrite_lists = self._rewrites.finish()
        parts.submitters = self._submitters.finish(
            root, parts.root.host_name, parts.sources, parts.root.postmaster
        )
        parts.rollup_rules = tuple(self._rollup.entries.get("mx", ()))
        parts.every_queue = every_queue.block_of(root)
        if not self._spools:
            self._default("spool", spools.DEFAULT)
        parts.spools = spools.settings(self._spools, root, self._path_of, self._diagnostics)
        parts.listeners = listeners.settings(self._listeners, parts.root, root, self._diagnostics)
        parts.acct_files = acct.settings(self._acct_files, self._path_of, self._diagnostics)
        named = {"VirtualMTA": self._vmtas, "pool": self._pools, "list": self._key_lists}
        domain_keys.finish(parts, root, named, self._base, self._macros, self._diagnostics)
        virtual_mtas.finish(parts, root.place, self._vmtas, self._pools, self._diagnostics)
        if not parts.root.postmaster:
            self._default("postmaster", f"postmaster@{parts.root.host_name}")
        if "http_mgmt_port" not in root.values:
            self._default("http-mgmt-port", "8080; the HTTP monitor is not served yet")

    def _default(self, name: str, value: str) -> None:
        place = Place(self._path, 0)
        self._diagnostics.note(place, f"no {name} is given; it is {value}")

    def _default_log(self) -> str:
        directory = self._log_rotate.values.get("directory", "") if self._log_rotate else ""
        path = posixpath.join(directory, "log") if directory else DEFAULT_LOG
        self._default("log-file", path)
        return path

    def _check_names(self) -> None:
        """Everything that is referred to must be there."""
        parts, names = self._parts, self._names
        for vmta in parts.vmtas.values():
            block = parts.vmta_blocks[vmta.name.lower()]
            names.define(VIRTUAL_MTA, vmta.name, block.place)
        for name, block in self._pools.items():
            names.define(VIRTUAL_MTA, parts.pools[name].name, block.place)
        names.define(VIRTUAL_MTA, BY_SOURCE_IP, self._root.place)
        for block in parts.named_sources.values():
            names.define("source", block.name, block.place)
        names.define("source", submitters.AUTH, self._root.place)
        names.report()
        of_pools = [b.entries.get("virtual_mta", ()) for b in self._pools.values()]
        places = {entry.place[:2] for entries in of_pools for entry in entries}
        named = names.used(VIRTUAL_MTA, except_at=places)
        parts.unreached = unreached_check.check(
            Configuration(parts), named, self._pools, self._diagnostics
        )


def _statements(section: Section) -> Iterator[Statement]:
    for node in section.body:
        if isinstance(node, Section):
            yield from _statements(node)
        else:
            yield node


def _scratch(section: Section) -> Block:
    return Block("", section.argument, section.place)


def _prefix_length(one: tuple[str, Block]) -> int:
    return int(one[0].rpartition("/")[2])
