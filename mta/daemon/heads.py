"""The header rules of each VirtualMTA, made once for each configuration."""

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from mta.model.message import Envelope
from mta.smtp.head import Head, HeadRules

if TYPE_CHECKING:
    from mta.config.configuration import Configuration


class Heads:
    """Renders header blocks under one configuration."""

    def __init__(self, configuration: "Configuration") -> None:
        self._configuration = configuration
        self._rules: dict[str, HeadRules] = {}
        self._date = (0, "")

    def rules(self, vmta_name: str) -> HeadRules:
        """The rules of a VirtualMTA; of one that is gone, the global ones."""
        try:
            return self._rules[vmta_name]
        except KeyError:
            root = self._configuration.root
            vmta = self._configuration.vmta(vmta_name)
            rules = self._rules[vmta_name] = HeadRules(
                host_name=(vmta.host_name if vmta else "") or root.host_name,
                added=(*root.add_header, *(vmta.add_header if vmta else ())),
                add_received=vmta is None or vmta.add_received_header is not False,
                hide_received=vmta is not None and vmta.hide_received_header,
            )
            return rules

    def render(self, vmta_name: str, envelope: Envelope, recipient: str, head: bytes) -> Head:
        """The header block of one transaction; see `HeadRules.render`."""
        second = int(envelope.time_queued)
        if self._date[0] != second:
            local = datetime.fromtimestamp(second, UTC).astimezone()
            self._date = (second, format_datetime(local))
        return self.rules(vmta_name).render(envelope, recipient, self._date[1], head)
