"""Finds VirtualMTAs and pools that no mail can ever come to."""

from collections.abc import Collection, Mapping

from mta.config.block import Block
from mta.config.configuration import Configuration
from mta.config.place import Diagnostics
from mta.model.queue_key import BY_SOURCE_IP, DEFAULT_VMTA

SHOWN_MAX = 10
"""VirtualMTAs named one by one; where there are more, one thing is wrong, not many."""


def check(
    configuration: Configuration,
    named: Collection[str],
    pools: Mapping[str, Block],
    diagnostics: Diagnostics,
) -> frozenset[str]:
    """Warn of those that are not `named`, where submitters cannot name them either.

    `named` are the names, in lower case, that something other than a pool gives. The
    names, in lower case, of the VirtualMTAs that nothing reaches.
    """
    parts = configuration.parts
    if BY_SOURCE_IP in named or _may_be_chosen(configuration):
        return frozenset()
    reached = set(named)
    for name in named:
        if name in pools:
            reached.update(member.lower() for member in parts.pools[name].virtual_mta)
    pooled = {member.lower() for pool in parts.pools.values() for member in pool.virtual_mta}
    blocks = [
        block
        for name, block in (*pools.items(), *parts.vmta_blocks.items())
        if name not in reached and name not in pooled and name != DEFAULT_VMTA
    ]
    for block in blocks[:SHOWN_MAX]:
        what = "pool" if block.name.lower() in pools else "VirtualMTA"
        more = len(blocks) - SHOWN_MAX if block is blocks[:SHOWN_MAX][-1] else 0
        diagnostics.warning(
            block.place,
            f"no mail can come to {what} {block.name}"
            + (f", and to {more} others in the same way" if more > 0 else ""),
            hint="name it in default-virtual-mta of a <source>, in a pool or a pattern-list, "
            "or give a <source> process-x-virtual-mta yes",
        )
    return frozenset(parts.vmta_blocks.keys() - reached - {DEFAULT_VMTA})


def _may_be_chosen(configuration: Configuration) -> bool:
    """Whether submitters can name any VirtualMTA: by a header, by mail merge, by a file."""
    parts = configuration.parts
    blocks = [*parts.named_sources.values(), *(block for _, block in parts.networks)]
    # A client on this host that no <source> speaks of may choose.
    return (
        any(not configuration.source_matches(ip) for ip in ("127.0.0.1", "::1"))
        or any(b.values.get(name) for b in blocks for name in CHOOSING)
        or bool(parts.root_block.values.get("pickup"))
    )


CHOOSING = ("process_x_virtual_mta", "allow_mailmerge", "always_allow_api_submission")
"""Directives of a source that let its clients choose."""
