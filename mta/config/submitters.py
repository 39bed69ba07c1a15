"""Users, groups of sources, address lists and aliases, as reception asks for them."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from mta import address
from mta.config.block import Block, Entry
from mta.config.expressions import compile_expression, split_expression
from mta.config.macros import Macros
from mta.config.patterns import DomainPattern, parse_pattern
from mta.config.place import Diagnostics, Place
from mta.model.secret import ClearSecret, ScramSecret, Secret, parse_secret
from mta.settings.kinds import first_word, unquote
from mta.units import UNLIMITED

AUTH: Final = "{auth}"
"""The source of users who are given none."""
ALIAS_TARGETS_MAX: Final = 1000
"""Addresses that one alias stands for; more is a mailing list."""
ALIAS_DEPTH_MAX: Final = 10
"""Aliases of aliases."""
RESERVED: Final = frozenset({"postmaster", "abuse"})
"""RFC 5321 §4.5.1, RFC 2142 §4: mail to them reaches a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpUser:
    """Who may authenticate, and how. No secret, no password."""

    name: str
    secret: Secret | None = None
    certificate: str = ""
    """A PEM file with the certificate that says it is this user, or empty."""
    source: str = AUTH


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceGroup:
    """Sources that share limits of connections."""

    name: str
    max_smtp_in: int = UNLIMITED
    reserved_smtp_in: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressList:
    """A list of addresses as configured; `net.suppression` makes it fit to be asked."""

    name: str
    addresses: tuple[str, ...] = ()
    """Addresses, lower case, and local parts."""
    expressions: tuple[re.Pattern[str], ...] = ()
    files: tuple[tuple[str, Place], ...] = ()
    """Paths, and where each is given."""
    domains: tuple[DomainPattern, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitters:
    """Everything of it, by name in lower case; users as they are written."""

    users: Mapping[str, SmtpUser] = field(default_factory=dict)
    groups: Mapping[str, SourceGroup] = field(default_factory=dict)
    address_lists: Mapping[str, AddressList] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Targets by full address, `*@domain` or local part, lower case, in its one spelling."""
    postmasters: tuple[str, ...] = ()
    """Who gets what is written to postmaster and abuse of this host; aliases go before."""

    @property
    def mechanisms(self) -> frozenset[str]:
        """By which at least one user can authenticate."""
        found: set[str] = set()
        for user in self.users.values():
            if user.secret is not None:
                found |= {"PLAIN", "LOGIN"}
            if isinstance(user.secret, ClearSecret):
                found |= {"CRAM-MD5", "SCRAM-SHA-256"}
            elif isinstance(user.secret, ScramSecret):
                found.add("SCRAM-SHA-256")
            if user.certificate:
                found.add("EXTERNAL")
        return frozenset(found)

    def targets(self, rcpt: str, local_names: frozenset[str]) -> tuple[str, ...]:
        """The addresses that a recipient stands for; itself if it is no alias."""
        found: dict[str, str] = {}
        self._expand(rcpt, local_names, found, (), 0)
        return tuple(found.values())

    def _expand(
        self,
        rcpt: str,
        local_names: frozenset[str],
        found: dict[str, str],
        within: tuple[str, ...],
        depth: int,
    ) -> None:
        key = address.mailbox(rcpt.lower())
        targets = self._targets(key, local_names)
        if targets is None or key in within or depth >= ALIAS_DEPTH_MAX:
            # An alias of itself, such as `anna anna,backup`, keeps its own copy.
            if len(found) < ALIAS_TARGETS_MAX:
                found.setdefault(address.mailbox(rcpt), rcpt)
            return
        for target in targets:
            self._expand(target, local_names, found, (*within, key), depth + 1)

    def _targets(self, key: str, local_names: frozenset[str]) -> tuple[str, ...] | None:
        local, _, domain = key.rpartition("@")
        found = self.aliases.get(key)
        is_local = domain in local_names
        if found is None and is_local:
            found = self.aliases.get(local)
        if found is None:
            found = self.aliases.get(f"*@{domain}")
        if found is None and is_local and local in RESERVED:
            found = self.postmasters or None
        return found


class Builder:
    """Takes the sections as they are read, and makes the submitters of them."""

    def __init__(self, diagnostics: Diagnostics, macros: Macros) -> None:
        self._diagnostics = diagnostics
        self._macros = macros
        self._blocks: dict[tuple[str, str], Block] = {}

    def block(self, tag: str, name: str, fresh: Block) -> Block:
        """The block of a section, the same for all of that name; `fresh` if it is the first."""
        key = name if tag == "smtp-user" else name.lower()
        return self._blocks.setdefault((tag, key), fresh)

    def finish(
        self,
        root: Block,
        host_name: str,
        sources: Iterable[Block],
        postmasters: tuple[str, ...] = (),
    ) -> Submitters:
        """Everything, once all is read. What `sources` name has to be there."""
        for source in sources:
            for entry in source.entries.get("suppression_lists", ()):
                self._check("address-list", entry.value, entry)
            for entry in source.entries.get("source_group", ()):
                self._check("source-group", (entry.value,), entry)
        aliases = list(root.entries.get("alias", ()))
        for block in self._of("aliases"):
            aliases += block.entries.get("alias", ())
        return Submitters(
            users={block.name: self._user(block) for block in self._of("smtp-user")},
            groups={block.name.lower(): self._group(block) for block in self._of("source-group")},
            address_lists={
                block.name.lower(): self._address_list(block) for block in self._of("address-list")
            },
            aliases=self._aliases(aliases, host_name),
            postmasters=tuple(filter(None, postmasters)),
        )

    def _check(self, tag: str, names: tuple[str, ...], entry: Entry) -> None:
        for name in names:
            if name and (tag, name.lower()) not in self._blocks:
                self._diagnostics.error(
                    entry.place, f"there is no {tag} {name}", hint=f"define it with <{tag} {name}>"
                )

    def _of(self, tag: str) -> Iterator[Block]:
        return (block for (kind, _), block in self._blocks.items() if kind == tag)

    def _user(self, block: Block) -> SmtpUser:
        values = block.values
        method = values.get("authentication_method", "password")
        password = unquote(values.get("password", ""))
        for entry in block.entries.get("password", ())[:-1]:
            message = f"user {block.name} has another password, too, and that one counts"
            self._diagnostics.warning(
                entry.place, message, hint=f"see {block.place_of('password')}"
            )
        secret: Secret | None = None
        certificate = ""
        if method == "certificate":
            certificate, _ = values.get("tls_certificate", ("", ""))
            certificate = certificate and posixpath.normpath(
                posixpath.join(posixpath.dirname(block.place.file), certificate)
            )
        elif method == "password" and password:
            secret = self._secret(block, password)
        if secret is None and not certificate:
            needed = {
                "certificate": "a tls-certificate",
                "system": "a password; system accounts are not asked",
            }.get(method, "a password")
            self._diagnostics.note(
                block.place, f"user {block.name} cannot authenticate: it needs {needed}"
            )
        return SmtpUser(
            name=block.name,
            secret=secret,
            certificate=certificate,
            source=values.get("source", "") or AUTH,
        )

    def _secret(self, block: Block, password: str) -> Secret | None:
        try:
            return parse_secret(password)
        except ValueError as error:
            place = block.place_of("password") or block.place
            self._diagnostics.error(place, f"password: {error}")
            return None

    def _group(self, block: Block) -> SourceGroup:
        values = block.values
        return SourceGroup(
            name=block.name,
            max_smtp_in=values.get("max_smtp_in", UNLIMITED),
            reserved_smtp_in=values.get("reserved_smtp_in", 0),
        )

    def _address_list(self, block: Block) -> AddressList:
        addresses, expressions, domains = [], [], []
        for entry in block.entries.get("address", ()):
            text = entry.value
            if not text.startswith("/"):
                addresses.append(text.lower())
                if "*" in text:
                    message = f"address: * stands for itself in {text}, and matches nothing else"
                    hint = "for a whole domain write `domain`, for others an expression in slashes"
                    self._diagnostics.warning(entry.place, message, hint=hint)
                continue
            try:
                expressions.append(compile_expression(split_expression(text)[0]))
            except ValueError as error:
                self._diagnostics.error(entry.place, f"address: {error}")
        for entry in block.entries.get("domain", ()):
            for text in self._macros.expand(entry.value, entry.place, ""):
                try:
                    domains.append(DomainPattern(parse_pattern(text)))
                except ValueError as error:
                    self._diagnostics.error(entry.place, f"domain: {error}")
        return AddressList(
            name=block.name,
            addresses=tuple(addresses),
            expressions=tuple(expressions),
            files=tuple((e.value, e.place) for e in block.entries.get("address_file", ())),
            domains=tuple(domains),
        )

    def _aliases(self, entries: list[Entry], host_name: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for entry in entries:
            try:
                name, targets = _alias(entry.value, host_name)
            except ValueError as error:
                self._diagnostics.error(entry.place, f"alias: {error}")
                continue
            if name in found:
                self._diagnostics.warning(
                    entry.place, f"alias {name} is given again; this one counts"
                )
            found[name] = targets
        return found


def _alias(text: str, host_name: str) -> tuple[str, tuple[str, ...]]:
    name, rest = first_word(text)
    name = address.mailbox(unquote(name).lower())
    items = [unquote(item.strip()) for item in rest.split(",")]
    targets = tuple(item if "@" in item else f"{item}@{host_name}" for item in items if item)
    if not targets:
        raise ValueError("expected ADDRESS TARGET[,TARGET…], such as info@a.example joe@b.example")
    if len(targets) > ALIAS_TARGETS_MAX:
        raise ValueError(f"expected at most {ALIAS_TARGETS_MAX} targets")
    wrong = [target for target in targets if not address.is_valid(target)]
    if wrong:
        raise ValueError(f"{wrong[0]} is no address")
    is_local_part = "@" not in name
    probe = f"{name}@{host_name}" if is_local_part else name.replace("*@", "any@", 1)
    if name.startswith("/") or not address.is_valid(probe):
        raise ValueError(f"{name} is no address, *@domain or local part")
    return name, targets
