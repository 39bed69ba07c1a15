"""A worker: the process of one shard among several, as its supervisor tells it.

    python -m mta.daemon.worker DESCRIPTOR PID

The descriptor is its end of the pair of sockets to the supervisor, whose process id follows.
A worker outlives its supervisor by no moment: the kernel kills it then, so that no two
daemons ever have a part each of one spool.
"""

import asyncio
import ctypes
import os
import pickle
import signal
import socket
import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import uvloop

from mta import clock
from mta.daemon import collector, reload
from mta.daemon.control_link import (
    Adopt,
    Answer,
    Call,
    ControlLink,
    Failed,
    Forget,
    Guessed,
    Leaving,
    Lend,
    Line,
    Ping,
    Prepare,
    Ready,
    Release,
    Start,
    Stop,
    Unwatch,
    Watch,
)
from mta.daemon.loading import let_go, made_to_last
from mta.daemon.machine import Machine
from mta.daemon.operations import ShardOperations
from mta.daemon.serving import EXIT_START, SWITCH_INTERVAL_S, leaves
from mta.daemon.shard import WRITER, Shard
from mta.errors import PetrelError
from mta.net.bind import bound
from mta.queues.shares import Shares

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mta.admin.operations import TraceQuery
    from mta.config.configuration import Configuration
    from mta.daemon.kept_files import Kept
    from mta.queues.leases import Lease

REPORT_S: Final = 0.05
"""How long a queue that waits for another worker's part of a limit waits to be heard."""
PR_SET_PDEATHSIG: Final = 1
"""prctl(2)"""


class _LinkLog:
    """The log of a worker: the supervisor has the file."""

    def __init__(self, link: ControlLink) -> None:
        self.write = link.log

    def rotate(self) -> None:
        """The supervisor's to do."""


class Worker:
    """One shard, and the conversation about it."""

    def __init__(self, link: ControlLink, start: Start, configuration: "Configuration") -> None:
        self._link = link
        self._start = start
        self._log = _LinkLog(link)
        machine = Machine(bind=partial(bound, shared=True))
        self._shard = Shard(
            configuration,
            self._log,
            machine,
            shard=start.shard,
            shards=start.shards,
            kept=start.kept,
            standing=start.standing,
        )
        self._stopping = asyncio.Event()
        self._all_stop = False
        """Whether the daemon stops, not this worker alone."""
        self._released = asyncio.Event()
        self._prepared: reload.Prepared | None = None
        self._watches: dict[int, asyncio.Task[None]] = {}
        self._operations = ShardOperations(
            self._shard, start.config_path, self._log, self._stopping
        )

    async def run(self) -> None:
        """From the start to a clean stop."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            await self._shard.run(stack, tasks)
            collector.spare()
            self._shares = Shares(self._shard.scheduler.gate, self._shard.door.slots)
            accounts = self._shard.accounts
            accounts.tell_failure = lambda ip, rate: self._link.send(Guessed(ip, rate))
            listening = tasks.create_task(self._listen(tasks))
            reporting = tasks.create_task(self._report())
            self._link.send(Ready())
            await self._stopping.wait()
            await self._shard.stop()
            if self._start.shard == WRITER and self._all_stop:
                await self._released.wait()
            reporting.cancel()
            for watch in self._watches.values():
                watch.cancel()
            listening.cancel()

    def _leave(self) -> None:
        self._link.send(Leaving())
        self._stopping.set()

    async def _listen(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            said = await self._link.receive()
            match said:
                case Call(number, name):
                    tasks.create_task(self._settle(number, f"command {name}", self._call(said)))
                case Prepare(number, octets, kept):
                    asked = self._prepare(octets, kept)
                    tasks.create_task(self._settle(number, "reading a configuration", asked))
                case Adopt(number):
                    asked = self._adopt()
                    tasks.create_task(self._settle(number, "taking a configuration", asked))
                case Forget():
                    tasks.create_task(self._forget())
                case Ping(number):
                    self._link.send(Answer(number, None))
                case Watch(number, query):
                    self._watches[number] = tasks.create_task(self._watch(number, query))
                case Unwatch(number):
                    self._watches.pop(number).cancel()
                case Guessed(ip, rate):
                    self._shard.accounts.hear_failure(ip, rate)
                case Lend(leases):
                    self._obey(leases)
                case Stop():
                    self._all_stop = True
                    self._stopping.set()
                case Release():
                    self._released.set()
                case _:
                    raise AssertionError(said)

    async def _report(self) -> None:
        """Say what is used of the limits that all workers obey."""
        while True:
            self._say_news()
            await asyncio.sleep(REPORT_S)

    def _say_news(self, *, is_taken: bool = False) -> None:
        news = self._shares.news(clock.now(), is_taken=is_taken)
        if news.is_any:
            self._link.send(news)

    def _obey(self, leases: "list[tuple[int, Lease]]") -> None:
        now = clock.now()
        for birth, lease in leases:
            self._shares.obey(birth, lease, now)
        self._shard.delivery.kick()
        self._shard.door.admit_waiting()
        self._say_news()

    async def _settle(self, number: int, what: str, asked: "Awaitable[object]") -> None:
        """Answer a question with what it comes to."""
        try:
            value = await asked
        except PetrelError as refusal:
            self._link.send(Answer(number, None, str(refusal)))
        except Exception as error:  # a bug in one of them must not take the mail along
            self._log.write(f"{what} failed: {error!r}")
            self._link.send(Answer(number, None, f"internal error: {error!r}"))
        else:
            self._link.send(Answer(number, value))

    async def _call(self, call: Call) -> object:
        method = getattr(self._operations, call.name)
        value: object = await method(*call.arguments, **call.named)
        return value

    async def _prepare(self, octets: bytes, kept: "Kept") -> None:
        configuration = await asyncio.to_thread(unpickled, octets)
        self._prepared = await reload.prepare(configuration, kept)

    async def _adopt(self) -> None:
        prepared, self._prepared = self._prepared, None
        assert prepared is not None
        await reload.adopt(self._shard, prepared, lambda: self._say_news(is_taken=True))

    async def _forget(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            configurations = [prepared.configuration]
            del prepared
            await let_go(configurations)

    async def _watch(self, number: int, query: "TraceQuery") -> None:
        async for text in self._operations.trace(query):
            self._link.send(Line(number, text))
            await self._link.drain()


def unpickled(octets: bytes) -> "Configuration":
    """A configuration; it lasts, so the collector is kept off it."""
    with made_to_last():
        configuration: Configuration = pickle.loads(octets)  # noqa: S301 - our supervisor's
    return configuration


async def _serve(descriptor: int) -> int:
    link = await ControlLink.over(socket.socket(fileno=descriptor))
    start = await link.receive()
    assert isinstance(start, Start)
    failures: list[BaseException] = []
    try:
        configuration = await asyncio.to_thread(unpickled, start.configuration)
        await Worker(link, start, configuration).run()
    except* (PetrelError, OSError) as group:
        failures = leaves(group)
    except* EOFError as group:
        failures = leaves(group)  # the supervisor is gone, and the kernel is about to say so
    for error in failures:
        link.send(Failed(str(error)))
    await link.close()
    return EXIT_START if failures else 0


def _die_with(supervisor: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        sys.exit(EXIT_START)  # it was gone before that


def main(arguments: list[str]) -> int:
    """Serve until told to stop; the exit status."""
    descriptor, supervisor = map(int, arguments)
    _die_with(supervisor)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the supervisor
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collector.collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(descriptor))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
