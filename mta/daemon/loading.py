"""Reading the configuration of this host, with everything that is wrong with it."""

import gc
import socket
from typing import TYPE_CHECKING

from mta.admin.files import DiskFiles
from mta.config.load import check_host, load
from mta.errors import ConfigError
from mta.net.local_addresses import local_addresses

if TYPE_CHECKING:
    from mta.config.configuration import Configuration


def load_checked(path: str) -> "tuple[Configuration, list[str]]":
    """The configuration, and remarks on it; ConfigError with every problem if it has errors."""
    loaded = load(path, DiskFiles(), host_name=socket.getfqdn())
    diagnostics = list(loaded.diagnostics)
    if loaded.configuration is not None:
        diagnostics += check_host(loaded.configuration, local_addresses())
    errors = [d for d in diagnostics if d.severity == "error"]
    if loaded.configuration is None or errors:
        raise ConfigError(errors)
    # What it is made of lives as long as it does, and has no cycles: the collector need not
    # look at it again, which would stop everything for a quarter of a second.
    gc.freeze()
    return loaded.configuration, [str(d) for d in diagnostics]
