"""Spool directories, put together from their sections."""

from collections.abc import Callable, Sequence

from mta.config.block import Block
from mta.config.configuration import SpoolSettings
from mta.config.place import Diagnostics

DEFAULT = "/var/spool/pmta"


def settings(
    spools: Sequence[Block],
    root: Block,
    path_of: Callable[[str], str],
    diagnostics: Diagnostics,
) -> tuple[SpoolSettings, ...]:
    """The spools in the order given; `DEFAULT` where there is none."""
    if not spools:
        return (SpoolSettings(directory=DEFAULT),)
    for extra in spools[1:]:
        diagnostics.note(
            extra.place, "one spool directory is used, the first; this one is left alone"
        )
    old = root.values.get("spool_min_free_space", 0)
    return tuple(
        SpoolSettings(
            directory=path_of(block.name),
            min_free_space=block.values.get("min_free_space", 0) or old,
        )
        for block in spools
    )
