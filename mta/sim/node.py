"""One daemon in virtual time: the production shard on a machine in memory."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from mta.config.configuration import Configuration
from mta.config.load import load
from mta.daemon.log import Log
from mta.daemon.machine import Machine
from mta.daemon.operations import ShardOperations
from mta.daemon.shard import Shard
from mta.net.resolver import Resolver
from mta.sim.disk import LoopHand
from mta.sim.network import Network
from mta.sim.zone import Zone
from mta.spool.writer import Writer

SAMPLE_S = 3600.0
"""Once a second would be most of the work of a simulated day."""


class MemoryFiles:
    """A configuration that is one text."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def read(self, path: str) -> bytes:
        """Whatever the path."""
        del path
        return self._text

    def glob(self, pattern: str) -> list[str]:
        """Nothing is included."""
        del pattern
        return []


def configured(text: str) -> Configuration:
    """A configuration from its text, which has no errors."""
    loaded = load("sim.conf", MemoryFiles(text), host_name="mta.sender.example")
    assert loaded.configuration is not None, "\n".join(map(str, loaded.diagnostics))
    return loaded.configuration


class Journal(Log):
    """The log: what a daemon says goes to whoever runs it."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        super().__init__(path)
        self._say = say

    def write(self, text: str) -> None:
        self._say(text)


class Node:
    """Started, stopped and started again on the same directory."""

    def __init__(
        self,
        directory: Path,
        network: Network,
        zone: Zone,
        *,
        own: frozenset[str],
        say: Callable[[str], None],
        commit_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.shard: Shard
        self.operations: ShardOperations
        self.is_up = False
        self.disk: LoopHand
        self._commit_s = commit_s
        self._log = Journal(directory / "unused.log", say)
        self._machine = Machine(
            own_addresses=lambda: own,
            connect=network.connect,
            bind=network.bind,
            resolver=lambda _: Resolver(configured=lambda _: zone),
            take_up=self._take_up,
            cores=0,
            sample_s=SAMPLE_S,
        )
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _take_up(self, writer: Writer) -> LoopHand:
        self.disk = LoopHand(writer, self._commit_s)
        return self.disk

    async def start(self, text: str) -> None:
        """Serve under the configuration of that text; returns when it serves."""
        self._stopping = asyncio.Event()
        started = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(
            self._serve(configured(text), started), name="daemon"
        )
        waiting = asyncio.create_task(started.wait())
        await asyncio.wait([waiting, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not started.is_set():
            waiting.cancel()
            await self._task
        self.is_up = True

    async def _serve(self, configuration: Configuration, started: asyncio.Event) -> None:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            self.shard = Shard(configuration, self._log, self._machine)
            await self.shard.run(stack, tasks)
            self.operations = ShardOperations(self.shard, "sim.conf", self._log, self._stopping)
            started.set()
            await self._stopping.wait()
            await self.shard.stop()

    def reload(self, text: str) -> None:
        """Let another configuration be in force."""
        self.shard.reload(configured(text))

    async def stop(self) -> None:
        """As SIGTERM does; returns when the spool is closed."""
        assert self._task is not None
        self.is_up = False
        self._stopping.set()
        await self._task
