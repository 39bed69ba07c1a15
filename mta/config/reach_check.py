"""Finds limits that no queue can reach, as a narrower one always binds first."""

from collections.abc import Iterator

from mta.config.block import Block
from mta.config.configuration import Configuration, VirtualMtaSettings
from mta.config.place import Diagnostics, Place
from mta.units import UNLIMITED


def check(configuration: Configuration, diagnostics: Diagnostics) -> None:
    """Warn of each value that is larger than one above it."""
    parts = configuration.parts
    total = parts.root.total_max_smtp_out
    above = parts.root_block.place_of("total_max_smtp_out")
    for block in _blocks(configuration):
        _connections(block, total, f"total-max-smtp-out {total}", above, diagnostics)
    for name, index in parts.vmta_domains.items():
        vmta = parts.vmtas.get(name)
        if vmta is not None:
            for block in index:
                _within(block, vmta, parts.vmta_blocks[name], diagnostics)


def _blocks(configuration: Configuration) -> Iterator[Block]:
    parts = configuration.parts
    yield from parts.vmta_blocks.values()
    for index in (parts.domains, *parts.pool_domains.values(), *parts.vmta_domains.values()):
        yield from index


def _within(
    block: Block, vmta: VirtualMtaSettings, of_vmta: Block, diagnostics: Diagnostics
) -> None:
    place = of_vmta.place_of("max_smtp_out")
    text = f"max-smtp-out {vmta.max_smtp_out} of VirtualMTA {vmta.name}"
    _connections(block, vmta.max_smtp_out, text, place, diagnostics)
    rate, most = block.values.get("max_msg_rate"), vmta.max_msg_rate
    given = block.place_of("max_msg_rate")
    if rate is None or most is None or given is None or rate.per_second <= most.per_second:
        return
    above = of_vmta.place_of("max_msg_rate") or of_vmta.place_of("max_smtp_msg_rate")
    diagnostics.warning(
        given,
        f"max-msg-rate {rate} is never reached: VirtualMTA {vmta.name} has {most} in all"
        f"{f' ({above})' if above else ''}",
    )


def _connections(
    block: Block, most: int, what: str, above: Place | None, diagnostics: Diagnostics
) -> None:
    given = block.place_of("max_smtp_out")
    value = block.values.get("max_smtp_out", 0)
    if given is not None and most < UNLIMITED and most < value < UNLIMITED:
        where = f" ({above})" if above else ""
        diagnostics.warning(given, f"max-smtp-out {value} is never reached: {what} binds{where}")
