"""A network in memory: connections with latency, refusals and losses, all in virtual time.

What happens at the sender's side of a connection is told to an observer the moment it
happens there, before the network has any part in it: limits are the sender's promise.
"""

import asyncio
import random
import socket
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast

from mta.model.host import Host
from mta.sim.loop import Factory, VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterable

EPHEMERAL: Final = 32768
"""The first port of a client."""

CLIENT_IP: Final = "10.1.0.1"
"""Whoever opens a connection without saying from where: submitters."""

_EOF: Final = b""
_RESET: Final = None
"""What travels besides octets."""


@dataclass(slots=True)
class Conditions:
    """How one server's address can be reached at this moment."""

    latency_s: float = 0.02
    """One way."""
    jitter_s: float = 0.0
    """At most so much is added, each time anew."""
    is_refusing: bool = False
    is_silent: bool = False
    """Nothing answers, neither connections nor what is sent on open ones."""


@dataclass(slots=True, eq=False)
class Link:
    """One connection, from the first packet until the client's side is closed."""

    number: int
    client: tuple[str, int]
    server: tuple[str, int]
    opened_at: float
    opener: object = None
    """The task that opened it: a host that is tried after another has the same."""
    closed_at: float | None = None
    ends: "tuple[_End, _End] | None" = None


class Observer(Protocol):
    """Who sees what senders do, at their side."""

    def dialled(self, link: Link) -> None: ...

    def sent(self, link: Link, octets: bytes) -> None: ...

    def heard(self, link: Link, octets: bytes) -> None: ...

    def hung_up(self, link: Link) -> None: ...


class _Nobody:
    def dialled(self, link: Link) -> None: ...
    def sent(self, link: Link, octets: bytes) -> None: ...
    def heard(self, link: Link, octets: bytes) -> None: ...
    def hung_up(self, link: Link) -> None: ...


