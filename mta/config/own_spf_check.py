"""Finds checks of our own SPF that cannot be made, as nothing says where mail leaves from."""

from collections.abc import Collection, Iterator

from mta.config.block import Block
from mta.config.configuration import Configuration
from mta.config.place import Diagnostics

CHECK = "check_spf_outbound"
SHOWN_MAX = 5
"""VirtualMTAs that a warning names."""


def check(configuration: Configuration, diagnostics: Diagnostics) -> None:
    """Warn of each `check-spf-outbound` where VirtualMTAs have no source address."""
    vmtas = configuration.parts.vmtas
    for block, names in _blocks(configuration):
        if not block.values.get(CHECK):
            continue
        without = [
            vmta.name
            for name in names
            if (vmta := vmtas.get(name.lower())) is not None and not vmta.smtp_source_host
        ]
        place = block.place_of(CHECK)
        if without and place is not None:
            more = f" and {len(without) - SHOWN_MAX} more" if len(without) > SHOWN_MAX else ""
            diagnostics.warning(
                place,
                "check-spf-outbound does nothing for mail of VirtualMTA "
                f"{', '.join(without[:SHOWN_MAX])}{more}: no smtp-source-host says which address "
                "it leaves by",
                hint="give the VirtualMTA smtp-source-host ADDRESS NAME",
            )


def _blocks(configuration: Configuration) -> Iterator[tuple[Block, Collection[str]]]:
    """Each <domain> block, and the VirtualMTAs it holds for."""
    parts = configuration.parts
    for block in parts.domains:
        yield block, parts.vmtas
    for name, index in parts.pool_domains.items():
        for block in index:
            yield block, parts.pools[name].virtual_mta if name in parts.pools else ()
    for name, index in parts.vmta_domains.items():
        for block in index:
            yield block, (name,)
