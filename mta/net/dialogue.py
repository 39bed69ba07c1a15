"""A connection that carries transactions: the pipelining client on a real transport."""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from mta.errors import RemoteProtocolError
from mta.model.attempt import Attempt
from mta.model.host import Host
from mta.model.message import FileContent
from mta.model.outcome import Stage
from mta.smtp.client import Client, Next, Transaction, TransactionResult, stuffed
from mta.smtp.extensions import Extensions, PeerLimits
from mta.smtp.reply_parser import ReplyParser

if TYPE_CHECKING:
    from io import BufferedReader
    from ssl import SSLObject

NO_LIMITS: Final = PeerLimits()
CHUNK_OCTETS: Final = 256 << 10
"""How much of a large message is in memory at once."""
FLUSH_POLL_S: Final = 0.01
"""How often to look whether the peer has taken everything; only where a firewall needs it."""
QUIT_S: Final = 5.0
"""How long a peer may take to answer QUIT; the mail is through by then."""


class DialogueSettings(Protocol):
    """What a dialogue depends on among the rules of a queue; seconds."""

    @property
    def data_send_timeout(self) -> int: ...
    @property
    def smtp_data_termination_timeout(self) -> int: ...
    @property
    def smtp_multiple_line_response_timeout(self) -> int: ...
    @property
    def pix_bug_workaround(self) -> bool: ...


