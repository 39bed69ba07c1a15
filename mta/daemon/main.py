"""`mta run`: load the configuration, serve until told to stop.

One worker is a shard in this process; several are processes of their own, and this one
supervises them. The shard, its operations and the admin server are the same either way.
"""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from mta.admin.server import AdminServer
from mta.admin.socket_path import NAME
from mta.daemon import collector, partition
from mta.daemon.lines import log_defect
from mta.daemon.loading import load_checked
from mta.daemon.log import Log, startup_error
from mta.daemon.operations import ShardOperations
from mta.daemon.serving import EXIT_CONFIG, EXIT_START, SWITCH_INTERVAL_S, leaves, open_log
from mta.daemon.shard import Shard
from mta.daemon.supervisor import Supervisor
from mta.errors import ConfigError, PetrelError
from mta.spool.rehome import rehome

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mta.admin.answers import ReloadAnswer
    from mta.config.configuration import Configuration

LISTENERS_NAMED_MAX = 8
"""Listeners that the log names at the start: those that fit on a line."""


def run(config_path: str) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        configuration, remarks = load_checked(config_path)
    except ConfigError as error:
        for diagnostic in error.args[0]:
            startup_error(str(diagnostic))
        return EXIT_CONFIG
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    collector.collect_seldom()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config_path, configuration, remarks))


async def _serve(config_path: str, configuration: "Configuration", remarks: list[str]) -> int:
    log = open_log(configuration)
    workers = configuration.root.workers or len(os.sched_getaffinity(0))
    failures: list[BaseException] = []
    try:
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            for remark in remarks:
                log.write(remark)
            await asyncio.to_thread(
                rehome,
                Path(configuration.spools[0].directory),
                workers,
                lambda key: partition.owner(key, workers),
                log.write,
            )
            if workers == 1:
                await _serve_alone(config_path, configuration, log, stack)
            else:
                await _supervise(config_path, configuration, log, stack, workers)
            log.write("stopped")
    except* (PetrelError, OSError) as group:
        failures = leaves(group)
    for error in failures:
        for text in error.args[0] if isinstance(error, ConfigError) else (error,):
            startup_error(str(text), log)
    return EXIT_START if failures else 0


async def _serve_alone(
    config_path: str, configuration: "Configuration", log: Log, stack: AsyncExitStack
) -> None:
    stopping = asyncio.Event()
    shard = Shard(configuration, log)
    async with asyncio.TaskGroup() as tasks:
        await shard.run(stack, tasks)
        collector.spare()
        operations = ShardOperations(shard, config_path, log, stopping)
        control = Path(configuration.spools[0].directory) / NAME
        await stack.enter_async_context(AdminServer(control, operations))
        _listen_to_signals(operations.reload, stopping, log, tasks)
        log.write(f"started; configuration {config_path}; {_listening(configuration)}")
        await stopping.wait()
        log.write("stopping")
        await shard.stop()


async def _supervise(
    config_path: str,
    configuration: "Configuration",
    log: Log,
    stack: AsyncExitStack,
    workers: int,
) -> None:
    supervisor = Supervisor(config_path, configuration, log, workers)

    def serving(tasks: asyncio.TaskGroup) -> None:
        _listen_to_signals(supervisor.reload, supervisor.stopping, log, tasks)
        where = _listening(configuration)
        log.write(f"started; configuration {config_path}; {workers} workers; {where}")

    await supervisor.run(stack, serving)


def _listening(configuration: "Configuration") -> str:
    listeners = [
        f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
        for one in configuration.listeners
    ]
    more = len(listeners) - LISTENERS_NAMED_MAX
    named = ", ".join(listeners[:LISTENERS_NAMED_MAX])
    return f"listening on {named}" + (f" and {more} more" if more > 0 else "")


def _listen_to_signals(
    reload: "Callable[[], Coroutine[None, None, ReloadAnswer]]",
    stopping: asyncio.Event,
    log: Log,
    tasks: asyncio.TaskGroup,
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    async def reload_or_say() -> None:
        try:
            await reload()
        except PetrelError as error:
            for line in str(error).splitlines():
                log.write(line)
        except Exception as error:  # a bug, or no memory: the mail does not suffer from that
            log_defect(log.write, "reload", error)

    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload_or_say()))
