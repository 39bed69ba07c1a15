"""Reading the configuration of this host, with everything that is wrong with it."""

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mta.admin.files import DiskFiles
from mta.config.load import check_host, load
from mta.errors import ConfigError
from mta.net.local_addresses import local_addresses

if TYPE_CHECKING:
    from mta.config.configuration import Configuration


def load_checked(path: str) -> "tuple[Configuration, list[str]]":
    """The configuration, and remarks on it; ConfigError with every problem if it has errors."""
    with made_to_last():
        loaded = load(path, DiskFiles(), host_name=socket.getfqdn())
    diagnostics = list(loaded.diagnostics)
    if loaded.configuration is not None:
        diagnostics += check_host(loaded.configuration, local_addresses())
    errors = [d for d in diagnostics if d.severity == "error"]
    if loaded.configuration is None or errors:
        raise ConfigError(errors)
    return loaded.configuration, [str(d) for d in diagnostics]


@contextmanager
def made_to_last() -> Iterator[None]:
    """What is made within has no cycles, and the collector never looks at it.

    A configuration may be millions of objects. To look at them would stop the event loop
    for a quarter of a second, at the end of the loading and again and again later.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
