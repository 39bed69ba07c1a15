"""What the top level says of every queue. Guide: reroute-to-virtual-mta."""

from mta.config.block import Block
from mta.settings.directive import directives
from mta.settings.domain import DomainSettings

NAMES = ("reroute-to-virtual-mta",)
"""Directives of queues that the top level may give, too."""


def block_of(root: Block) -> Block | None:
    """The layer below all domain blocks; None if the top level says nothing of queues."""
    block = Block("global", "", root.place)
    for name in NAMES:
        one = directives(DomainSettings)[name]
        for value, place in root.entries.get(one.attribute, ()):
            block.add(one, value, place)
    block.seal()
    return block if block.values else None
