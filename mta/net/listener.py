"""Listening for mail: sockets, and the connections that come in through them."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from mta.errors import TransportError
from mta.model.arrivals import Arrivals
from mta.net.bind import Bind, bound
from mta.net.inbound import Inbound
from mta.net.reception import Admission, Reception
from mta.net.slots import WAITING_MAX, Slots
from mta.net.tls_server import server_context

if TYPE_CHECKING:
    import socket
    import ssl

    from mta.config.configuration import Configuration, ListenerSettings

BACKLOG: Final = 1024
NO_PATHS: Final[Mapping[str, str]] = MappingProxyType({})
LEASE_WAIT_S: Final = 2.0
"""How long a client waits for another worker's part of the room before it is refused."""


def _context_of(settings: "ListenerSettings", paths: Mapping[str, str]) -> "ssl.SSLContext | None":
    certificate, authorities = settings.tls_certificate, settings.tls_ca_file
    there = replace(
        settings,
        tls_certificate=paths.get(certificate, certificate),
        tls_ca_file=paths.get(authorities, authorities),
    )
    with contextlib.suppress(TransportError):  # The error names the file as it is configured.
        return server_context(there)
    return server_context(settings)


class _Open:
    """One listener: what holds for the clients to come, and its sockets."""

    def __init__(
        self, door: "Door", settings: "ListenerSettings", paths: Mapping[str, str]
    ) -> None:
        self.settings = settings
        self._door = door
        self._context = _context_of(settings, paths)
        self._sockets: list[tuple[socket.socket, asyncio.Server]] = []
        self._met_with = self._first_context
        """With what clients are met where TLS comes first: a server has it for good."""

    @property
    def servers(self) -> "list[asyncio.Server]":
        return [server for _, server in self._sockets]

    async def accept(self, sock: "socket.socket") -> None:
        """Take connections of a socket."""
        self._sockets.append((sock, await self._server(sock)))

    def follow(self, settings: "ListenerSettings") -> None:
        """Take other settings of the same address; the files they name are read again.

        TransportError leaves the TLS as it was.
        """
        self.settings = replace(settings, immediate_tls=self.settings.immediate_tls)
        self._context = server_context(settings)
        self.settings = settings

    async def followed(self) -> None:
        """Have the clients to come met with TLS as it is now, where it comes first."""
        if self._met_with is self._first_context:
            return
        for at, (sock, server) in enumerate(self._sockets):
            same = sock.dup()  # Nobody who is just connecting is lost.
            self._sockets[at] = same, await self._server(same)
            server.close()
        self._met_with = self._first_context

    async def _server(self, sock: "socket.socket") -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            lambda: Inbound(self._door, self.settings, self._context),
            sock=sock,
            backlog=BACKLOG,
            ssl=self._first_context,
        )

    @property
    def _first_context(self) -> "ssl.SSLContext | None":
        return self._context if self.settings.immediate_tls else None


