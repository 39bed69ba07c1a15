"""The header rules of each VirtualMTA, made once for each configuration."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mta.model.message import Envelope
from mta.smtp.head import Head, HeadRules

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.message import Content


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


async def own_head(content: "Content", envelope: "Envelope") -> bytes:
    """The header block a message came with."""
    if isinstance(content, bytes):
        return content[: envelope.head_size]
    return await asyncio.to_thread(_read, content.path, envelope.head_size)


def _read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
