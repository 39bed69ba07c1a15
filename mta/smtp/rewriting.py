"""Senders and From fields as a `<rewrite-list>` wants them. Guide: rewrite-list.

The first rule that matches decides. In a From field nothing but the domain of an address
changes: names, comments, folding and everything else stay as they are, octet by octet.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mta.address import domain_name, mailbox

ANY: Final = "*"

# What tells apart the parts of an address list (RFC 5322 §3.4), and a domain after its @.
# A quote that is never closed is a character like others.
_TOKEN = re.compile(
    rb'"(?:[^"\\]|\\.)*"|\\.|[<>(),:;]|@[ \t\r\n]*([A-Za-z0-9_.\x80-\xff-]+)', re.DOTALL
)
_TOKEN_WITHOUT_COMMENTS = re.compile(_TOKEN.pattern.replace(b"(),", b",", 1), re.DOTALL)
_IN_COMMENT = re.compile(rb"\\.|[()]", re.DOTALL)


class Domains(Protocol):
    """Some domains, asked for in their one spelling."""

    def matches(self, domain: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class SenderRule:
    """`mail-from SOURCE TARGET`. `*` is any in the source, and what was there in the target.

    The null sender has neither local part nor domain.
    """

    local: str
    domain: str
    to_local: str
    to_domain: str

    def covers(self, local: str, domain: str) -> bool:
        """Whether it is for that sender, or for all senders of that form."""
        if not self.domain or not domain:
            return self.domain == domain
        return self.local.lower() in (ANY, local.lower()) and (
            domain_name(self.domain) in (ANY, domain_name(domain))
        )

    def target(self, local: str, domain: str) -> str:
        """What a sender it is for becomes."""
        if not self.to_domain:
            return ""
        to_local = local if self.to_local == ANY else self.to_local
        return f"{to_local}@{domain if self.to_domain == ANY else self.to_domain}"


@dataclass(frozen=True, slots=True)
class RewriteList:
    """The rules of one list, in their order."""

    senders: tuple[SenderRule, ...] = ()
    domains: tuple[tuple[Domains, str], ...] = ()
    """Domains of From fields, and what they become."""

    def sender(self, mail_from: str) -> str:
        """The envelope sender in the place of mail_from."""
        if not self.senders:
            return mail_from
        local, _, domain = mail_from.rpartition("@")
        known, _, name = mailbox(mail_from).rpartition("@")
        for rule in self.senders:
            if rule.covers(known, name):
                return rule.target(local, domain)
        return mail_from

    def domain(self, domain: str) -> str:
        """The domain in the place of one."""
        name = domain_name(domain)
        return next((to for some, to in self.domains if some.matches(name)), domain)


NO_REWRITES: Final = RewriteList()


def domains_of(field: bytes) -> set[str]:
    """The domains of the addresses of a From field, in lower case."""
    return {_domain(field, start, end) for start, end in _domains(field)}


def with_domains(field: bytes, new: Callable[[str], str]) -> bytes:
    """A From field with the domain of each address as `new` says; it is asked in lower case."""
    octets, at = [], 0
    for start, end in _domains(field):
        domain = _domain(field, start, end)
        becomes = new(domain)
        if becomes != domain:
            octets += [field[at:start], becomes.encode()]
            at = end
    return b"".join([*octets, field[at:]]) if octets else field


def _domains(field: bytes) -> list[tuple[int, int]]:
    """Where the domain of each address of a field stands."""
    found = _domains_of(field, _TOKEN)
    if found is None:  # A comment that never ends is none: many a name has such a bracket.
        found = _domains_of(field, _TOKEN_WITHOUT_COMMENTS)
    return found or []


def _domains_of(field: bytes, tokens: re.Pattern[bytes]) -> list[tuple[int, int]] | None:
    """The same; None if a comment is open at the end."""
    found: list[tuple[int, int]] = []
    one: tuple[int, int] | None = None
    depth, is_inside, is_closed = 0, False, False
    at = field.find(b":") + 1
    while (token := (_IN_COMMENT if depth else tokens).search(field, at)) is not None:
        at = token.end()
        match token[0][:1]:
            case b"(":
                depth += 1
            case b")":
                depth = max(0, depth - 1)
            case b"<":
                # What stood before is a name, or the address in clear for people.
                one, is_inside, is_closed = None, True, False
            case b">" if is_inside:
                # Whatever follows it, as there may be a colon or another bracket.
                found += [one] if one is not None else []
                one, is_inside, is_closed = None, False, True
            case b"," | b";" if not is_inside:
                found += [one] if one is not None else []
                one, is_closed = None, False
            case b":":
                one = None  # A group's name, or a route.
            case b"@" if not is_closed:
                one = token.span(1)
    if depth:
        return None
    return [*found, one] if one is not None else found


def _domain(field: bytes, start: int, end: int) -> str:
    return field[start:end].decode("utf-8", "replace").lower()
