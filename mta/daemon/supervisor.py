"""The supervisor: starts the workers, starts them again, and makes one daemon of them.

It does no mail. It has what a daemon has one of: the configuration in force, the log, the
admin socket, the signals. A worker that dies is started again with the configuration in
force, whatever the file says by then; what was in it is on its disk.
"""

import asyncio
import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from mta import clock
from mta.admin.answers import ReloadAnswer
from mta.admin.operations import CommandRefusedError
from mta.admin.server import AdminServer
from mta.admin.socket_path import NAME
from mta.config.plan import fixed
from mta.daemon import reload
from mta.daemon.control_link import Adopt, Forget, Lend, Prepare, Release, Start, Stop
from mta.daemon.kept_files import KeptFiles
from mta.daemon.lending import Lending
from mta.daemon.loading import let_go
from mta.daemon.remote_shard import END_WITHIN_S, RemoteShard, WorkerFailedError
from mta.daemon.shard import WRITER
from mta.daemon.standing import Standing
from mta.errors import PetrelError
from mta.net.listener import check_unused
from mta.net.local_addresses import local_addresses

if TYPE_CHECKING:
    from mta.admin.operations import Operations, TraceQuery
    from mta.config.configuration import Configuration
    from mta.daemon.control_link import Guessed
    from mta.daemon.kept_files import Kept
    from mta.daemon.lending import Leases
    from mta.daemon.log import Log
    from mta.queues.shares import News

