"""A client's connection to the daemon's own listener, without sockets."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from mta.config.configuration import ListenerSettings
from mta.config.place import Place
from mta.config.submitters import Submitters
from mta.model.message import FileContent
from mta.model.reply import Reply
from mta.net.inbound import Inbound
from mta.net.listener import Door
from mta.settings.root import RootSettings
from mta.settings.source import SourceSettings

GREETING = b"EHLO c.example\r\n"
RECEIVED = Reply(250, ("2.6.0 message received",))
MAIL = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"


@dataclass
class Taken:
    """A message as reception has it."""

    mail_from: str
    rcpts: list[str]
    content: bytes
    has_leading_dot: bool
    is_8bit: bool


@dataclass
class Underway:
    """A message that is answered when the disk has it."""

    committed: asyncio.Future

    def reply(self):
        return self.committed.result() or RECEIVED


@dataclass
class Reception:
    """Takes everything."""

    spill_directory: Path
    taken: list[Taken] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    helo: str = ""
    expands: bool = True
    """Of variables that are not defined."""
    merged_messages: list = field(default_factory=list)
    disk: asyncio.Future | None = None
    """What messages on their way to the disk wait for; None if nothing holds them up."""

    def log(self, text):
        self.logged.append(text)

    def open_session(self, session):
        return None

    def followed(self, session):
        return session.source

    def close_session(self, session):
        pass

    def mail(self, session, mail):
        return None

    def rcpt(self, session, mail, rcpt):
        return None

    async def check_sender(self, session, mail):
        return None

    def takes_at_once(self, session):
        return True

    def begin(self, session, mail, rcpts, content, head_size, has_leading_dot, is_8bit):
        self._take(session, mail, rcpts, content, has_leading_dot, is_8bit)
        committed = self.disk
        if committed is None:
            committed = asyncio.get_running_loop().create_future()
            committed.set_result(None)
        return Underway(committed)

    async def message(self, session, mail, rcpts, content, head_size, has_leading_dot, is_8bit):
        octets = content.path.read_bytes() if isinstance(content, FileContent) else content
        self._take(session, mail, rcpts, octets, has_leading_dot, is_8bit)
        return RECEIVED

    async def merged(self, session, submission):
        for index in range(len(submission.rcpts)):
            made = submission.message(index, "Tue, 5 Mar 2024 10:15:00 +0000", expands=self.expands)
            if isinstance(made, Reply):
                self.taken.clear()
                return made
            self.merged_messages.append(made)
            content = made.content, made.has_leading_dot, made.is_8bit
            self._take(session, made.mail, [made.rcpt], *content)
        return RECEIVED

    def _take(self, session, mail, rcpts, octets, has_leading_dot, is_8bit):
        to = [rcpt.address for rcpt in rcpts]
        self.helo = session.helo
        self.taken.append(Taken(mail.mail_from, to, octets, has_leading_dot, is_8bit))


class Admission:
    """Nobody authenticates."""

    def mechanisms(self, session):
        return ()


class Configuration:
    """One source for all."""

    def __init__(self, domain_suffix, source):
        self.root = RootSettings(host_names=("mx.example",), domain_suffix=domain_suffix)
        self.submitters = Submitters()
        self._source = SourceSettings(**source)

    def source(self, client_ip, listener_source="", user_source=""):
        return self._source

    def source_matches(self, client_ip, listener_source="", user_source=""):
        return True

    def vmta(self, name):
        return None

    def vmta_sending_from(self, ip):
        return None


class Transport(asyncio.Transport):
    """Keeps what is written; at its end the protocol hears of it."""

    def __init__(self):
        super().__init__({"peername": ("192.0.2.1", 4321), "sockname": ("192.0.2.9", 25)})
        self.written = b""
        self.protocol = None
        self._is_closing = False

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self._is_closing

    def close(self):
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Wire:
    """One connection."""

    def __init__(self, directory: Path, *, domain_suffix: str = "", **source):
        self.reception = Reception(directory)
        configuration = Configuration(domain_suffix, source)
        door = Door(configuration, self.reception, Admission(), frozenset())
        place = Place("test", 1)
        listener = ListenerSettings(address="192.0.2.9", port=25, place=place)
        self.inbound = Inbound(door, listener, None)
        self.transport = Transport()
        self.transport.protocol = self.inbound
        self.inbound.connection_made(self.transport)

    @property
    def expected(self) -> int:
        """Messages that are being sent."""
        return self.inbound._door.arrivals.expected

    @property
    def taken(self) -> list[Taken]:
        return self.reception.taken

    async def say(self, *pieces: bytes) -> list[int]:
        """The codes of the replies to what is written, last lines only."""
        await self._rest()
        before = len(self.transport.written)
        for piece in pieces:
            if not self.transport.is_closing():
                self.inbound.data_received(piece)
            await self._rest()
        lines = self.transport.written[before:].split(b"\r\n")
        return [int(line[:3]) for line in lines if line[3:4] == b" "]

    async def end(self) -> None:
        """The client is gone."""
        if not self.transport.is_closing():
            self.inbound.eof_received()
            await self._rest()
            self.transport.close()
        await self._rest()
        assert self.inbound.task.done()
        self.inbound.task.result()

    async def _rest(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)


async def dialogue(directory: Path, *pieces: bytes, **source) -> tuple[list[int], list[Taken]]:
    """A whole connection: the codes of all replies after the greeting, the messages taken."""
    wire = Wire(directory, **source)
    codes = await wire.say(*pieces)
    await wire.end()
    return codes, wire.taken
