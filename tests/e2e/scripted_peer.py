"""A server that says at each stage what a test tells it to, and notes what it heard."""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import ssl
from typing import Self

from mta.model.host import Host

CHALLENGE = b"<1896.697170952@peer.example>"
USER, PASSWORD = "user", "secret"
ENDS_S = 5


class ScriptedPeer:
    """`replies` by stage: banner ehlo starttls challenge auth mail rcpt data content.

    A reply of `None` is silence.
    `offers` are EHLO keywords. With a TLS context STARTTLS is done, unless its reply is given;
    `behind_starttls` is said in clear text right behind the reply to it.
    """

    def __init__(
        self,
        *,
        offers: tuple[str, ...] = ("PIPELINING", "ENHANCEDSTATUSCODES"),
        tls: ssl.SSLContext | None = None,
        behind_starttls: str = "",
        **replies: str | None,
    ) -> None:
        self.replies = replies
        self.heard: list[str] = []
        """Commands, and `content` lines, in order; those within TLS after a mark `(tls)`."""
        self.segments: list[bytes] = []
        self._offers = offers + (("STARTTLS",) if tls or "starttls" in replies else ())
        self._tls = tls
        self._behind_starttls = behind_starttls
        self.peer_certificate: object = None
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.host = Host("localhost", "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        # Who is killed may hang up later than the test ends.
        for writer in self._talks.values():
            writer.transport.abort()
        if self._talks:
            await asyncio.wait(self._talks, timeout=ENDS_S)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks[task] = writer
        task.add_done_callback(self._talks.pop)
        with contextlib.suppress(OSError, EOFError, ssl.SSLError):
            await self._converse(reader, writer)
        writer.close()

    def _say(self, writer: asyncio.StreamWriter, stage: str, reply: str) -> None:
        said = self.replies.get(stage, reply)
        if said is not None:
            writer.write(f"{said}\r\n".encode())

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._say(writer, "banner", "220 peer.example ESMTP")
        while line := (await reader.readline()).decode().strip():
            self.heard.append(line)
            verb, _, rest = line.partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = [f"250-{offer}\r\n" for offer in self._offers_in(writer)]
                    self._say(writer, "ehlo", f"250-peer.example\r\n{''.join(offers)}250 OK")
                case "STARTTLS" if self._tls is not None and "starttls" not in self.replies:
                    writer.write(f"220 go ahead\r\n{self._behind_starttls}".encode())
                    await writer.start_tls(self._tls)
                    self.peer_certificate = writer.get_extra_info("ssl_object").getpeercert()
                    self.heard.append("(tls)")
                case "AUTH":
                    is_right = await self._authenticate(rest, reader, writer)
                    self._say(writer, "auth", "235 2.7.0 ok" if is_right else "535 5.7.8 wrong")
                case "MAIL" | "RCPT":
                    self._say(writer, verb.lower(), "250 2.1.0 ok")
                case "DATA":
                    self._say(writer, "data", "354 go ahead")
                    if "data" not in self.replies:
                        await self._content(reader)
                        self._say(writer, "content", "250 2.0.0 ok")
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
                case _:
                    self._say(writer, verb.lower(), "250 ok")

    def _offers_in(self, writer: asyncio.StreamWriter) -> list[str]:
        is_secure = writer.get_extra_info("ssl_object") is not None
        return [offer for offer in self._offers if not (is_secure and offer == "STARTTLS")]

    async def _content(self, reader: asyncio.StreamReader) -> None:
        """Whole reads, to see what came in one segment, as far as a test needs it."""
        content = b""
        while not (content == b".\r\n" or content.endswith(b"\r\n.\r\n")):
            segment = await reader.read(65536)
            if not segment:
                raise EOFError
            self.segments.append(segment)
            content += segment

    async def _authenticate(
        self, rest: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        mechanism, _, initial = rest.partition(" ")

        async def ask(challenge: bytes) -> bytes:
            self._say(writer, "challenge", f"334 {base64.b64encode(challenge).decode()}")
            return base64.b64decode(await reader.readline())

        match mechanism.upper():
            case "CRAM-MD5":
                digest = hmac.new(PASSWORD.encode(), CHALLENGE, hashlib.md5).hexdigest()
                return await ask(CHALLENGE) == f"{USER} {digest}".encode()
            case "LOGIN":
                user = base64.b64decode(initial) if initial else await ask(b"Username:")
                return (user, await ask(b"Password:")) == (USER.encode(), PASSWORD.encode())
            case "PLAIN":
                said = base64.b64decode(initial) if initial else await ask(b"")
                return said == f"\0{USER}\0{PASSWORD}".encode()
        return False
