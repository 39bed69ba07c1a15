"""A receiving server that plays mailbox providers, for tests, demonstrations and load.

It takes mail and throws it away, but knows what it took: every recipient of every message
answered 250 stands in the journal, noted before the answer was sent.
"""

import asyncio
import json
import random
import re
import ssl
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final, Self, cast

from mta import clock
from mta.net.tls_server import server_context
from mta.sim.certificate import Certificate, self_signed
from mta.sim.profile import BUILT_IN, Memory, Profile

HEADERS_KEPT: Final = 20_000
"""Messages whose header blocks are kept, the first ones."""
TEST_ID: Final = re.compile(rb"^X-Petrel-Test-Id:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_PATH = re.compile(r"<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Received:
    """One recipient of one message answered 250."""

    test_id: str
    mail_from: str
    rcpt: str
    source_ip: str
    helo: str
    time: float
    size: int
    headers: bytes = b""
    tls: str = ""
    requires_tls: bool = False
    """Whether MAIL FROM said REQUIRETLS."""
    body: bytes = b""
    """As it came, with dots stuffed; where the provider keeps bodies."""


class Provider:
    """Listens while its context is open. `port` 0 takes a free one."""

    def __init__(
        self,
        profiles: dict[str, Profile] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        journal_path: Path | None = None,
        seed: int = 1,
        certificate: Certificate | None = None,
    ) -> None:
        """Without a `certificate` it has one that it signed itself."""
        self.host = host
        self.port = port
        self.journal: list[Received] = []
        self.keeps_bodies = False
        self.connections_total = 0
        self.refused = 0
        self._memory = Memory(profiles or BUILT_IN, random.Random(seed))  # noqa: S311 - dice
        self._journal_path = journal_path
        self._journal_file: IO[str] | None = None
        self._open: set[_Connection] = set()
        self._certificate = certificate
        self._context: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        if any(profile.starttls == "offer" for profile in self._memory.profiles.values()):
            self._context = server_context(self._certificate or self_signed())
        if self._journal_path is not None:
            self._journal_file = self._journal_path.open("a", buffering=1)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self, self._memory), self.host, self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.transport.abort()
        await self._server.wait_closed()
        if self._journal_file is not None:
            self._journal_file.close()

    def counts(self) -> Counter[str]:
        """How often each test id was received."""
        return Counter(received.test_id for received in self.journal)

    @property
    def context(self) -> ssl.SSLContext | None:
        return self._context

    def opened(self, connection: "_Connection") -> None:
        self.connections_total += 1
        self._open.add(connection)

    def closed(self, connection: "_Connection") -> None:
        self._open.discard(connection)

    def note(self, received: Received) -> None:
        """Write down what is about to be answered 250."""
        self.journal.append(received)
        if self._journal_file is not None:
            row = {k: v for k, v in asdict(received).items() if k != "headers"}
            self._journal_file.write(json.dumps(row) + "\n")


