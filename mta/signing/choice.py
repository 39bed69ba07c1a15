"""Which keys may sign for an identity, in the order in which they are tried.

Guide: domain-key. The first key counts whose domain is that of the identity or above it, and
whose selector is the one asked for. A `*` key signs in the name of the identity's domain.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mta.model.domain_key import DomainKey
from mta.signing.identity import is_within


class Wanted(NamedTuple):
    """What a message, or the configuration for it, asks of a key."""

    identity: str
    """`local@domain` or `@domain`; the i= tag."""
    selector: str = ""
    """Only this one, if given."""
    domain: str = ""
    """Only a key that signs in this name, if given."""
    is_strict: bool = False
    """Whether a key of a parent domain will not do."""

    def __str__(self) -> str:
        asked = [f"d={self.domain}"] if self.domain else []
        asked += [f"s={self.selector}"] if self.selector else []
        return " ".join([self.identity, *asked])


class Candidate(NamedTuple):
    """A key that fits, in the name in which it would sign."""

    key: DomainKey
    path: str
    selector: str
    domain: str


def candidates(keys: Iterable[DomainKey], wanted: Wanted) -> Iterator[Candidate]:
    """The keys that fit, in their order; which of them can be read is not known here."""
    name = wanted.identity.rpartition("@")[2]
    for key in keys:
        selector = wanted.selector if key.selector == "{selector}" else key.selector
        if not selector or (wanted.selector and selector.lower() != wanted.selector.lower()):
            continue
        if key.is_any:
            domain = wanted.domain or name
            if not is_within(name, domain):
                continue  # i= must be within d= (RFC 6376 §3.5)
        elif wanted.domain and wanted.domain != key.domain:
            continue
        elif name == key.domain or (not wanted.is_strict and is_within(name, key.domain)):
            domain = key.domain
        else:
            continue
        yield Candidate(key, key.path_for(selector, domain), selector, domain)
