"""aiosmtpd's protocol where it has to be another for a loop of our own."""

import asyncio
from typing import Final, cast

from aiosmtpd.smtp import SMTP

from mta.net.unlisted import Unlisted

READ_OCTETS: Final = 256 << 10
UNREAD_OCTETS_MAX: Final = 1 << 20
"""Replies that a client has not read; whoever goes on talking nevertheless is cut off."""


class Stream(Unlisted, SMTP):
    """What comes from a client, and what goes to it."""

    line_length_limit = READ_OCTETS

    def _reset_timeout(self, duration: float | None = None) -> None:
        """Our own deadlines serve."""

    def eof_received(self) -> bool | None:
        stays_open = asyncio.StreamReaderProtocol.eof_received(self)
        # After STARTTLS it takes the connection for one in clear text, which may stay half open.
        transport = self.transport
        is_tls = transport is not None and transport.get_extra_info("ssl_object") is not None
        return stays_open and not is_tls

    def break_off(self) -> None:
        """End the connection, whatever is still to be sent."""
        if self.transport is not None:
            cast("asyncio.Transport", self.transport).abort()

    def say_and_close(self, text: bytes) -> None:
        """End the connection once that is said."""
        if self.transport is not None and not self.transport.is_closing():
            self._writer.write(text)
            self._writer.close()
            self._reader.feed_eof()

    def _is_deaf(self) -> bool:
        transport = cast("asyncio.Transport", self.transport)
        return transport.get_write_buffer_size() > UNREAD_OCTETS_MAX