class _Connection(asyncio.Protocol):
    """One client; the profile of the first recipient's domain rules the connection."""

    def __init__(self, provider: Provider, memory: Memory) -> None:
        self.transport: asyncio.Transport
        self._provider = provider
        self._memory = memory
        self._buffer = b""
        self._content: bytearray | None = None
        self._profile = memory.profiles["*"]
        self._helo = self._mail = self._ip = ""
        self._rcpts: list[str] = []
        self._requires_tls = False
        self._messages = 0
        self._delayed = False
        self._garbles = False
        """Whether it is to answer the beginning of a handshake with nonsense."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._ip = transport.get_extra_info("peername")[0]
        self._memory.connections[self._ip] += 1
        self._provider.opened(self)
        greeting = self._memory.greet(self._ip)
        if self._memory.drops(self._profile, "greeting"):
            self.transport.abort()
            return
        self._say(greeting)
        if greeting.startswith("4"):
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._memory.connections[self._ip] -= 1
        self._provider.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._garbles:
            self.transport.write(b"this is no TLS\r\n")
            self.transport.close()
            return
        self._buffer += data
        if not self._delayed:
            self._go_on()

    def _go_on(self) -> None:
        """Answer what is in the buffer; with a tarpit one command at a time."""
        replies: list[bytes] = []
        while not self.transport.is_closing():
            reply = self._content_step() if self._content is not None else self._command_step()
            if reply is None:
                break
            if self._profile.delay_s:
                self._delayed = True
                self.transport.write(b"".join(replies))
                loop = asyncio.get_running_loop()
                loop.call_later(self._profile.delay_s, self._say_later, reply)
                return
            replies.append(reply)
        if replies and not self.transport.is_closing():
            self.transport.write(b"".join(replies))
        if self._messages < 0:
            self.transport.close()

    def _say_later(self, reply: bytes) -> None:
        self._delayed = False
        if not self.transport.is_closing():
            self.transport.write(reply)
            self._go_on()

    def _say(self, text: str) -> None:
        self.transport.write(f"{text}\r\n".encode())

    def _command_step(self) -> bytes | None:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return None
        self._buffer = rest
        text = line.decode("utf-8", "replace")
        verb = text[:4].upper()
        if verb == "MAIL" and self._is_spent():
            self._messages = -1
            return b"421 4.7.0 too many messages on this connection\r\n"
        answer = {
            "EHLO": self._ehlo,
            "HELO": self._ehlo,
            "MAIL": self._on_mail,
            "RCPT": self._on_rcpt,
            "DATA": self._on_data,
            "RSET": self._on_rset,
            "STAR": self._on_starttls,
        }.get(verb)
        if verb == "QUIT":
            self.transport.write(b"221 2.0.0 bye\r\n")
            self.transport.close()
            return None
        reply = answer(text) if answer is not None else "250 2.0.0 ok"
        if reply is None:
            self.transport.abort()
            return None
        # A handshake begins without another word: octets in clear text would break it.
        return f"{reply}\r\n".encode() if reply else None

    def _is_spent(self) -> bool:
        most = self._profile.messages_per_connection
        return bool(most) and self._messages >= most

    def _ehlo(self, text: str) -> str | None:
        self._helo = text[5:].strip()
        if self._memory.drops(self._profile, "ehlo"):
            return None
        lines = ["mx.provider.example", "8BITMIME", "SIZE", "ENHANCEDSTATUSCODES", "SMTPUTF8"]
        if self._profile.pipelining:
            lines.append("PIPELINING")
        is_tls = self.transport.get_extra_info("ssl_object") is not None
        if self._memory.profiles["*"].starttls != "none" and not is_tls:
            lines.append("STARTTLS")
        if self._memory.profiles["*"].requiretls and is_tls:
            lines.append("REQUIRETLS")
        profile = self._memory.profiles["*"]
        if profile.tells_limits:
            most = (
                f"MAILMAX={profile.messages_per_connection}",
                f"RCPTMAX={profile.rcpts_per_message}",
            )
            lines.append(" ".join(["LIMITS", *(one for one in most if not one.endswith("=0"))]))
        return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])

    def _on_starttls(self, text: str) -> str | None:
        del text
        if self._memory.profiles["*"].starttls == "broken":
            self._garbles = True
            return "220 2.0.0 go ahead"
        if self._provider.context is None:
            return "502 5.5.1 no"
        self._buffer = b""
        self.transport.write(b"220 2.0.0 go ahead\r\n")
        self._delayed = True
        asyncio.get_running_loop().create_task(self._secure()).add_done_callback(self._secured)
        return ""

    def _secured(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:
            self.transport.abort()

    async def _secure(self) -> None:
        assert self._provider.context is not None
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(
            self.transport, self, self._provider.context, server_side=True
        )
        self.transport = cast("asyncio.Transport", transport)
        self._delayed = False
        self._go_on()

    def _on_mail(self, text: str) -> str | None:
        match = _PATH.search(text)
        self._mail = match[1] if match else ""
        self._rcpts = []
        if self._memory.drops(self._profile, "mail"):
            return None
        self._requires_tls = "REQUIRETLS" in text.upper().rpartition(">")[2].split()
        is_tls = self.transport.get_extra_info("ssl_object") is not None
        if self._requires_tls and not (self._memory.profiles["*"].requiretls and is_tls):
            return "555 5.5.4 REQUIRETLS is not offered"
        return "250 2.1.0 ok"

    def _on_rcpt(self, text: str) -> str | None:
        match = _PATH.search(text)
        if match is None:
            return "501 5.5.4 RCPT TO:<address>"
        address = match[1]
        self._profile = self._memory.profile(address.rpartition("@")[2].lower())
        if self._memory.drops(self._profile, "rcpt"):
            return None
        most = self._profile.rcpts_per_message
        if most and len(self._rcpts) >= most:
            self._provider.refused += 1
            return "452 4.5.3 too many recipients"
        reply = self._memory.rcpt(self._ip, self._mail, address, clock.now())
        if reply.startswith("250"):
            self._rcpts.append(address)
        else:
            self._provider.refused += 1
        return reply

    def _on_data(self, text: str) -> str | None:
        del text
        if not self._rcpts:
            return "554 5.5.1 no valid recipients"
        if self._memory.drops(self._profile, "data"):
            return None
        self._content = bytearray()
        return "354 go ahead"

    def _on_rset(self, text: str) -> str:
        del text
        self._rcpts = []
        return "250 2.0.0 ok"

    def _content_step(self) -> bytes | None:
        content = self._content
        assert content is not None
        start = max(0, len(content) - 4)
        content += self._buffer
        self._buffer = b""
        at = 0 if content.startswith(b".\r\n") else content.find(b"\r\n.\r\n", start)
        if self._memory.drops(self._profile, "content"):
            self.transport.abort()
            return None
        if at < 0:
            return None
        end = at + (3 if at == 0 and content.startswith(b".\r\n") else 5)
        self._buffer = bytes(content[end:])
        size = at + 2
        head = bytes(content[: max(0, content.find(b"\r\n\r\n") + 4)]) or bytes(content[:size])
        body = bytes(content[len(head) : size]) if self._provider.keeps_bodies else b""
        self._content = None
        self._take(head, body, size)
        if self._memory.drops(self._profile, "after-content"):
            self.transport.abort()
            return None
        return b"250 2.0.0 ok\r\n"

    def _take(self, head: bytes, body: bytes, size: int) -> None:
        provider = self._provider
        found = TEST_ID.search(head)
        kept = head if len(provider.journal) < HEADERS_KEPT else b""
        secured = self.transport.get_extra_info("ssl_object")
        now = clock.now()
        for rcpt in self._rcpts:
            provider.note(
                Received(
                    test_id=found[1].decode() if found else "",
                    mail_from=self._mail,
                    rcpt=rcpt,
                    source_ip=self._ip,
                    helo=self._helo,
                    time=now,
                    size=size,
                    headers=kept,
                    requires_tls=self._requires_tls,
                    tls=secured.version() or "" if secured is not None else "",
                    body=body,
                )
            )
        self._messages += 1
        self._rcpts = []
