"""Every octet of a connection for the log, sixteen to a line. Guide: log-data.

A connection to a peer is dumped by what stands between its transport and its protocol, so that
one that is not dumped does nothing for it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

OCTETS: Final = 16
"""In one line."""
HIDDEN: Final = "(authentication, not shown)"


class Dump:
    """Says what comes and goes over one connection."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.is_secret = False
        """Whether what is said now is said to authenticate."""

    def received(self, octets: bytes) -> None:
        """What came, as it came."""
        self._tell(f">>> rd {len(octets)}", octets)

    def sent(self, octets: bytes) -> None:
        """What goes out."""
        self._tell(f"<<< wr {len(octets)}", octets)

    def _tell(self, title: str, octets: bytes) -> None:
        self._say(title)
        if self.is_secret:
            self._say(HIDDEN)
            return
        for line in dumped(octets):
            self._say(line)


class DumpedProtocol(asyncio.Protocol):
    """Takes what comes for another protocol, and hands everything on to it."""

    def __init__(self, protocol: asyncio.Protocol, dump: Dump) -> None:
        self._protocol = protocol
        self._dump = dump

    def data_received(self, data: bytes) -> None:
        self._dump.received(data)
        self._protocol.data_received(data)

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class DumpedTransport:
    """A transport whose writes are dumped, and what comes for its protocol."""

    def __init__(self, transport: asyncio.Transport, dump: Dump) -> None:
        self._transport = transport
        self._dump = dump

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        """As the transport's."""
        self._transport.set_protocol(DumpedProtocol(protocol, self._dump))

    def write(self, octets: bytes) -> None:
        """As the transport's."""
        self._dump.sent(octets)
        self._transport.write(octets)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """As the transport's."""
        self.write(b"".join(parts))

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)


def dumped(octets: bytes) -> Iterator[str]:
    """Sixteen octets a line: 32 hexadecimal digits, and what is printable."""
    for at in range(0, len(octets), OCTETS):
        part = octets[at : at + OCTETS]
        shown = "".join(chr(one) if 32 <= one < 127 else "." for one in part)
        yield f"{part.hex().upper():32} {shown}"