class Dialogue(asyncio.Protocol):
    """One connection after EHLO. One transaction at a time."""

    def __init__(
        self,
        attempt: Attempt,
        extensions: Extensions,
        settings: DialogueSettings,
        trace: Callable[[str], None] | None = None,
        *,
        host: Host,
        limits: PeerLimits = NO_LIMITS,
        secured: "SSLObject | None" = None,
        is_pix: bool = False,
    ) -> None:
        self.attempt = attempt
        self.host = host
        self.limits = limits
        self.secured = secured
        """The TLS it goes over, if it does."""
        self.usable = True
        self.octets_in = 0
        self.octets_out = 0
        self.on_lost: Callable[[], None] | None = None
        """Called when the peer closes while nothing is under way."""
        self.extensions = extensions
        self.doubt: str | None = None
        """Why the peer's certificate does not prove its name, empty if it does; None: not asked."""
        self._settings = settings
        self._is_pix = is_pix
        """Whether a firewall that rewrites SMTP stands before the peer."""
        self._client = Client(extensions)
        self._parser = ReplyParser()
        self._trace = trace
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Next] | None = None
        self._transaction: Transaction | None = None
        self._drained: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._broken = ""
        self._fault = ""
        self._is_dot_out = False
        """Whether the final dot of the transaction is written."""
        self.farewell = ""
        """Why it is over although nothing broke, if it is."""
        self._is_unanswered = False
        self._is_quitting = False

    @property
    def may_interrupt(self) -> bool:
        """Whether to close now is safe: the peer cannot have a message it answers for."""
        return not self._is_dot_out

    @property
    def ending(self) -> str:
        """Why it is over although nobody has failed; empty while it is usable."""
        return "" if self.usable else self.farewell or "closed by the remote host"

    def adopt(self, transport: asyncio.Transport) -> None:
        """Take over a transport whose EHLO is done."""
        self._transport = transport
        transport.set_protocol(self)

    # For delivery

    async def transact(self, transaction: Transaction) -> TransactionResult:
        """Carry out one transaction; never raises for what the peer does."""
        if not self.usable:
            return self._broken_result(len(transaction.recipients))
        first = self._client.begin(transaction)
        self._transaction = transaction
        self._is_dot_out = False
        self._expect(self._settings.smtp_multiple_line_response_timeout)
        self._waiter = self._loop.create_future()
        self._write(first)
        try:
            step = await self._waiter
            if step is Next.CONTENT:  # other content was written at once
                await self._send_content(transaction)
                step = await self._next()
        except BaseException:
            self.usable = False  # In the middle of a transaction nothing else can be said.
            raise
        finally:
            self._waiter = None
            self._transaction = None
        result = self._client.result
        if self._broken and self._client.is_over:  # What came after its replies is of no account.
            self.farewell = self._broken
        elif self._broken:
            result.broken = self._broken
            result.fault = self._fault
            result.broken_stage = self._client.stage
            result.is_unanswered = self._is_unanswered
            result.is_pix = self._is_pix
            if self._trace is not None:
                self._trace(f"broken off ({result.broken_stage.name.lower()}): {self._broken}")
        return result

    async def quit(self) -> None:
        """Say QUIT, wait a little for the answer, close."""
        if self.usable and not self._is_quitting:
            self._is_quitting = True
            self.on_lost = None
            self._waiter = self._loop.create_future()
            self._write(b"QUIT\r\n")
            try:
                await asyncio.wait([self._waiter], timeout=QUIT_S)
            finally:
                self.abort()
        self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.usable = False
        self.on_lost = None
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()
        if self._trace is not None:
            trace, self._trace = self._trace, None
            trace(f"closed {self.attempt.dsn_mta} in={self.octets_in} out={self.octets_out}")

    # For the transport

    def data_received(self, data: bytes) -> None:
        self.octets_in += len(data)
        try:
            for reply in self._parser.feed(data):
                if self._trace is not None:
                    self._trace(f">>> {reply}")
                if self._is_quitting:
                    self._wake(Next.DONE)
                    continue
                if self._transaction is None:
                    raise RemoteProtocolError(f"a reply nobody asked for: {reply}")
                self._step(self._client.receive(reply))
        except RemoteProtocolError as error:
            self._fault = str(error)
            self._break(f"protocol error in connection to {self.attempt.dsn_mta}: {error}")

    def _step(self, step: Next) -> None:
        if step is Next.WRITE:
            self._write(self._client.take_output())
        elif step is Next.CONTENT:
            transaction = self._transaction
            assert transaction is not None
            is_apart = self._is_pix and self._settings.pix_bug_workaround
            if is_apart or isinstance(transaction.content, FileContent):
                self._wake(Next.CONTENT)
                return
            self._expect(self._settings.smtp_data_termination_timeout)
            self._write_content(transaction, transaction.content)
        elif step is Next.DONE:
            self._deadline = 0.0
            self._wake(Next.DONE)
        elif step is Next.CLOSE:
            self.farewell = "a reply before the end of the content"
            self._end()
            self._wake(Next.DONE)

    def _write_content(self, transaction: Transaction, content: bytes) -> None:
        skip = transaction.content_skip
        body = content[skip:] if skip else content
        head = transaction.head
        if transaction.envelope.has_leading_dot:
            head, body = stuffed(head), stuffed(body)
        if self._trace is not None:
            self._trace(f"<<< {len(head) + len(body)} octets of content")
        self.octets_out += len(head) + len(body) + 3
        self._client.content_sent()
        self._is_dot_out = True
        self._transport.writelines([head, body, b".\r\n"])

    async def _send_content(self, transaction: Transaction) -> None:
        """Send content no faster than the peer takes it, and then the final dot.

        A reply may come meanwhile, and a connection may break: then it ends.
        """
        if not self.usable:
            return
        if self._trace is not None:
            self._trace(f"<<< content of a message of {transaction.envelope.size} octets")
        if isinstance(transaction.content, FileContent):
            await self._send_file(transaction, transaction.content)
        else:
            content = transaction.content[transaction.content_skip :]
            octets = transaction.head + content
            stuffs = transaction.envelope.has_leading_dot
            self.octets_out += len(octets)
            self._transport.write(stuffed(octets) if stuffs else octets)
        if self._is_pix and self._settings.pix_bug_workaround:
            self._expect(self._settings.data_send_timeout)
            await self._flush()
        if not self.usable:
            return
        self._expect(self._settings.smtp_data_termination_timeout)
        self._waiter = self._loop.create_future()
        self._client.content_sent()
        self._is_dot_out = True
        self._transport.write(b".\r\n")

    async def _flush(self) -> None:
        """Wait until the peer has all that was written, so that what follows goes alone."""
        while self.usable and self._is_filled():  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(FLUSH_POLL_S)

    def _is_filled(self) -> bool:
        sock = self._transport.get_extra_info("socket")
        unsent = unsent_octets(sock.fileno()) if sock is not None else 0
        return bool(self._transport.get_write_buffer_size() or unsent)

    async def _send_file(self, transaction: Transaction, content: FileContent) -> None:
        """Stream large content."""
        stuffs = transaction.envelope.has_leading_dot
        self._transport.write(stuffed(transaction.head) if stuffs else transaction.head)
        before = b"\r\n"
        with content.path.open("rb") as file:
            file.seek(transaction.content_skip)
            while octets := await asyncio.to_thread(_read, file):
                if not self.usable:
                    return
                if stuffs:
                    octets, before = _stuffed_after(before, octets), octets[-2:]
                self.octets_out += len(octets)
                self._expect(self._settings.data_send_timeout)
                self._transport.write(octets)
                if self._drained is not None:
                    await self._drained

    async def _next(self) -> Next:
        if not self.usable or self._waiter is None:
            return Next.DONE
        return await self._waiter

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        name = "ECONNRESET" if isinstance(exc, ConnectionResetError) else "EDISCON"
        self._break(f"{name} in connection to {self.attempt.dsn_mta}")

    # Within

    def _write(self, octets: bytes) -> None:
        if self._trace is not None:
            for line in octets.decode("utf-8", "replace").splitlines():
                self._trace(f"<<< {line}")
        self.octets_out += len(octets)
        self._transport.write(octets)

    def _wake(self, step: Next) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(step)

    def _break(self, text: str) -> None:
        """The connection is of no use any more, because of the peer."""
        if not self.usable and (self._broken or self.farewell):
            return
        was_usable = self.usable
        self._broken = text
        self._end()
        if self._waiter is not None:
            self._wake(Next.DONE)
        elif was_usable and self._transaction is None and self.on_lost is not None:
            self.on_lost()

    def _end(self) -> None:
        """Nothing more is sent, and nothing waits for the peer to take what was."""
        self.usable = False
        self._deadline = 0.0
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        self.resume_writing()

    def _broken_result(self, recipients: int) -> TransactionResult:
        broken = self._broken or f"EDISCON in connection to {self.attempt.dsn_mta}"
        return TransactionResult([None] * recipients, broken=broken, broken_stage=Stage.MAIL)

    def _expect(self, seconds: int) -> None:
        """Something has to come within that time. One timer serves all expectations."""
        self._deadline = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._deadline:
            return
        if self._loop.time() >= self._deadline:
            is_sent = self._is_dot_out and not self._transport.get_write_buffer_size()
            self._is_unanswered = is_sent and self._client.stage is Stage.CONTENT
            self._break(f"ETIMEDOUT in connection to {self.attempt.dsn_mta}")
        else:
            self._timer = self._loop.call_at(self._deadline, self._ring)


def unsent_octets(descriptor: int) -> int:
    """What of a TCP socket's output its peer has not acknowledged, tcp(7): SIOCOUTQ."""
    count = bytearray(4)
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, count)
    return int.from_bytes(count, sys.byteorder)


def _read(file: "BufferedReader") -> bytes:
    return file.read(CHUNK_OCTETS)


def _stuffed_after(before: bytes, octets: bytes) -> bytes:
    """The next piece of content, stuffed; `before` are the last octets before it."""
    if before[-1:] == b"\r" and octets[:2] == b"\n.":
        return b"\n.." + stuffed(octets[2:], at_line_start=False)
    return stuffed(octets, at_line_start=before == b"\r\n")
