"""The tasks of outbound connections: begun, reached while they run, ended within a bound."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mta.daemon.line import Line
    from mta.model.message import Recipient
    from mta.queues.actions import Close
    from mta.queues.connection import Connection

SPARED_S: Final = 40
"""How much longer a stop waits for transfers that may not be cancelled: with the rest of a stop
still less than the ninety seconds after which service managers kill."""


class Lines:
    """Every task of delivery, and the line of each connection that is up, by its number."""

    def __init__(self, tasks: asyncio.TaskGroup, log: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._log = log
        self._running: set[asyncio.Task[None]] = set()
        self._lives: dict[int, asyncio.Task[None]] = {}
        self._lines: dict[int, Line] = {}

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        """Begin what no connection has to be found by. Where it fails, all else goes on."""
        self._keep(self._tasks.create_task(self._guarded(coroutine)))

    def open(self, number: int, life: Coroutine[None, None, None]) -> None:
        """Begin the life of a connection."""
        task = self._lives[number] = self._tasks.create_task(life)
        self._keep(task)

    def up(self, line: "Line") -> None:
        """The connection talks."""
        self._lines[line.connection.number] = line

    def give(self, connection: "Connection", step: "list[Recipient] | Close") -> None:
        """Tell an idle connection what the scheduler says.

        Where the peer closed it meanwhile there is nobody to tell, and nothing left to do.
        """
        line = self._lines.get(connection.number)
        if line is not None:
            line.give(step)

    def over(self, connection: "Connection") -> None:
        """The connection is over, or will be in a moment."""
        self._lines.pop(connection.number, None)
        self._lives.pop(connection.number, None)

    def interrupt(self, connection: "Connection") -> None:
        """Break a connection off, unless the peer may have the whole message already.

        In a moment: a task that is cancelled before it began never runs, so it gives nothing back.
        """
        asyncio.get_running_loop().call_soon(self._break_off, connection.number)

    def _break_off(self, number: int) -> None:
        life, line = self._lives.get(number), self._lines.get(number)
        if life is not None and (line is None or line.dialogue.may_interrupt):
            life.cancel()

    async def stop(self, within_s: float) -> None:
        """Let all finish, at most that long; then break off.

        Guide: allow-cancel-during-transfer. What may not be cancelled has a little longer.
        """
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)
        spared = {self._lives[n] for n, line in self._lines.items() if not _may_cancel(line)}
        for task in self._running - spared:
            task.cancel()
        if spared:
            await asyncio.wait(spared, timeout=SPARED_S)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _guarded(self, coroutine: Coroutine[None, None, None]) -> None:
        try:
            await coroutine
        except Exception as error:
            log_defect(self._log, "internal error", error)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def log_defect(log: Callable[[str], None], where: str, error: Exception) -> None:
    """What went wrong by a defect of ours, with its place in the program."""
    for text in traceback.format_exception(error):
        log(f"{where}: {text.rstrip()}")


def _may_cancel(line: "Line") -> bool:
    """Whether a stop may break off what a connection is doing."""
    in_transfer = bool(line.connection.batch) and line.dialogue.usable
    return line.connection.queue.settings.allow_cancel_during_transfer or not in_transfer
