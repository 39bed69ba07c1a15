"""A sending host on a network with a provider that has two mail hosts and a name server."""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path

from mta.sim.provider import Provider
from tests.e2e.daemon import START_S, Daemon, accounting_rows, stays, until
from tests.e2e.loopback import WORKERS
from tests.e2e.nameserver import Nameserver
from tests.e2e.netns import MX1, MX2, NAMESERVER, SENDER_ADDRESSES, STRANGER, Network
from tests.e2e.submission import Letter, client, submit

ZONE = f"""
; the route of complete.conf, and a trap for whoever looks up its MX or that of example.com
example.com. 60 IN MX 10 mx1.provider.example.
smtp.example.com. 60 IN A {MX1}
smtp.example.com. 60 IN MX 10 mx2.provider.example.
other.example. 60 IN MX 10 mx2.provider.example.
plain.example. 60 IN A {MX1}
mx1.provider.example. 60 IN A {MX1}
mx2.provider.example. 60 IN A {MX2}
"""
LISTENER = (SENDER_ADDRESSES[0], 25)
DELIVERY_S = 30.0
STILL_S = 1.5
"""How long nothing more may arrive before a limit is believed to hold."""


class Site:
    """Everything a configuration meets: addresses to send from, DNS, and somebody to send to."""

    def __init__(self, network: Network, nameserver: Nameserver, mx1: Provider, mx2: Provider):
        self.network = network
        self.nameserver = nameserver
        self.mx1 = mx1
        self.mx2 = mx2

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, network: Network) -> AsyncIterator["Site"]:
        async with contextlib.AsyncExitStack() as stack:
            with network.provider.inside():
                nameserver = stack.enter_context(Nameserver(ZONE, NAMESERVER))
                mx1 = await stack.enter_async_context(Provider(host=MX1, port=25))
                mx2 = await stack.enter_async_context(Provider(host=MX2, port=25))
            yield cls(network, nameserver, mx1, mx2)

    @contextlib.asynccontextmanager
    async def running(self, config: Path) -> AsyncIterator[Daemon]:
        """A daemon on the sending host, started and in the end stopped cleanly."""
        daemon = self.daemon(config)
        try:
            await daemon.start()
            if WORKERS > 1:  # The first greets before all of them serve.
                async with asyncio.timeout(START_S):
                    while (await daemon.command("show", "status")).code:
                        pass
            yield daemon
            if daemon.is_running:
                assert await daemon.stop() == 0, daemon.said()
        finally:
            daemon.kill()

    def daemon(self, config: Path) -> Daemon:
        """One not yet started, on a copy of a configuration file."""
        mine = self.network.directory / config.name
        if mine != config:
            shutil.copy(config, mine)
        if WORKERS > 1 and "\nworkers " not in (text := mine.read_text()):
            # Last, so that all lines stay where they are.
            mine.write_text(f"{text}\nworkers {WORKERS}\n")
        return Daemon(mine, LISTENER, self.network.sender)

    async def submit(self, *messages: Letter) -> None:
        """From the sending host itself."""
        await submit(LISTENER, messages, self.network.sender.inside())

    def stranger(self) -> contextlib.AbstractAsyncContextManager:
        """A client from another host."""
        return client(LISTENER, self.network.provider.inside(), source=STRANGER)

    @property
    def journal(self) -> list:
        """What both hosts of the provider accepted."""
        return [*self.mx1.journal, *self.mx2.journal]

    def sources(self) -> Counter[str]:
        """How many recipients came from each address."""
        return Counter(received.source_ip for received in self.journal)

    async def received(self, count: int) -> None:
        """Wait for so many recipients, and see that there are no more."""
        await until(lambda: len(self.journal) >= count, DELIVERY_S, lambda: f"{self.sources()}")
        await stays(lambda: len(self.journal), STILL_S)
        assert len(self.journal) == count

    def rows(self, kinds: str = "") -> list[dict[str, str]]:
        """The accounting of the seed configuration that names a directory for it."""
        return accounting_rows(self.network.directory / "log/pmta/acct", kinds)


def head_of(received) -> Message:
    """The header fields a message was delivered with."""
    return message_from_bytes(received.headers)


def line_of(config: Path, text: str, nth: int = 1) -> str:
    """`file:line` of the nth line that has a text, as diagnostics print it."""
    lines = config.read_text().splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if text in line]
    return f"{config.name}:{numbers[nth - 1]}"
