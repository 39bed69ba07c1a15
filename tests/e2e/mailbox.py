"""A receiving server that keeps what it gets, octet by octet: aiosmtpd, so not our own code."""

import asyncio
from typing import Self

from aiosmtpd.smtp import SMTP, Envelope, Session


class _LongLines(SMTP):
    line_length_limit = 1 << 20


class Mailbox:
    """Listens on a free port of 127.0.0.1 while its context is open."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.envelopes: list[tuple[str, tuple[str, ...]]] = []
        """Sender and recipients of each message."""
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _LongLines(self, data_size_limit=None, decode_data=False, loop=loop),
            "127.0.0.1",
            0,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.messages.append(envelope.content)
        self.envelopes.append((envelope.mail_from or "", tuple(envelope.rcpt_tos)))
        return "250 2.0.0 kept"
