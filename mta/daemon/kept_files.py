"""The files that the configuration in force was made with, for workers that start later.

The supervisor keeps them open. A worker that is started again reads what the others have read,
though a file of that name may be gone by then, or be another; and it has the files of header
fields as they were. Who writes into a file instead of replacing it writes into what is kept, too.
"""

import errno
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

from mta.daemon import header_files
from mta.errors import ConfigError, TransportError
from mta.net.tls_server import server_context

if TYPE_CHECKING:
    from mta.config.configuration import Configuration, ListenerSettings

_TOO_MANY: Final = (errno.EMFILE, errno.ENFILE)


class Kept(NamedTuple):
    """What a worker is told of them."""

    paths: Mapping[str, str]
    """Where to find what a path of the configuration led to."""
    included: Mapping[str, bytes]
    """The header fields of each file of `include-headers-from`."""


NOTHING_KEPT: Final = Kept({}, {})


class KeptFiles:
    """What one configuration needs, as long as it is in force; ConfigError if a file is missing."""

    def __init__(
        self,
        configuration: "Configuration",
        listeners: "Iterable[ListenerSettings]",
        before: "KeptFiles | None" = None,
    ) -> None:
        """TLS that cannot be used any more stays what it was `before`, as in a worker.

        `listeners` are those there are until the next start, whatever the configuration names.
        """
        included = header_files.read_now(configuration)
        self.descriptors: dict[str, int] = {}
        for listener in listeners:
            self._keep_tls(listener, {} if before is None else before.descriptors)
        lists = configuration.submitters.address_lists.values()
        for name, path in ((one.name, path) for one in lists for path, _ in one.files):
            try:
                self._keep(path)
            except OSError as error:
                self.close()
                text = f"<address-list {name}>: address-file {path}: {error.strerror}"
                raise ConfigError([text]) from error
        there = f"/proc/{os.getpid()}/fd"
        paths = {path: f"{there}/{number}" for path, number in self.descriptors.items()}
        self.kept = Kept(paths, included)

    def close(self) -> None:
        """No worker needs them any more."""
        while self.descriptors:
            os.close(self.descriptors.popitem()[1])

    def _keep_tls(self, listener: "ListenerSettings", before: Mapping[str, int]) -> None:
        paths = [path for path in (listener.tls_certificate, listener.tls_ca_file) if path]
        try:
            server_context(listener)
            for path in paths:
                self._keep(path)
        except (TransportError, OSError):
            for path in paths:
                if path in before and path not in self.descriptors:
                    self.descriptors[path] = os.dup(before[path])

    def _keep(self, path: str) -> None:
        if path in self.descriptors:
            return
        try:
            self.descriptors[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in _TOO_MANY:  # Those that are not kept are read where they are.
                raise


def open_kept(path: str, paths: Mapping[str, str]) -> TextIO:
    """A file of addresses, as it is kept if it is; OSError if there is none."""
    # Editors on Windows begin a file with a mark that is no part of its first line.
    encoding = "utf-8-sig"
    there = paths.get(path)
    if there is not None:
        try:
            return open(there, encoding=encoding, errors="replace")  # noqa: PTH123 - a str
        except OSError:
            pass  # Nobody may look there, as without /proc.
    return open(path, encoding=encoding, errors="replace")  # noqa: PTH123 - a str
