"""One client's connection: aiosmtpd's protocol with a command loop of our own.

One task for each connection reads what there is, lets `smtp.server` answer every command in it,
and writes the replies at once. What comes one by one is answered where it comes in. While a message
is committed nothing is: a client cannot get ahead of the disk.
"""

import asyncio
import ssl
from collections.abc import Awaitable
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar, cast

from mta.model.arrivals import Arrival
from mta.model.reply import Reply
from mta.net import content_end
from mta.net.client_log import ClientLog, LoggedWriter
from mta.net.deadline import Deadline
from mta.net.incoming import Incoming
from mta.net.reception import Session, Underway
from mta.net.refusals import STOPPING, TIMEOUT, crowded
from mta.net.session_policy import SessionPolicy, server_of, session_of
from mta.net.stream import READ_OCTETS, Stream
from mta.net.tls_server import note_tls, start_tls
from mta.net.unlisted import Unlisted
from mta.smtp.reply_line import written
from mta.smtp.server import Server, Step

if TYPE_CHECKING:
    from mta.config.configuration import ListenerSettings
    from mta.net.listener import Door

_T = TypeVar("_T")
ANSWERED_AT_ONCE: Final = frozenset({b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP", b"EHLO", b"HELO"})
"""Commands that have a reply, and after it nothing that waits for anything but the client."""
PROGRESS_OCTETS: Final = 32 << 10
"""Of content; after so many, and not before, a client has the whole timeout again."""
COMMANDS_AT_ONCE_MAX: Final = 200
"""Of one client, before others have a turn: a few milliseconds."""
PRODUCT: Final = "Petrel"


class Inbound(Stream):
    """One client."""

    def __init__(
        self, door: "Door", listener: "ListenerSettings", context: ssl.SSLContext | None
    ) -> None:
        super().__init__(
            handler=Unlisted(),
            hostname=door.configuration.root.host_name,
            loop=asyncio.get_running_loop(),
        )
        self._door = door
        self._listener = listener
        self._context = context
        self._deadline = Deadline(lambda: self.say_and_close(TIMEOUT))
        self._arrival = Arrival(door.arrivals)
        self._is_idle = False
        self._at_rest: Server | None = None
        """Set while the task waits for a command and nothing of one is there."""
        self._session: Session
        self._arriving: Incoming | None = None
        """Content that comes while the task waits; it is woken once it is received."""
        self._received: Incoming | None = None
        self._is_unchecked = False  # A sender that came while the task waited.
        self._underway: Underway | None = None
        """A message on its way to the disk while the task waits."""
        self._progress = 0
        """Octets of content since the time for them began; 0 where it begins again."""
        self._chunks: Incoming | None = None
        """The message that comes by BDAT."""
        self._slot: str | None = None
        """The `<source-group>` of the slot it has, empty for none; None without a slot."""
        self.task: asyncio.Task[None] | None = None
        self._log: ClientLog | None = None

    # aiosmtpd

    def connection_lost(self, error: Exception | None) -> None:
        # Unlike aiosmtpd, do not cancel: a message may be half way to the disk.
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        self._deadline.cancel()
        self._door.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """One command alone is answered here, and content taken: to wake the task costs more."""
        if self._log is not None:
            self._log.received(data)
        if self._arriving is not None:
            self._take_content(self._arriving, data)
            return
        server = self._at_rest
        if (
            server is not None
            and data.endswith(b"\r\n")
            and data.find(b"\n") == len(data) - 1
            and data[:4].upper() in ANSWERED_AT_ONCE
        ):
            self._answer(server, data[:-2])
            return
        self._at_rest = None
        super().data_received(data)

    async def _handle_client(self) -> None:
        """Serve one client; called by aiosmtpd when the connection is made."""
        self.task = asyncio.current_task()
        door = self._door
        door.enter(self)
        session: Session | None = None
        try:
            session = self._met()
            if session is not None and await self._has_slot(session):
                await self._serve(session)
        except (ConnectionError, ssl.SSLError):
            pass  # the client is gone; nothing was promised that is not on disk
        finally:
            self._arrival.expect(is_expected=False)
            await self._settled()
            if session is not None:
                door.reception.close_session(session)
                if self._slot is not None:
                    door.free_slot(self._slot)
            for incoming in (self._chunks, self._arriving, self._received):
                if incoming is not None:
                    incoming.discard()
            self._writer.close()
            if self._log is not None:
                self._log.closed()

    # Ours

    def stop_when_idle(self) -> None:
        """The daemon stops: say so if no message is under way."""
        if self._is_idle:
            self.say_and_close(STOPPING)

    async def _has_slot(self, session: Session) -> bool:
        """Whether there is room for one more client of its kind; it is told if not."""
        source, waits = session.source, self._listener.await_slot
        group, timeout = source.source_group, source.smtp_command_timeout
        refusal = await self._door.take_slot(group, waits=waits, timeout=timeout)
        if refusal:
            self._writer.write(written(crowded(refusal)))
            return False
        self._slot = group
        return True

    def _met(self) -> Session | None:
        """The session of a client that may talk to us; None after refusing it."""
        door = self._door
        assert self.transport is not None
        session = session_of(self.transport, self._listener, door.configuration, door.own)
        if session is None:
            return None
        self._begin_log(session)
        refusal = door.reception.open_session(session)
        if refusal is not None:
            self._writer.write(written(refusal))
            return None
        return session

    def _begin_log(self, session: Session) -> None:
        """Log what is said from now on, if the client's source wants that."""
        if self._log is not None:
            self._log.follow(session.source)
            return
        self._log = ClientLog.of(session, self._door.reception.log, self._door.logged_numbers)
        if self._log is None:
            return
        self._writer = cast("asyncio.StreamWriter", LoggedWriter(self._writer, self._log))
        if early := bytes(self._reader._buffer):  # type: ignore[attr-defined]  # noqa: SLF001
            self._log.received(early)
        if session.is_tls:
            self._log.secured(self._writer.get_extra_info("ssl_object"))

    async def _serve(self, session: Session) -> None:
        self._session = session
        door = self._door
        greeting, server = server_of(
            session,
            SessionPolicy(door.reception, door.admission, session, self._begin_log),
            door.configuration,
            has_tls=self._context is not None,
        )
        self._writer.write(f"220 {greeting} ({PRODUCT}) ESMTP service ready\r\n".encode())
        buffer = b""
        while True:
            if (
                not buffer
                and not self._reader._buffer  # type: ignore[attr-defined]  # noqa: SLF001
                and not session.is_checked
                and not server.is_in_exchange
            ):
                self._at_rest = server
            octets = await self._read(session.source.smtp_command_timeout, idle=server.mail is None)
            await self._settled()
            self._at_rest = None
            step = Step.GO_ON
            if self._received is not None:
                step = await self._answer_content(server, session, self._received)
            elif self._is_unchecked:
                self._is_unchecked = False
                reply, step = await self._checked(server, session)
                self._writer.write(written(reply))
            elif not octets:
                return
            buffer += octets
            if step is Step.GO_ON:
                step, buffer = await self._commands(server, session, buffer)
            self._arrival.expect(is_expected=server.mail is not None)
            if step is Step.END:
                await self._writer.drain()
                return
            if len(buffer) > server.line_octets_max:
                self._writer.write(b"500 5.5.2 the command line is too long\r\n")
                return

    def _answer(self, server: Server, line: bytes) -> None:
        """Reply to a command that no step follows but, after too many errors, the end."""
        if self._is_deaf():
            self.break_off()
            return
        self._deadline.expect(self._session.source.smtp_command_timeout)
        log = self._log
        reply, step = server.receive(line) if log is None else log.receive(server, line)
        if step is Step.CHECK_SENDER:  # Since a reload; it takes the task.
            self._at_rest, self._is_unchecked = None, True
            self._reader._wakeup_waiter()  # type: ignore[attr-defined]  # noqa: SLF001
            return
        if reply is None:
            return  # After XACK OFF.
        if step is Step.END:
            self.say_and_close(written(reply))
            return
        self._writer.write(written(reply))
        self._arrival.expect(is_expected=server.mail is not None)
        if step is Step.CONTENT:
            self._arriving = self._incoming(self._session)
            self._deadline.expect(self._session.source.smtp_data_timeout)
            return
        self._is_idle = server.mail is None
        if self._is_idle and self._door.is_closing:
            self.say_and_close(STOPPING)

    def _take_content(self, incoming: Incoming, octets: bytes) -> None:
        """Take a piece of content; at its end hand it over, or wake the task."""
        rest = incoming.feed(octets)
        if rest is None:
            self._progress += len(octets)
            if self._progress >= PROGRESS_OCTETS:
                self._progress = 0
                self._deadline.expect(self._session.source.smtp_data_timeout)
            return
        server, self._at_rest, self._arriving = self._at_rest, None, None
        if (
            server is not None
            and not rest
            and content_end.may_begin(self._door.reception, self._session, incoming)
        ):
            self._begin(server, incoming)
            return
        self._received = incoming
        if rest:
            super().data_received(rest)
        else:
            self._reader._wakeup_waiter()  # type: ignore[attr-defined]  # noqa: SLF001

    def _begin(self, server: Server, incoming: Incoming) -> None:
        """Hand over content that is there; the task sleeps on unless the client says more."""
        begun = content_end.begin(self._door.reception, server, self._session, incoming)
        if isinstance(begun, Reply):
            self._conclude(server, begun)
        else:
            self._underway = begun
            self._deadline.suspend()
            begun.committed.add_done_callback(lambda _: self._committed(server, begun))

    def _committed(self, server: Server, begun: Underway) -> None:
        """The message is on disk, or will not be."""
        self._underway = None
        try:
            reply = begun.reply()
        except BaseException:
            self.break_off()
            raise
        self._conclude(server, reply)

    def _conclude(self, server: Server, content_reply: Reply) -> None:
        """Reply to content while the task waits, or is about to go on with what came since."""
        server.reset()
        reply, step = server.answered(content_reply)
        if step is Step.END:
            self.say_and_close(written(reply))
            return
        self._writer.write(written(reply))
        self._deadline.expect(self._session.source.smtp_command_timeout)
        if self._reader._waiter is None:  # type: ignore[attr-defined]  # noqa: SLF001
            return  # What came meanwhile is the task's, and has its turn first.
        self._at_rest, self._is_idle = server, True
        if self._door.is_closing:
            self.say_and_close(STOPPING)

    async def _settled(self) -> None:
        """Wait until the message that is on its way to the disk is answered."""
        if self._underway is not None:
            await asyncio.wait([self._underway.committed])

    async def _answer_content(self, server: Server, session: Session, incoming: Incoming) -> Step:
        """Hand over content that is there, and reply."""
        try:
            content_reply = await self._accept(server, session, incoming)
        finally:
            self._received = None
            incoming.discard()
        server.reset()
        reply, step = server.answered(content_reply)
        self._writer.write(written(reply))
        return step

    async def _commands(
        self, server: Server, session: Session, buffer: bytes
    ) -> tuple[Step, bytes]:
        """Answer every whole command in the buffer; what is left of it."""
        replies: list[bytes] = []
        log = self._log
        at = 0  # What is answered is cut off once, not line by line.
        for number in count(1):
            if number % COMMANDS_AT_ONCE_MAX == 0:
                self._writer.write(b"".join(replies))
                replies.clear()
                await asyncio.sleep(0)
            end = buffer.find(b"\n", at)
            if end < 0:
                break
            line, at = buffer[at:end], end + 1
            if line[-1:] != b"\r":
                replies.append(b"500 5.5.2 lines end with CRLF; closing\r\n")
                self._writer.write(b"".join(replies))
                return Step.END, b""
            line = line[:-1]
            reply, step = server.receive(line) if log is None else log.receive(server, line)
            if reply is not None:
                replies.append(written(reply))
            if step is Step.GO_ON:
                continue
            self._writer.write(b"".join(replies))
            replies.clear()
            if step is not Step.END:
                reply, step, buffer = await self._perform(step, server, session, buffer[at:])
                at = 0
                if reply is not None:
                    replies.append(written(reply))
                if step is Step.GO_ON:
                    continue
            self._writer.write(b"".join(replies))
            return step, buffer[at:]
        if replies:
            self._writer.write(b"".join(replies))
        return Step.GO_ON, buffer[at:]

    async def _perform(
        self, step: Step, server: Server, session: Session, buffer: bytes
    ) -> tuple[Reply | None, Step, bytes]:
        """What takes more than a reply: the reply after it, what is next, what is left."""
        reply: Reply | None = None
        match step:
            case Step.CONTENT:
                content_reply, buffer = await self._content(server, session, buffer)
                server.content_ended(content_reply)
                reply, step = server.answered(content_reply)
            case Step.CHUNK:
                chunk_reply, buffer = await self._chunk(server, session, buffer)
                reply, step = server.answered(chunk_reply)
            case Step.CHECK_SENDER:
                reply, step = await self._checked(server, session)
            case Step.VERIFY:
                admission = self._door.admission
                refusal = await self._ours(admission.authenticate(session, server.claim))
                reply, step = server.verified(refusal)
            case Step.START_TLS:
                await self._start_tls(server, session)
                return None, Step.GO_ON, b""
            case _:
                pass
        if step is Step.AUTHENTICATED:
            self._door.admission.admit(session, server.user)
            server.follow(session.source)
            self._begin_log(session)
            step = Step.GO_ON
        return reply, step, buffer

    async def _checked(self, server: Server, session: Session) -> tuple[Reply, Step]:
        assert server.mail is not None
        session.helo = server.helo
        refusal = await self._ours(self._door.reception.check_sender(session, server.mail))
        return server.sender_checked(refusal)

    async def _content(
        self, server: Server, session: Session, buffer: bytes
    ) -> tuple[Reply, bytes]:
        """Take content up to its end; the reply to it, and what follows."""
        incoming = self._incoming(session)
        rest = incoming.feed(buffer)
        try:
            while rest is None:
                rest = incoming.feed(await self._more(session))
            return await self._accept(server, session, incoming), rest
        finally:
            incoming.discard()

    async def _accept(self, server: Server, session: Session, incoming: Incoming) -> Reply:
        """Hand complete content over; the reply to it."""
        return await self._ours(content_end.accept(self._door.reception, server, session, incoming))

    async def _ours(self, work: Awaitable[_T]) -> _T:
        """Wait for what we do ourselves; the client is not late meanwhile."""
        self._deadline.suspend()
        try:
            return await work
        finally:
            self._deadline.expect(self._session.source.smtp_command_timeout)

    async def _chunk(self, server: Server, session: Session, buffer: bytes) -> tuple[Reply, bytes]:
        """Take a chunk of content; the reply to it, and what follows. RFC 3030."""
        chunk = server.chunk
        if self._chunks is None or not server.is_chunking:
            self._discard_chunks()
            self._chunks = self._incoming(session)
        incoming = self._chunks
        refusal = chunk.refusal or incoming.refusal_of(chunk.octets)
        self._progress, left = 0, chunk.octets
        while True:
            taken, buffer = buffer[:left], buffer[left:]
            left -= len(taken)
            if refusal is None:
                incoming.feed_chunk(taken)
            if not left:
                break
            buffer = await self._more(session)
        if refusal is None and not chunk.is_last:
            server.is_chunking = True
            return Reply(250, (f"2.0.0 {chunk.octets} octets received",)), buffer
        try:
            return refusal or await self._accept(server, session, incoming), buffer
        finally:
            # A message is not taken in part: the chunks after a refused one are refused.
            server.reset()
            self._discard_chunks()

    def _incoming(self, session: Session) -> Incoming:
        self._progress = 0
        size_max = session.source.max_message_size
        return Incoming(self._door.reception.spill_directory, size_max, self._arrival)

    def _discard_chunks(self) -> None:
        if self._chunks is not None:
            self._chunks.discard()
            self._chunks = None

    async def _more(self, session: Session) -> bytes:
        """More content, within the time that is left for it."""
        timeout = session.source.smtp_data_timeout if self._progress <= 0 else 0
        octets = await self._read(timeout, idle=False)
        if not octets:
            raise ConnectionResetError
        self._progress = self._progress + len(octets) if timeout == 0 else len(octets)
        if self._progress >= PROGRESS_OCTETS:
            self._progress = 0
        return octets

    async def _start_tls(self, server: Server, session: Session) -> None:
        await self._writer.drain()
        # RFC 3207 §4.2, CVE-2011-0411: nothing said in the clear counts after the handshake.
        self._reader._buffer.clear()  # type: ignore[attr-defined]  # noqa: SLF001
        assert self._context is not None
        before = cast("asyncio.Transport", self.transport)
        self.transport = transport = await start_tls(before, self, self._context)
        self._reader._transport = transport  # type: ignore[attr-defined]  # noqa: SLF001
        self._writer = asyncio.StreamWriter(transport, self, self._reader, self.loop)
        if self._log is not None:
            self._writer = cast("asyncio.StreamWriter", LoggedWriter(self._writer, self._log))
            self._log.secured(transport.get_extra_info("ssl_object"))
        server.tls_started()
        note_tls(session, transport)

    async def _read(self, timeout: int, *, idle: bool) -> bytes:
        """What the client sends next; empty at the end. A timeout of 0 keeps the deadline."""
        if self._is_deaf():
            self.break_off()
            return b""
        if timeout:
            self._deadline.expect(timeout)
        if idle and self._door.is_closing:
            self.say_and_close(STOPPING)
            return b""
        self._is_idle = idle
        octets = await self._reader.read(READ_OCTETS)
        self._is_idle = False
        return octets
