"""What the start of the daemon decided for good, whatever a reload says.

A worker that is started later has its spool where the others have theirs, and listens where
they do.
"""

from typing import TYPE_CHECKING, NamedTuple, Self

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
        """The same, with what another configuration says besides directory, address and port."""
        listeners = tuple(one.under(configuration.listeners) for one in self.listeners)
        return self._replace(listeners=listeners)
