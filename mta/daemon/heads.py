"""The header rules of each queue, made once for each configuration."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta import clock
from mta.model.message import Envelope
from mta.smtp.head import Head, HeadRules
from mta.smtp.rewriting import NO_REWRITES

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.model.message import Content
    from mta.settings.domain import DomainSettings

RULES_MAX: Final = 10_000
"""VirtualMTAs, each with each set of header rules of domains; a few KB each."""
_Same = tuple[str, tuple[str, ...], tuple[str, ...]]


class Heads:
    """Renders header blocks under one configuration; `included` is by path of the file."""

    def __init__(self, configuration: "Configuration", included: Mapping[str, bytes]) -> None:
        self._configuration = configuration
        self._included = included
        self._rules: dict[_Same, HeadRules] = {}
        self._date = (0, "")
        self._sent = (0, "")

    def rules(self, vmta_name: str, settings: "DomainSettings") -> HeadRules:
        """The rules of a queue; of a VirtualMTA that is gone, the global ones."""
        same = (vmta_name, settings.remove_header, settings.add_header)
        try:
            return self._rules[same]
        except KeyError:
            if len(self._rules) >= RULES_MAX:
                self._rules.clear()
            root = self._configuration.root
            vmta = self._configuration.vmta(vmta_name)
            files = (root.include_headers_from, vmta.include_headers_from if vmta else "")
            rules = self._rules[same] = HeadRules(
                host_name=(vmta.host_name if vmta else "") or root.host_name,
                added=(
                    *root.add_header,
                    *(vmta.add_header if vmta else ()),
                    *settings.add_header,
                ),
                add_received=vmta is None or vmta.add_received_header is not False,
                hide_received=vmta is not None and vmta.hide_received_header,
                included=b"".join(self._included[file] for file in files if file),
                removed=settings.remove_header,
                vmta=vmta_name,
                rewrites=self._configuration.rewrite_list(vmta.rewrite_list if vmta else "")
                or NO_REWRITES,
            )
            return rules

    def render(self, rules: HeadRules, envelope: Envelope, recipient: str, head: bytes) -> Head:
        """The header block of one transaction; see `HeadRules.render`."""
        second = int(envelope.time_queued)
        if self._date[0] != second:
            self._date = (second, _printed(second))
        if not envelope.adds_date:
            return rules.render(envelope, recipient, self._date[1], head)
        now = int(clock.now())
        if self._sent[0] != now:
            self._sent = (now, _printed(now))
        return rules.render(envelope, recipient, self._date[1], head, sent=self._sent[1])


def _printed(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC).astimezone())


async def own_head(content: "Content", envelope: "Envelope") -> bytes:
    """The header block a message came with."""
    return await head_of(content, envelope.head_size)


async def head_of(content: "Content", size: int) -> bytes:
    """The header block of content, which has that many octets."""
    if isinstance(content, bytes):
        return content[:size]
    return await asyncio.to_thread(_read, content.path, size)


def _read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
