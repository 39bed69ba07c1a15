"""Listening for mail: sockets, and the connections that come in through them."""

import asyncio
from collections import deque
from ipaddress import ip_address, ip_network
from itertools import count
from typing import TYPE_CHECKING, Final

from mta.errors import TransportError
from mta.net.bind import Bind, bound
from mta.net.inbound import Inbound
from mta.net.reception import Admission, Reception
from mta.net.slots import WAITING_MAX, Slots
from mta.net.tls_server import renew, server_context

if TYPE_CHECKING:
    import ssl

    from mta.config.configuration import Configuration, ListenerSettings

BACKLOG: Final = 1024
LEASE_WAIT_S: Final = 2.0
"""How long a client waits for another worker's part of the room before it is refused."""


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
    ) -> None:
        self.configuration = configuration
        self.reception = reception
        self.admission = admission
        self.own = own
        self.connections: set[Inbound] = set()
        self.connections_top = 0
        self.logged_numbers = count(1 + shard, shards)
        """Of clients whose lines are in the log: no two shards have the same."""
        self.slots = Slots(
            configuration.root.total_max_smtp_in, configuration.submitters.groups, shards=shards
        )
        self._waiting: deque[tuple[str, asyncio.Future[str]]] = deque()
        self._servers: list[asyncio.Server] = []
        self._contexts: list[tuple[ListenerSettings, ssl.SSLContext]] = []
        self._is_closing = False

    async def listen(self, listener: "ListenerSettings", bind: Bind = bound) -> None:
        """Accept connections at a listener's addresses; TransportError if one cannot be had."""
        context = server_context(listener)
        if context is not None:
            self._contexts.append((listener, context))
        loop = asyncio.get_running_loop()
        for address in self._addresses(listener.address):
            sock = bind(address, listener.port)
            self._servers.append(
                await loop.create_server(
                    lambda: Inbound(self, listener, context),
                    sock=sock,
                    backlog=BACKLOG,
                    ssl=context if listener.immediate_tls else None,
                )
            )

    def follow(self, configuration: "Configuration") -> None:
        """Take a new configuration for the clients to come; certificates are read again."""
        self.configuration = configuration
        self.slots.follow(configuration.root.total_max_smtp_in, configuration.submitters.groups)
        self._admit_waiting()
        for listener, context in self._contexts:
            try:
                renew(context, listener)
            except TransportError as error:
                self.reception.log(f"the certificate read before stays in use: {error}")

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
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.stop_when_idle()
        tasks = [c.task for c in self.connections if c.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for connection in list(self.connections):
            connection.break_off()
        for server in self._servers:
            await server.wait_closed()

    @property
    def is_closing(self) -> bool:
        return self._is_closing

    @property
    def ports(self) -> list[tuple[str, int]]:
        """Where connections are accepted."""
        return [sock.getsockname()[:2] for server in self._servers for sock in server.sockets]

    def _addresses(self, address: str) -> list[str]:
        if "/" not in address:
            return [address]
        network = ip_network(address)
        return sorted(own for own in self.own if ip_address(own) in network)
