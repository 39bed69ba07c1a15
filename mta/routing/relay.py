"""Whose mail is taken on, and to where. Guide: relaying.

A recipient is accepted if the source may always relay, or the domain is local or a
`relay-domain`, or the address is a `relay-address`. Where no `<source>` applies to the
client, one on this very host may relay and any other may not; so no configuration is an
open relay by leaving something out.
"""

from collections.abc import Sequence
from typing import Protocol


class RelaySource(Protocol):
    """What relaying depends on in the rules for a client."""

    @property
    def always_allow_relaying(self) -> bool: ...


class DomainMatch(Protocol):
    """A domain pattern."""

    def matches(self, domain: str) -> bool: ...


class AddressMatch(Protocol):
    """An address, or a pattern of addresses."""

    def matches(self, rcpt: str) -> bool: ...


class RelayConfiguration(Protocol):
    """What relaying depends on in a configuration."""

    @property
    def relay_domain(self) -> Sequence[DomainMatch]: ...
    @property
    def relay_address(self) -> Sequence[AddressMatch]: ...


def may_relay(
    configuration: RelayConfiguration,
    source: RelaySource,
    *,
    is_local_client: bool,
    source_matched: bool,
    domain: str,
    address: str,
) -> bool:
    """Whether this client may send to address, whose domain, in its one spelling, is domain.

    `is_local_client` is a client on a loopback or own address of this host;
    `source_matched` says whether any `<source>` block applied to the client.
    """
    if source.always_allow_relaying or (is_local_client and not source_matched):
        return True
    return any(pattern.matches(domain) for pattern in configuration.relay_domain) or any(
        pattern.matches(address) for pattern in configuration.relay_address
    )
