"""What the start of the daemon decided for good, whatever a reload says.

A worker that is started later has its spool where the others have theirs, and listens where
they do.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Self

from mta.errors import TransportError
from mta.net.tls_server import server_context

if TYPE_CHECKING:
    from mta.config.configuration import Configuration, ListenerSettings, SpoolSettings


class Standing(NamedTuple):
    """Of one daemon."""

    spool: "SpoolSettings"
    listeners: "tuple[ListenerSettings, ...]"

    @classmethod
    def of(cls, configuration: "Configuration") -> Self:
        """What a start with it decides."""
        return cls(configuration.spools[0], configuration.listeners)

    def under(self, configuration: "Configuration") -> Self:
        """The same, with what another configuration says besides directory, address and port.

        TLS that cannot be used stays what it was, as it does where it is in use.
        """
        listeners = tuple(
            _usable(one.under(configuration.listeners), one) for one in self.listeners
        )
        return self._replace(listeners=listeners)


def _usable(listener: "ListenerSettings", before: "ListenerSettings") -> "ListenerSettings":
    try:
        server_context(listener)
    except TransportError:
        return replace(
            listener,
            tls_certificate=before.tls_certificate,
            tls_password=before.tls_password,
            tls_versions=before.tls_versions,
            tls_ciphers=before.tls_ciphers,
            tls_ca_file=before.tls_ca_file,
            immediate_tls=before.immediate_tls,
        )
    return listener