RESTART_AFTER_S: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before a worker is started again, the last one for ever."""
WELL_S: Final = 60.0
"""A worker that served so long starts at the first of them again."""
AWAY_POLL_S: Final = 0.1
"""How long a trace may take to hear that a worker serves again."""
FAILPOINT: Final = "PETREL_FAILPOINT"
"""Of the first process of a worker only: a test kills it there once."""


class Supervisor:
    """All workers of a daemon."""

    def __init__(
        self, config_path: str, configuration: "Configuration", log: "Log", workers: int
    ) -> None:
        self.configuration = configuration
        self.stopping = asyncio.Event()
        self.log = log
        self._config_path = config_path
        self._started = fixed(configuration)
        self._standing = Standing.of(configuration)
        self._workers = workers
        self._pickled = b""
        self._files: KeptFiles
        self._shards: list[RemoteShard] = []
        self._reloading = asyncio.Lock()
        self._lending = Lending(workers)

    @property
    def operations(self) -> "list[Operations]":
        """What commands are put to: one for each worker."""
        # Methods are forwarded by name, so that what Operations gains needs no line here.
        return [
            cast("Operations", _WorkerOperations(self, shard)) for shard in range(self._workers)
        ]

    def shard(self, number: int) -> RemoteShard:
        """The worker of that number as it is now."""
        return self._shards[number]

    async def run(
        self, stack: AsyncExitStack, serving: Callable[[asyncio.TaskGroup], None]
    ) -> None:
        """From the start to a clean stop; PetrelError if a worker cannot be started."""
        check_unused(self.configuration.listeners, local_addresses())
        self._pickled = await asyncio.to_thread(pickle.dumps, self.configuration)
        listeners = self._standing.listeners
        self._files = await asyncio.to_thread(KeptFiles, self.configuration, listeners)
        self._shards = [self._new(number) for number in range(self._workers)]
        async with asyncio.TaskGroup() as tasks:
            firsts = [asyncio.get_running_loop().create_future() for _ in self._shards]
            for number, first in enumerate(firsts):
                tasks.create_task(self._keep(number, first))
            done, _ = await asyncio.wait(firsts, return_when=asyncio.FIRST_EXCEPTION)
            failures = [str(error) for first in done if (error := first.exception())]
            if not failures:
                control = Path(self.configuration.spools[0].directory) / NAME
                try:
                    server = AdminServer(control, *self.operations, missing=self._missing)
                    await stack.enter_async_context(server)
                except PetrelError as error:
                    failures = [str(error)]
            if not failures:
                serving(tasks)
                await self.stopping.wait()
                self.log.write("stopping")
            self.stopping.set()
            await self._stop()
        if failures:
            raise PetrelError("; ".join(dict.fromkeys(failures)))

    def _missing(self) -> dict[int, str]:
        return {
            one.shard: f"worker {one.shard} is being started again"
            for one in self._shards
            if not one.is_ready
        }

    def _new(self, number: int) -> RemoteShard:
        return RemoteShard(
            number,
            lambda: Start(
                self._config_path,
                self._pickled,
                number,
                self._workers,
                self._files.kept,
                self._standing,
            ),
            log=self.log.write,
            news=self._hear,
            guessed=self._pass_on,
        )

    # Limits that all obey

    def _pass_on(self, shard: RemoteShard, guessed: "Guessed") -> None:
        """Who guesses is to be locked out after as many failures as with one worker."""
        for other in self._shards:
            if other is not shard and other.is_ready:
                other.tell(guessed)

    def _hear(self, shard: RemoteShard, news: "News") -> None:
        self._lend(self._lending.hear(shard, news, clock.now()))

    def _lend(self, leases: "Leases") -> None:
        for shard in self._shards:
            if shard in leases and shard.is_running:
                shard.tell(Lend(leases[shard]))

    # One worker

    async def _keep(self, number: int, first: "asyncio.Future[None]") -> None:
        """Have a worker running until the daemon stops; `first` is done when it first serves."""
        environment = dict(os.environ)
        failures = 0
        while not self.stopping.is_set():
            began = clock.now()
            shard = self._shards[number]
            try:
                status = await shard.run(environment, lambda: _settle(first))
                how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
                ended = f"worker {number} {how}"
            except (WorkerFailedError, OSError) as error:
                if not first.done():
                    first.set_exception(PetrelError(str(error)))
                    return
                ended = f"worker {number} could not be started again: {error}"
            if self.stopping.is_set():
                return
            self._lend(self._lending.gone(shard, clock.now()))
            environment.pop(FAILPOINT, None)
            failures = 0 if clock.now() - began >= WELL_S else failures
            wait = RESTART_AFTER_S[min(failures, len(RESTART_AFTER_S) - 1)]
            failures += 1
            when = f"in {wait:g} s" if wait else "at once"
            self.log.write(f"{ended}; it is started again {when}")
            self._shards[number] = self._new(number)
            if await self.stops_within(wait):
                return

    def _begin_again(self, shard: RemoteShard) -> None:
        """If it was started with a configuration that is no longer in force."""
        if shard.is_ready:
            shard.end()
        elif shard.is_running and not shard.is_up:
            shard.kill()
        # One whose process is not there yet is told what is in force when it is.

    async def stops_within(self, seconds: float) -> bool:
        """Wait so long for the daemon to be told to stop."""
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False

    async def _stop(self) -> None:
        """Let every worker end cleanly; the one that writes the accounting files last."""
        for shard in self._shards:
            if shard.is_up:
                shard.tell(Stop())
            else:
                shard.kill()
        await _ended([s for s in self._shards if s.is_running and s.shard != WRITER])
        writer = self._shards[WRITER]
        if writer.is_up:
            writer.tell(Release())
            await _ended([writer])
        for shard in self._shards:
            if shard.is_running:
                self.log.write(f"worker {shard.shard} did not end in time and is killed")
                shard.kill()

    # One configuration

    async def reload(self) -> ReloadAnswer:
        """Read the file; it is in force in all workers or, with an error, in none."""
        async with self._reloading:
            configuration, remarks = await reload.read_again(self._config_path)
            pickled = await asyncio.to_thread(pickle.dumps, configuration)
            standing = await asyncio.to_thread(self._standing.under, configuration)
            files = await reload.keep_files(configuration, standing.listeners, self._files)
            ready = [shard for shard in self._shards if shard.is_ready]
            try:
                await _prepare(ready, pickled, files.kept)
            except BaseException:
                files.close()
                raise
            ready = [shard for shard in ready if shard.is_ready]
            told = reload.answer(self._started, configuration, remarks)
            before, files_before = [self.configuration], self._files
            # Any that is started from here on has the new one.
            self.configuration, self._pickled, self._files = configuration, pickled, files
            self._standing = standing
            self._lending.reloads(shard for shard in self._shards if shard.is_running)
            for shard in self._shards:
                if shard not in ready:
                    self._begin_again(shard)
            files_before.close()
            told = replace(told, remarks=(*told.remarks, *await _adopt(ready)))
            reload.say(told, self.log)
        await let_go(before)
        return told


async def _prepare(shards: list[RemoteShard], configuration: bytes, kept: "Kept") -> None:
    """Have it ready in all of them; CommandRefusedError, and in none, if one cannot have it."""
    answers = await _all(shards, lambda number: Prepare(number, configuration, kept))
    # One that ended meanwhile does not matter: it is started with what is in force then.
    refusals = [str(why) for shard, why in answers if shard.is_ready]
    if refusals:
        for shard in shards:
            if shard.is_up:
                shard.tell(Forget())
        lines = [line for why in refusals for line in why.splitlines()]
        raise CommandRefusedError("\n".join(dict.fromkeys([reload.NOT_RELOADED, *lines])))


async def _adopt(shards: list[RemoteShard]) -> list[str]:
    """Have what is ready in force; what to say of those that could not."""
    remarks = []
    for shard, why in await _all(shards, Adopt):
        # In part it has it; whole it has it only from a start. Its mail need not suffer from that.
        shard.end()
        remarks.append(f"worker {shard.shard} is started again with the configuration: {why}")
    return remarks


async def _all(
    shards: list[RemoteShard], question: Callable[[int], Any]
) -> list[tuple[RemoteShard, BaseException]]:
    """Put a question to all, and wait for all of their answers; those that refuse, and why."""
    answers = await asyncio.gather(*(s.ask(question) for s in shards), return_exceptions=True)
    pairs = zip(shards, answers, strict=True)
    return [(shard, answer) for shard, answer in pairs if isinstance(answer, BaseException)]


class _WorkerOperations:
    """The Operations of one worker; what concerns the daemon as a whole, the first one does."""

    def __init__(self, supervisor: Supervisor, shard: int) -> None:
        self._supervisor = supervisor
        self._shard = shard

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*arguments: object, **named: object) -> Any:  # noqa: ANN401 - forwarded
            return await self._supervisor.shard(self._shard).call(name, *arguments, **named)

        return call

    async def reload(self) -> ReloadAnswer:
        return await self._supervisor.reload() if self._shard == 0 else ReloadAnswer()

    async def rotate(self, what: Literal["acct", "log"], file: str = "") -> None:
        if what == "acct" and self._shard == WRITER:
            await self._supervisor.shard(self._shard).call("rotate", what, file)
        elif what == "log" and self._shard == 0:
            self._supervisor.log.rotate()

    async def stop(self) -> None:
        self._supervisor.stopping.set()

    async def trace(self, query: "TraceQuery") -> AsyncIterator[str]:
        """Also over restarts of the worker."""
        supervisor, number = self._supervisor, self._shard
        while not supervisor.stopping.is_set():
            if not supervisor.shard(number).is_ready:
                yield f"worker {number} is being started again: its queues are left out until then"
                while not supervisor.shard(number).is_ready:
                    if await supervisor.stops_within(AWAY_POLL_S):
                        return
                yield f"worker {number} serves again"
                continue  # It may have ended once more before that was read.
            async with aclosing(supervisor.shard(number).watch(query)) as lines:
                async for line in lines:
                    yield line


def _settle(first: "asyncio.Future[None]") -> None:
    if not first.done():
        first.set_result(None)


async def _ended(shards: list[RemoteShard]) -> None:
    """Wait until these have ended, but no longer than they may take."""
    if shards:
        await asyncio.wait(
            [asyncio.ensure_future(shard.ended.wait()) for shard in shards], timeout=END_WITHIN_S
        )
