"""Configurations as a test writes them: texts in memory, and what is said about them."""

import fnmatch

from mta.config.configuration import Configuration
from mta.config.load import Diagnostic, Loaded, load
from mta.model.queue_key import QueueKey
from mta.settings.domain import DomainSettings

MAIN = "/etc/pmta/config"
HEAD = "spool /s\nlog-file /l\npostmaster p@example.com\nhttp-mgmt-port 8080\nhost-name h.example\n"
"""What keeps a configuration from being told about its defaults; its lines are not counted."""


class Texts:
    """The `Files` of a configuration that is on no disk."""

    def __init__(self, files: dict[str, str | bytes]) -> None:
        self._files = files

    def read(self, path: str) -> bytes:
        try:
            text = self._files[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory") from None
        return text if isinstance(text, bytes) else text.encode()

    def glob(self, pattern: str) -> list[str]:
        return fnmatch.filter(self._files, pattern)


def loaded(text: str | bytes, **others: str | bytes) -> Loaded:
    """The text as the main file; others by name, beside it, with `_` for a dot."""
    beside = {f"/etc/pmta/{name.replace('_', '.')}": other for name, other in others.items()}
    return load(MAIN, Texts({MAIN: text, **beside}), host_name="h.example")


def configured(text: str, **others: str) -> Configuration:
    """The configuration of a text that must be free of errors."""
    result = loaded(text, **others)
    assert result.configuration is not None, "\n".join(map(str, result.diagnostics))
    return result.configuration


def said(text: str | bytes, severity: str = "", **others: str | bytes) -> list[Diagnostic]:
    """What is said about a text apart from its missing defaults."""
    found = loaded(text, **others).diagnostics
    return [d for d in found if d.place.line and severity in ("", d.severity)]


def only(text: str | bytes, severity: str, **others: str | bytes) -> Diagnostic:
    """The one thing of that severity said about a text."""
    found = said(text, severity, **others)
    assert len(found) == 1, "\n".join(map(str, found)) or f"no {severity}"
    return found[0]


def domain(text: str, queue: str) -> DomainSettings:
    """The rules of a queue DOMAIN/VMTA under a text."""
    name, _, vmta = queue.partition("/")
    return configured(text).domain(QueueKey(name, vmta or "{default}"))
