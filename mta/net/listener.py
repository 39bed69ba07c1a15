"""Listening for mail: sockets, and the connections that come in through them."""

import asyncio
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from mta.net.bind import Bind, bound
from mta.net.inbound import Inbound
from mta.net.reception import Admission, Reception
from mta.net.tls_server import server_context

if TYPE_CHECKING:
    from mta.config.configuration import Configuration, ListenerSettings

BACKLOG: Final = 1024


class Door:
    """What all listeners of a shard share: the configuration, and how many are inside."""

    def __init__(
        self,
        configuration: "Configuration",
        reception: Reception,
        admission: Admission,
        own: frozenset[str],
    ) -> None:
        self.configuration = configuration
        self.reception = reception
        self.admission = admission
        self.own = own
        self.connections: set[Inbound] = set()
        self.connections_top = 0
        self._servers: list[asyncio.Server] = []
        self._is_closing = False

    async def listen(self, listener: "ListenerSettings", bind: Bind = bound) -> None:
        """Accept connections at a listener's addresses; TransportError if one cannot be had."""
        context = server_context(listener)
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

    async def close(self, within_s: float) -> None:
        """Accept nothing more; end what is idle, let messages under way finish, then break off."""
        self._is_closing = True
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
