"""What supervisor and worker say to each other, over a pair of sockets that only they hold.

Values cross as pickles: both ends are the same program, and nobody else can write there.
"""

import asyncio
import contextlib
import pickle
import socket
import struct
from typing import Any, Final, NamedTuple, Self

from mta.admin.operations import TraceQuery
from mta.daemon.kept_files import Kept
from mta.daemon.standing import Standing
from mta.queues.leases import Lease
from mta.units import Rate

_LENGTH: Final = struct.Struct(">Q")
UNREAD_OCTETS_MAX: Final = 16 << 20
"""Log lines the other end has not read; more are dropped and counted."""


# From the supervisor


class Start(NamedTuple):
    """First of all: what the worker is."""

    config_path: str
    configuration: bytes
    """Pickled: it may be large, and is unpickled in a thread."""
    shard: int
    shards: int
    kept: Kept
    standing: Standing


class Call(NamedTuple):
    """Do something and answer: a method of the shard's Operations, by name."""

    number: int
    name: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]


class Prepare(NamedTuple):
    """Have a configuration ready, and answer."""

    number: int
    configuration: bytes
    kept: Kept


class Adopt(NamedTuple):
    """The one that is ready is in force from now on; answer."""

    number: int


class Forget(NamedTuple):
    """The one that is ready is not wanted: another worker cannot have it."""


class Ping(NamedTuple):
    """Answer, to show that this is heard."""

    number: int


class Watch(NamedTuple):
    """Send lines of the connections of these queues until told otherwise."""

    number: int
    query: TraceQuery


class Unwatch(NamedTuple):
    """No more of them."""

    number: int


class Lend(NamedTuple):
    """Limits, as the worker calls them, of which it has another lease from now on."""

    leases: list[tuple[int, Lease]]


class Stop(NamedTuple):
    """Take no more mail and finish what is under way."""


class Release(NamedTuple):
    """Nobody needs this worker any more: end, once stopped."""


# From the worker


class Ready(NamedTuple):
    """It serves."""


class Leaving(NamedTuple):
    """It was told to end by itself: it finishes what is under way, and can be asked no more."""


class Failed(NamedTuple):
    """It cannot start, and ends."""

    text: str


class Answer(NamedTuple):
    """To the question of that number: a value, or why there is none."""

    number: int
    value: Any
    refusal: str | None = None


class Line(NamedTuple):
    """For who watches under that number."""

    number: int
    text: str


class Guessed(NamedTuple):
    """A client failed to authenticate. The supervisor says it to the other workers."""

    ip: str
    rate: Rate
    """At which it may."""


class Logged(NamedTuple):
    """A line of the log."""

    text: str


class ControlLink:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._dropped = 0

    @classmethod
    async def over(cls, sock: socket.socket) -> Self:
        """The end of a pair that this process has."""
        return cls(*await asyncio.open_unix_connection(sock=sock))

    def send(self, value: tuple[Any, ...]) -> None:
        """Say something; it is lost if the other end is gone, as everything there is."""
        if self._writer.is_closing():
            return  # The loop knows that it is gone before whoever reads here does.
        octets = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._writer.write(_LENGTH.pack(len(octets)) + octets)

    def log(self, text: str) -> None:
        """Send a line of the log, unless so many wait that they would fill the memory."""
        if self._writer.transport.get_write_buffer_size() > UNREAD_OCTETS_MAX:
            self._dropped += 1
            return
        if self._dropped:
            self.send(Logged(f"{self._dropped} lines could not be logged"))
            self._dropped = 0
        self.send(Logged(text))

    async def receive(self) -> Any:  # noqa: ANN401 - whatever was sent; callers match on it
        """What the other end said next; EOFError when it is gone."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            octets = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None
        return pickle.loads(octets)  # noqa: S301 - see above: nobody else can write there

    async def drain(self) -> None:
        """Wait until what was said has left; not for one who is gone."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def close(self) -> None:
        """Send what is left and hang up."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
