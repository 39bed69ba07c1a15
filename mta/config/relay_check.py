"""Finds configurations that let anybody relay."""

from ipaddress import ip_address, ip_network

from mta.config.configuration import Configuration, ListenerSettings
from mta.config.place import Diagnostics

NARROW_BITS = 8
"""A shorter prefix is no network of anybody's: 0/0, or the world in halves."""


def check(configuration: Configuration, diagnostics: Diagnostics) -> None:
    """An open relay is an error unless `allow-open-relay yes` accepts it."""
    severity = "warning" if configuration.root.allow_open_relay else "error"
    reachable = [one for one in configuration.listeners if _is_reachable(one)]
    for network, block in configuration.parts.networks:
        if not reachable or not block.values.get("always_allow_relaying"):
            continue
        if ip_network(network).prefixlen < NARROW_BITS and not block.values.get("require_auth"):
            diagnostics.add(
                "warning" if severity == "warning" else "error",
                block.place_of("always_allow_relaying") or block.place,
                f"<source {block.name}> lets anybody relay through {reachable[0].address}",
                hint="name the networks that may, or accept it with `allow-open-relay yes`",
            )
    for listener in reachable:
        block_of = configuration.parts.named_sources.get(listener.source.lower())
        if (
            block_of is not None
            and block_of.values.get("always_allow_relaying")
            and not block_of.values.get("require_auth")
        ):
            diagnostics.add(
                "warning" if severity == "warning" else "error",
                block_of.place_of("always_allow_relaying") or block_of.place,
                f"source {block_of.name} lets everybody relay who connects to "
                f"{listener.address}:{listener.port}",
                hint="listen on a private address, or accept it with `allow-open-relay yes`",
            )


def _is_reachable(listener: ListenerSettings) -> bool:
    """Whether others than this host and its private network may connect."""
    if "/" in listener.address:
        return not ip_network(listener.address).is_private
    address = ip_address(listener.address)
    return address.is_unspecified or not (address.is_private or address.is_loopback)
