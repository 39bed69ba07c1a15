"""Domain patterns, and which of several is the most specific. Guide: domain patterns.

    gmail.com        that domain
    [*.]gmail.com    the domain and its subdomains
    *.gmail.com      its subdomains
    *                every domain
    [192.0.2/24]     address literals
    {default}        reserved names, as they are

Most specific first: the name itself, then for each shorter parent `*.parent` before
`[*.]parent`, then `*`. Address literals: the longer prefix first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from mta import address
from mta.settings.kinds import parse_cidr

EVERY = "*"


def parse_pattern(text: str) -> str:
    """A pattern in its one spelling; ValueError if it is none."""
    pattern = text.strip().lower().removesuffix(".")
    if pattern == EVERY or re.fullmatch(r"\{[\w-]+\}", pattern):
        return pattern
    if pattern.startswith("[") and not pattern.startswith("[*.]"):
        return f"[{parse_cidr(pattern.strip('[]').removeprefix('ipv6:'))}]"
    name = pattern.removeprefix("[*.]").removeprefix("*.")
    if re.fullmatch(r"[\d.]+", name):
        raise ValueError(f"an address stands in brackets: [{name}]")
    if not name or not address.is_valid_domain(name) or "*" in name:
        raise ValueError("expected a domain such as gmail.com, *.gmail.com, [*.]gmail.com or *")
    return pattern.removesuffix(name) + address.domain_name(name)


def candidates(domain: str) -> Iterator[str]:
    """The patterns that match a domain which is no address literal, most specific first."""
    yield domain
    yield f"[*.]{domain}"
    name = domain
    while "." in name:
        name = name.partition(".")[2]
        yield f"*.{name}"
        yield f"[*.]{name}"
    yield EVERY


def network_of(pattern: str) -> IPv4Network | IPv6Network | None:
    """The network of a pattern of address literals; None for other patterns."""
    if not pattern.startswith("[") or pattern.startswith("[*.]"):
        return None
    return ip_network(pattern.strip("[]"))


def literal_matches(pattern: str, domain: str) -> bool:
    """Whether a pattern of address literals matches the domain `[ip]`."""
    network = network_of(pattern)
    if network is None:
        return False
    try:
        return ip_address(domain.strip("[]").removeprefix("ipv6:")) in network
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class DomainPattern:
    """A pattern to match a domain against."""

    text: str

    def matches(self, domain: str) -> bool:
        """Whether it matches a domain in its one spelling."""
        if domain.startswith("["):
            return self.text == EVERY or literal_matches(self.text, domain)
        return self.text in candidates(domain)


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """An address, or a regular expression of addresses."""

    text: str
    expression: re.Pattern[str] | None = None

    def matches(self, rcpt: str) -> bool:
        """Whether it matches; neither case nor spelling counts."""
        if self.expression is not None:
            return any(self.expression.search(text) for text in address.spellings(rcpt))
        return address.mailbox(self.text.lower()) == address.mailbox(rcpt.lower())
