"""A reload by signal that goes wrong says so, and the daemon goes on."""

import asyncio
import os
import signal

import pytest

from mta.admin.operations import CommandRefusedError
from mta.daemon.main import _listen_to_signals


class Log:
    """Keeps what is written."""

    def __init__(self):
        self.lines = asyncio.Queue()

    def write(self, line):
        self.lines.put_nowait(line)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (CommandRefusedError("not reloaded\nf:1: no"), ["not reloaded", "f:1: no"]),
        (
            RuntimeError("can't start new thread"),
            ["reload: RuntimeError: can't start new thread"],
        ),
    ],
)
async def test_a_reload_that_fails_takes_nothing_along(error, said):
    log, stopping = Log(), asyncio.Event()

    async def reload():
        raise error

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        _listen_to_signals(reload, stopping, log, tasks)
        os.kill(os.getpid(), signal.SIGHUP)
        for line in said:
            while await log.lines.get() != line:
                pass
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await stopping.wait()
