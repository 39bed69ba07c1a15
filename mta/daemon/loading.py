"""Reading the configuration of this host, with everything that is wrong with it."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mta.admin.files import load_file
from mta.admin.tls_check import check_tls
from mta.config.load import check_host, without_collector
from mta.config.place import gathered
from mta.daemon import header_files
from mta.daemon.suppression import unreadable
from mta.errors import ConfigError
from mta.net.local_addresses import local_addresses
from mta.signing.check import check_signing

if TYPE_CHECKING:
    from mta.config.configuration import Configuration


def load_checked(path: str) -> "tuple[Configuration, list[str]]":
    """The configuration, and remarks on it; ConfigError with every problem if it has errors."""
    with made_to_last():
        loaded = load_file(path)
    diagnostics = list(loaded.diagnostics)
    if loaded.configuration is not None:
        diagnostics += check_host(loaded.configuration, local_addresses())
        diagnostics += check_signing(loaded.configuration)
        diagnostics += check_tls(loaded.configuration)
        diagnostics += header_files.unreadable(loaded.configuration)
        diagnostics += unreadable(loaded.configuration.submitters.address_lists.values())
    errors = [d for d in diagnostics if d.severity == "error"]
    if loaded.configuration is None or errors:
        raise ConfigError(errors)
    return loaded.configuration, [str(d) for d in gathered(diagnostics)]


async def let_go(configurations: "list[Configuration]") -> None:
    """Free what the list holds, its last holder, a piece at a time and beside the event loop."""
    while configurations:
        pieces = await asyncio.to_thread(configurations[-1].pieces)
        configurations.pop()
        await asyncio.to_thread(_drop, pieces)


def _drop(pieces: list[object]) -> None:
    while pieces:
        pieces.pop()


@contextmanager
def made_to_last() -> Iterator[None]:
    """What is made within has no cycles, and the collector never looks at it.

    A configuration may be millions of objects. To look at them would stop the event loop
    for a quarter of a second, at the end of the loading and again and again later.
    """
    with without_collector():
        try:
            yield
        finally:
            gc.freeze()