class _End(asyncio.Transport):
    """One side of a link."""

    def __init__(self, network: "Network", link: Link, *, is_client: bool) -> None:
        near, far = (link.client, link.server) if is_client else (link.server, link.client)
        super().__init__({"sockname": near, "peername": far})
        self.peer: _End
        self._network = network
        self._link = link
        self._is_client = is_client
        self._protocol: asyncio.Protocol | None = None
        self._arriving: deque[bytes | None] = deque()
        """On its way here, or here and not taken yet."""
        self._here = 0
        """How many of these have arrived."""
        self._last = 0.0
        self._is_paused = False
        self._is_closing = False
        self._is_lost = False

    # For protocols

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def start(self, protocol: asyncio.BaseProtocol) -> Self:
        """Give the connection to its first protocol."""
        self.set_protocol(protocol)
        protocol.connection_made(self)
        self._network.loop.call_soon(self._take)
        return self

    def is_closing(self) -> bool:
        return self._is_closing

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._network.loop.call_soon(self._take)

    def is_reading(self) -> bool:
        return not self._is_paused

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        if data and not self._is_closing:
            octets = bytes(data)
            if self._is_client:
                self._network.observer.sent(self._link, octets)
            self._send(octets)

    def writelines(self, list_of_data: "Iterable[bytes | bytearray | memoryview[Any]]") -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        self._end(_EOF)

    def abort(self) -> None:
        self._end(_RESET)

    # Within

    def _end(self, how: bytes | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._send(how)
            self._is_over()
            self._network.loop.call_soon(self._lose, None)

    def _is_over(self) -> None:
        if self._is_client:
            self._network.ended(self._link)

    def _send(self, what: bytes | None) -> None:
        conditions = self._network.conditions(self._link.server[0])
        if conditions.is_silent:
            return
        loop = self._network.loop
        peer = self.peer
        peer._last = max(peer._last, loop.time() + self._network.delay_s(conditions))  # noqa: SLF001 - the other end of the same thing
        peer._arriving.append(what)  # noqa: SLF001
        loop.call_at(peer._last, peer._arrive)  # noqa: SLF001

    def _arrive(self) -> None:
        self._here += 1
        self._take()

    def _take(self) -> None:
        while self._here and self._protocol is not None and not (self._is_paused or self._is_lost):
            self._here -= 1
            what = self._arriving.popleft()
            if self._is_closing:
                continue
            if what is _RESET:
                self.lose(ConnectionResetError())
            elif what == _EOF:
                if not self._protocol.eof_received():
                    self.close()
            else:
                if self._is_client:
                    self._network.observer.heard(self._link, what)
                self._protocol.data_received(what)

    def lose(self, error: Exception) -> None:
        """The connection breaks, at this side."""
        if not self._is_closing:
            self._is_closing = True
            self._is_over()
            self._network.loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            if self._protocol is not None:
                self._protocol.connection_lost(error)


@dataclass(slots=True)
class _Place:
    """A socket that is bound, as far as anybody looks."""

    address: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.address


class _Server:
    """Accepts connections until closed."""

    def __init__(self, network: "Network", place: _Place) -> None:
        self._network = network
        self._place = place

    @property
    def sockets(self) -> tuple[_Place, ...]:
        return (self._place,)

    def close(self) -> None:
        self._network.listening.pop(self._place.address, None)

    async def wait_closed(self) -> None:
        """Connections that were accepted are not the server's."""


@dataclass(slots=True, eq=False)
class Network:
    """All addresses of a simulation, and what leads from one to another."""

    loop: VirtualLoop
    dice: random.Random
    observer: Observer = field(default_factory=_Nobody)
    listening: dict[tuple[str, int], Factory] = field(default_factory=dict)
    links: dict[int, Link] = field(default_factory=dict)
    """Those whose client's side is open, connections being opened included."""
    _conditions: dict[str, Conditions] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def conditions(self, ip: str) -> Conditions:
        """Of the way to a server; change them at any time."""
        return self._conditions.setdefault(ip, Conditions())

    def delay_s(self, conditions: Conditions) -> float:
        """How long something takes one way, this time."""
        jitter = conditions.jitter_s
        return conditions.latency_s + (self.dice.uniform(0.0, jitter) if jitter else 0.0)

    def ended(self, link: Link) -> None:
        """The client's side of a link is closed."""
        if self.links.pop(link.number, None) is not None:
            link.closed_at = self.loop.time()
            self.observer.hung_up(link)

    def cut(self, link: Link) -> None:
        """Break a link; both sides notice."""
        if link.ends is not None:
            for end in link.ends:
                end.lose(ConnectionResetError())

    # For a Machine

    def bind(self, address: str, port: int) -> socket.socket:
        """See `mta.net.bind`."""
        return cast("socket.socket", _Place((address, port)))

    async def connect(self, host: Host, source_ip: str, within_s: float) -> socket.socket:
        """See `mta.net.connector.Connect`."""
        return cast("socket.socket", await self._open(source_ip, (host.ip, host.port), within_s))

    async def _open(self, source_ip: str, server: tuple[str, int], within_s: float) -> _End:
        number = next(self._numbers)
        client = (source_ip, EPHEMERAL + number % EPHEMERAL)
        link = Link(number, client, server, self.loop.time(), asyncio.current_task())
        self.links[number] = link
        self.observer.dialled(link)
        conditions = self.conditions(server[0])
        try:
            if conditions.is_silent:
                await asyncio.sleep(within_s)
                raise TimeoutError
            delay_s = self.delay_s(conditions)
            await asyncio.sleep(delay_s)
            factory = self.listening.get(server)
            if factory is None or conditions.is_refusing:
                await asyncio.sleep(delay_s)
                raise ConnectionRefusedError(111, "Connection refused")
            near, far = link.ends = (
                _End(self, link, is_client=True),
                _End(self, link, is_client=False),
            )
            near.peer, far.peer = far, near
            far.start(factory())
            await asyncio.sleep(delay_s)
        except BaseException:
            self.cut(link)
            self.ended(link)
            raise
        return near

    # For the loop

    async def attach(
        self, protocol: asyncio.BaseProtocol, opened: object, address: tuple[str, int]
    ) -> asyncio.Transport:
        """See `mta.sim.loop.Wiring`."""
        if opened is None:
            opened = await self._open(CLIENT_IP, address, 60.0)
        return cast("_End", opened).start(protocol)

    def serve(
        self, factory: Factory, bound: object, address: tuple[str, int]
    ) -> asyncio.AbstractServer:
        """See `mta.sim.loop.Wiring`."""
        place = cast("_Place", bound) if bound is not None else _Place(address)
        if place.address in self.listening:
            raise OSError(98, f"{place.address} is in use")
        self.listening[place.address] = factory
        return cast("asyncio.AbstractServer", _Server(self, place))
