"""What holds for a client: from the first, and under each configuration that comes into force."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mta.settings.source import SourceSettings

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.net.reception import Session


class Sources:
    """The sources of all sessions of one shard."""

    def __init__(self, configuration: "Configuration") -> None:
        self.epoch = 0
        """Counts configurations: a session does not keep a whole one in memory."""
        self._configuration = configuration
        self._trusted: tuple[SourceSettings, SourceSettings] | None = None

    def follow(self, configuration: "Configuration") -> None:
        """Another configuration is in force; sessions of another epoch are to be renewed."""
        self._configuration = configuration
        self.epoch += 1

    def begin(self, session: "Session") -> None:
        """Say what more holds for a client whose source is of the configuration in force.

        One on this very host that no <source> speaks of is taken at its word about
        VirtualMTAs and jobs.
        """
        session.epoch = self.epoch
        if session.is_local and not session.source_matched and not session.user:
            session.source = self._trusting(session.source)

    def renew(self, session: "Session") -> None:
        """Let the configuration in force hold for a client."""
        session.follow(self._configuration)
        self.begin(session)

    def _trusting(self, source: SourceSettings) -> SourceSettings:
        if self._trusted is None or self._trusted[0] is not source:
            trusted = replace(source, process_x_virtual_mta=True, process_x_job=True)
            self._trusted = (source, trusted)
        return self._trusted[1]
