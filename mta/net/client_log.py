"""What a client and we say to each other, for the log. Guide: log-connections and its like.

What is said to authenticate is not shown, whatever is asked for.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from mta.net.dump import HIDDEN, dumped
from mta.net.told_smtp import tls_line

if TYPE_CHECKING:
    from mta.model.reply import Reply
    from mta.net.reception import Session
    from mta.settings.source import SourceSettings
    from mta.smtp.server import Server, Step

AUTH_OCTETS: Final = 5
"""The command and a blank."""

_AUTH: Final = re.compile(rb"^AUTH[ \r\n]", re.IGNORECASE | re.MULTILINE)


class ClientLog:
    """The lines of one connection, each with its number."""

    def __init__(self, session: "Session", log: Callable[[str], None], number: int) -> None:
        self._log = log
        self._name = f"({number:3d})"
        self._peer = f"[{session.peer_ip}]:{session.peer_port}"
        self._octets_in = 0
        self._octets_out = 0
        self._server: Server | None = None
        self._line_begun = b""
        """What came of a line so far, as much as tells whether it is AUTH."""
        self._auths_to_come = 0
        """How often AUTH came that was not answered yet."""
        self._is_after_auth = False
        """Whether the last command that was answered was AUTH."""
        self._has_connections = self._has_commands = self._has_data = self._has_tls = False
        self.follow(session.source)
        if self._has_connections or self._has_commands:
            self._say(f"connected from {self._peer} to [{session.local_ip}]")

    @classmethod
    def of(
        cls, session: "Session", log: Callable[[str], None], numbers: Iterator[int]
    ) -> "ClientLog | None":
        """The log of a new client, with the next number; None if its source wants none."""
        return cls(session, log, next(numbers)) if wants(session.source) else None

    def follow(self, source: "SourceSettings") -> None:
        """Another source holds for the client now."""
        self._has_connections = source.log_connections
        self._has_commands = source.log_commands
        self._has_data = source.log_data
        self._has_tls = source.log_tls

    def received(self, octets: bytes) -> None:
        """What came, as it came."""
        self._octets_in += len(octets)
        if self._has_data:
            self._look_for_auth(octets)
            self._dump(f">>> rd {len(octets)}", octets)

    def sent(self, octets: bytes) -> None:
        """What goes out."""
        self._octets_out += len(octets)
        if self._has_data:
            self._dump(f"<<< wr {len(octets)}", octets)
        if self._has_commands:
            for line in octets.decode("utf-8", "backslashreplace").splitlines():
                self._say(f"<<< {line}")

    def receive(self, server: "Server", line: bytes) -> "tuple[Reply | None, Step]":
        """Let the server answer a command, or what the client says to authenticate."""
        self._server = server
        self._command(line)
        if not self._is_secret:
            self._is_after_auth = _AUTH.match(line + b"\r") is not None
            self._auths_to_come -= self._is_after_auth and self._has_data
        return server.receive(line)

    @property
    def _is_secret(self) -> bool:
        """Whether the client is in the middle of an authentication."""
        return self._server is not None and self._server.is_in_exchange

    def _look_for_auth(self, octets: bytes) -> None:
        """Segments are not lines: what comes after AUTH is secret before it is answered.

        A line of content that begins so hides the rest of the connection; better than the reverse.
        """
        text = self._line_begun + octets
        begun = len(self._line_begun)
        self._auths_to_come += sum(match.end() > begun for match in _AUTH.finditer(text))
        self._line_begun = text[text.rfind(b"\n") + 1 :][:AUTH_OCTETS]

    def _command(self, line: bytes) -> None:
        if not self._has_commands:
            return
        if self._is_secret:
            self._say(f">>> {HIDDEN}")
            return
        text = line.decode("utf-8", "backslashreplace")
        if line[:5].upper() == b"AUTH ":
            text = " ".join([*text.split()[:2], HIDDEN] if text.count(" ") > 1 else text.split())
        self._say(f">>> {text}")

    def secured(self, tls: ssl.SSLObject) -> None:
        """The connection is encrypted."""
        if self._has_tls:
            self._say(tls_line(tls))

    def closed(self) -> None:
        """The connection is over."""
        if self._has_connections or self._has_commands:
            self._say(f"closed {self._peer} in={self._octets_in} out={self._octets_out}")

    def _say(self, text: str) -> None:
        self._log(self._name + "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text))

    def _dump(self, title: str, octets: bytes) -> None:
        self._say(title)
        if self._is_secret or self._is_after_auth or self._auths_to_come > 0:
            self._say(HIDDEN)
            return
        for line in dumped(octets):
            self._say(line)


class LoggedWriter:
    """A stream whose writes are logged; everything else is the stream's."""

    def __init__(self, writer: asyncio.StreamWriter, log: ClientLog) -> None:
        self._writer = writer
        self._log = log

    def write(self, octets: bytes) -> None:
        """As the stream's."""
        self._log.sent(octets)
        self._writer.write(octets)

    def __getattr__(self, name: str) -> object:
        return getattr(self._writer, name)


def wants(source: "SourceSettings") -> bool:
    """Whether anything of a client of that source is to be logged."""
    return source.log_connections or source.log_commands or source.log_data or source.log_tls
