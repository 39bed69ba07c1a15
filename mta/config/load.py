"""Loading a configuration file, with everything there is to say about it."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from mta.config import own_spf_check, reach_check, relay_check, shadow_check
from mta.config.build import Builder
from mta.config.configuration import Configuration
from mta.config.grammar import (
    LINE_CHARACTERS_MAX,
    Files,
    Reader,
    decoded,
    lines_of,
    take_apart,
)
from mta.config.place import Diagnostic, Diagnostics, Place

__all__ = ["Diagnostic", "Files", "Loaded", "check_host", "load", "with_lines", "without_collector"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of it. `configuration` is None if there are errors."""

    configuration: Configuration | None
    diagnostics: tuple[Diagnostic, ...]


def load(path: str, files: Files, *, host_name: str = "localhost") -> Loaded:
    """Read the configuration at path. Never raises: problems are diagnostics.

    `host_name` is the name of this host, for want of a `host-name`.
    """
    diagnostics = Diagnostics()
    with without_collector():
        tree = Reader(files, diagnostics).read(path)
        if diagnostics.has_errors and not tree.body:  # Nothing was read: no default is of interest.
            return Loaded(None, diagnostics.in_order())
        configuration = Builder(path, diagnostics, host_name).build(tree)
        take_apart(tree)
        relay_check.check(configuration, diagnostics)
        reach_check.check(configuration, diagnostics)
        own_spf_check.check(configuration, diagnostics)
        shadow_check.check(configuration, diagnostics)
        found = tuple(with_lines(diagnostics.in_order(), files))
    return Loaded(None if diagnostics.has_errors else configuration, found)


def with_lines(found: Iterable[Diagnostic], files: Files) -> Iterator[Diagnostic]:
    """Each with its line, which what was found in the finished configuration does not have."""
    texts: dict[str, list[str]] = {}
    for one in found:
        file, number, _ = one.place
        if one.line or not number:
            yield one
            continue
        if file not in texts:
            try:
                texts[file] = lines_of(decoded(files.read(file)))
            except OSError:
                texts[file] = []
        line = texts[file][number - 1] if number <= len(texts[file]) else ""
        yield replace(one, line=line[:LINE_CHARACTERS_MAX])


@contextmanager
def without_collector() -> Iterator[None]:
    """A large file makes millions of objects and no cycle of them.

    To look for cycles meanwhile takes a third of the time, and stops every other thread for
    a quarter of a second at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def check_host(
    configuration: Configuration, local_addresses: frozenset[str]
) -> tuple[Diagnostic, ...]:
    """What does not fit this host: addresses it does not own."""
    diagnostics = Diagnostics()
    own = {ip_address(address) for address in local_addresses}
    owned = ", ".join(sorted(local_addresses)[:10])
    parts = configuration.parts
    for block in (parts.root_block, *parts.vmta_blocks.values()):
        for attribute in ("smtp_source_host", "smtp_source_ip"):
            for entry in block.entries.get(attribute, ()):
                if not _is_owned(entry.value[0], own):
                    diagnostics.error(
                        entry.place,
                        f"this host does not own the source address {entry.value[0]}",
                        hint=f"it owns {owned}",
                    )
    for listener in configuration.listeners:
        address = listener.address
        if address not in ("0.0.0.0", "::") and not _is_owned(address, own):  # noqa: S104
            diagnostics.error(
                Place(*listener.place),
                f"this host does not own the listener's address {address}",
                hint=f"it owns {owned}",
            )
    return diagnostics.in_order()


def _is_owned(text: str, own: set[IPv4Address | IPv6Address]) -> bool:
    if "/" in text:
        network = ip_network(text)
        return any(address in network for address in own)
    address = ip_address(text)
    return address in own or address.is_loopback
