"""`mta run`: load the configuration, start a shard, serve until told to stop."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from mta.admin.server import AdminServer
from mta.admin.socket_path import NAME
from mta.daemon.loading import load_checked
from mta.daemon.log import Log, startup_error
from mta.daemon.operations import ShardOperations
from mta.daemon.shard import Shard
from mta.errors import ConfigError, PetrelError

if TYPE_CHECKING:
    from mta.config.configuration import Configuration

EXIT_START = 1
"""A listener, the spool or the log could not be opened."""
EXIT_CONFIG = 2
"""The configuration has errors; nothing was started."""
SWITCH_INTERVAL_S = 0.0005
"""How long the spool's thread may keep the event loop waiting for the interpreter."""


def run(config_path: str) -> int:
    """Serve until SIGTERM or SIGINT; the exit status."""
    try:
        configuration, remarks = load_checked(config_path)
    except ConfigError as error:
        for diagnostic in error.args[0]:
            startup_error(str(diagnostic))
        return EXIT_CONFIG
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config_path, configuration, remarks))


async def _serve(config_path: str, configuration: "Configuration", remarks: list[str]) -> int:
    root = configuration.root
    log = Log(
        Path(root.log_file),
        root.log_rotate,
        is_world_readable=root.log_file_world_readable,
        rotates_daily=root.log_auto_rotation,
    )
    failures: list[BaseException] = []
    try:
        async with AsyncExitStack() as stack:
            stack.callback(log.close)
            for remark in remarks:
                log.write(remark)
            stopping = asyncio.Event()
            shard = Shard(configuration, log)
            async with asyncio.TaskGroup() as tasks:
                await shard.run(stack, tasks)
                operations = ShardOperations(shard, config_path, log, stopping)
                control = Path(configuration.spools[0].directory) / NAME
                await stack.enter_async_context(AdminServer(control, operations))
                _listen_to_signals(operations, stopping, log, tasks)
                log.write(f"started; configuration {config_path}")
                await stopping.wait()
                log.write("stopping")
                await shard.stop()
            log.write("stopped")
    except* (PetrelError, OSError) as group:
        failures = _leaves(group)
    for error in failures:
        startup_error(str(error), log)
    return EXIT_START if failures else 0


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _listen_to_signals(
    operations: ShardOperations, stopping: asyncio.Event, log: Log, tasks: asyncio.TaskGroup
) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    async def reload() -> None:
        try:
            await operations.reload()
        except PetrelError as error:
            for line in str(error).splitlines():
                log.write(line)

    loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(reload()))
