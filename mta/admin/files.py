"""Files as a configuration reads them: from this disk."""

import socket
from dataclasses import replace
from glob import glob
from pathlib import Path

from mta.config.grammar import OCTETS_MAX
from mta.config.load import Loaded, load
from mta.routing import redirect_check


class DiskFiles:
    """The `Files` of `mta.config.load`."""

    def read(self, path: str) -> bytes:
        """The octets of a file, as many as are wanted and one more at most; OSError."""
        with Path(path).open("rb") as file:
            return file.read(OCTETS_MAX + 1)

    def glob(self, pattern: str) -> list[str]:
        """The files that match, in no order."""
        return glob(pattern)  # noqa: PTH207 - the pattern may be absolute


def load_file(path: str) -> Loaded:
    """The configuration at a path of this disk, as this host names itself."""
    loaded = load(path, DiskFiles(), host_name=socket.getfqdn())
    if loaded.configuration is None:
        return loaded
    return replace(
        loaded,
        diagnostics=(*loaded.diagnostics, *redirect_check.check(loaded.configuration)),
    )