class Door:
    """What all listeners of a shard share: the configuration, and how many are inside."""

    def __init__(
        self,
        configuration: "Configuration",
        reception: Reception,
        admission: Admission,
        own: frozenset[str],
        *,
        shard: int = 0,
        shards: int = 1,
        arrivals: Arrivals | None = None,
    ) -> None:
        self.configuration = configuration
        self.reception = reception
        self.admission = admission
        self.own = own
        self.arrivals = arrivals or Arrivals()
        self.connections: set[Inbound] = set()
        self.connections_top = 0
        self.logged_numbers = count(1 + shard, shards)
        """Of clients whose lines are in the log: no two shards have the same."""
        self.slots = Slots(
            configuration.root.total_max_smtp_in, configuration.submitters.groups, shards=shards
        )
        self._waiting: deque[tuple[str, asyncio.Future[str]]] = deque()
        self._listeners: list[_Open] = []
        self._is_closing = False

    async def listen(
        self, listener: "ListenerSettings", bind: Bind = bound, paths: Mapping[str, str] = NO_PATHS
    ) -> None:
        """Accept connections at a listener's addresses; TransportError if one cannot be had.

        Files of TLS are read where `paths` leads from theirs, if it does.
        """
        one = _Open(self, listener, paths)
        self._listeners.append(one)
        for address in addresses_of(listener, self.own):
            await one.accept(bind(address, listener.port))

    def follow(self, configuration: "Configuration") -> None:
        """Take a new configuration for the clients to come; files of TLS are read again."""
        self.configuration = configuration
        self.slots.follow(configuration.root.total_max_smtp_in, configuration.submitters.groups)
        self._admit_waiting()
        for one in self._listeners:
            try:
                one.follow(one.settings.under(configuration.listeners))
            except TransportError as error:
                name = f"{one.settings.address}:{one.settings.port}"
                stays = "the certificate read before stays in use"
                self.reception.log(f"smtp-listener {name}: {stays}: {error}")

    async def followed(self) -> None:
        """Return when the next client anywhere is met as the configuration says."""
        for one in self._listeners:
            if self._is_closing:
                return
            try:
                await one.followed()
            except OSError as error:
                name = f"{one.settings.address}:{one.settings.port}"
                self.reception.log(f"smtp-listener {name} goes on with the TLS of before: {error}")

    def enter(self, connection: Inbound) -> None:
        """A client is there."""
        self.connections.add(connection)
        self.connections_top = max(self.connections_top, len(self.connections))

    async def take_slot(self, group: str, *, waits: bool, timeout: float) -> str:
        """A slot for a client of that group; else the directive that refuses it.

        Those who wait are served in turn, but none for a group that is full.
        """
        refusal = self.slots.take(group)
        if not refusal or len(self._waiting) >= WAITING_MAX or self._is_closing:
            return refusal
        if not waits:
            if not self.slots.may_grow(group):
                return refusal
            timeout = LEASE_WAIT_S
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((group, future))
        done, _ = await asyncio.wait([future], timeout=timeout)
        if not done:
            future.set_result(refusal)
        return future.result()

    def free_slot(self, group: str) -> None:
        """A client that had a slot is gone."""
        self.slots.free(group)
        self.admit_waiting()

    def admit_waiting(self) -> None:
        """There may be room for those who wait."""
        if self._waiting:
            self._admit_waiting()

    def _admit_waiting(self) -> None:
        still: deque[tuple[str, asyncio.Future[str]]] = deque()
        for group, future in self._waiting:
            if future.done():
                continue
            if self.slots.take(group):
                still.append((group, future))
            else:
                future.set_result("")
        self._waiting = still

    async def close(self, within_s: float) -> None:
        """Accept nothing more; end what is idle, let messages under way finish, then break off."""
        self._is_closing = True
        for _, future in self._waiting:
            if not future.done():
                future.set_result("the service is stopping")
        for server in self._servers():
            server.close()
        for connection in list(self.connections):
            connection.stop_when_idle()
        tasks = [c.task for c in self.connections if c.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for connection in list(self.connections):
            connection.break_off()
        for server in self._servers():
            await server.wait_closed()

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    @property
    def ports(self) -> list[tuple[str, int]]:
        """Where connections are accepted."""
        return [sock.getsockname()[:2] for server in self._servers() for sock in server.sockets]

    def _servers(self) -> "list[asyncio.Server]":
        return [server for one in self._listeners for server in one.servers]


def addresses_of(listener: "ListenerSettings", own: frozenset[str]) -> list[str]:
    """Where a listener listens; of a network those addresses that are `own`."""
    if "/" not in listener.address:
        return [listener.address]
    network = ip_network(listener.address)
    return sorted(address for address in own if ip_address(address) in network)


def check_unused(listeners: "Iterable[ListenerSettings]", own: frozenset[str]) -> None:
    """TransportError if somebody listens there already.

    To be asked by who lets several processes listen: they would share it with another daemon,
    and each would get a part of the mail of both.
    """
    for listener in listeners:
        for address in addresses_of(listener, own):
            bound(address, listener.port).close()
