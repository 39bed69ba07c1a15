"""A worker as its supervisor sees it: a process, and the `Operations` of the shard in it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from mta.admin.operations import CommandRefusedError
from mta.daemon.control_link import (
    Answer,
    Call,
    ControlLink,
    Failed,
    Guessed,
    Leaving,
    Line,
    Logged,
    Ping,
    Ready,
    Start,
    Unwatch,
    Watch,
)
from mta.daemon.shard import STOP_WITHIN_S
from mta.queues.shares import News

if TYPE_CHECKING:
    from mta.admin.operations import TraceQuery

LINES_MAX: Final = 2000
"""Lines of a trace that its reader has not taken."""
END_WITHIN_S: Final = STOP_WITHIN_S + 20.0
"""How long a worker may take to stop before it is killed: transactions, then accounting.
Service managers wait ninety seconds for all of it."""
UNANSWERED_S: Final = 60.0
"""How long a worker that serves may leave a question unanswered. None takes a second of its loop;
one that is wedged takes no mail and delivers none, and nothing but its end will change that."""
BEATS: Final = 6
"""Times in it at which to look. A machine that stood still finds one of them missed, not all."""


class WorkerFailedError(Exception):
    """It ended before it served; the text says why if it said so."""


class RemoteShard:
    """One worker process, from its start to its end. A restart makes another."""

    def __init__(
        self,
        number: int,
        start: Callable[[], Start],
        *,
        log: Callable[[str], None],
        news: "Callable[[RemoteShard, News], None]",
        guessed: "Callable[[RemoteShard, Guessed], None]",
    ) -> None:
        """`start` is asked for when the process is there: what is in force then counts."""
        self.shard = number
        self.is_running = False
        self.is_up = False
        """Whether it has begun to serve and has not ended."""
        self._is_leaving = False
        self._is_killed = False
        self.ended = asyncio.Event()
        self._start = start
        self._log = log
        self._news = news
        self._guessed = guessed
        self._failure = ""
        self._numbers = 0
        self._questions: dict[int, asyncio.Future[Any]] = {}
        self._watches: dict[int, asyncio.Queue[str | None]] = {}
        self._dropped: Counter[int] = Counter()
        """Lines of watches that were not taken in time."""
        self._late: asyncio.TimerHandle | None = None
        """Kills it when it has been leaving for too long."""
        self._link: ControlLink
        self._process: asyncio.subprocess.Process

    @property
    def is_ready(self) -> bool:
        """Whether it serves, and can be asked."""
        return self.is_up and not self._is_leaving

    # Life

    async def run(self, environment: dict[str, str], ready: Callable[[], None]) -> int:
        """Start the process and see it through; its exit status.

        `ready` is called once it serves; WorkerFailedError if it ends before.
        """
        ours, its = socket.socketpair()
        with its:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "mta.daemon.worker", str(its.fileno()), str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(its.fileno(),), env=environment,
            )  # fmt: skip
        self._link = await ControlLink.over(ours)
        self.is_running = True
        if self._is_killed:
            self.kill()
        beating = asyncio.create_task(self._beat())
        try:
            self._link.send(self._start())
            with contextlib.suppress(EOFError):
                while True:
                    self._hear(await self._link.receive(), ready)
            # What it held is free when it is gone, not when it has hung up.
            status = await self._process.wait()
        finally:
            beating.cancel()
            self.kill()
            await self._process.wait()
            self.is_running = False
            was_up, self.is_up = self.is_up, False
            if self._late is not None:
                self._late.cancel()
            self._abandon()
            await self._link.close()
            self.ended.set()
        if not was_up:
            raise WorkerFailedError(self._failure or f"it ended with {status} before it served")
        return status

    def tell(self, said: Any) -> None:  # noqa: ANN401 - one of the values of control_link
        """Say something that has no answer."""
        self._link.send(said)

    def end(self) -> None:
        """Have it finish what is under way, and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now, if it has not ended; one that is only being started, once it is there."""
        self._is_killed = True
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    def _kill_late(self) -> None:
        self._log(f"worker {self.shard} did not end in time and is killed")
        self.kill()

    async def _beat(self) -> None:
        """Have it answer again and again; kill it when it does not any more."""
        question: asyncio.Future[Any] | None = None
        missed = 0
        while True:
            await asyncio.sleep(UNANSWERED_S / BEATS)
            if question is not None and not question.done():
                missed += 1
                if missed >= BEATS:
                    silent = f"has answered nothing for {UNANSWERED_S:g} s"
                    self._log(f"worker {self.shard} {silent} and is killed")
                    self.kill()
                    return
                continue
            missed = 0
            if self.is_up:
                number = self._number()
                question = self._questions[number] = asyncio.get_running_loop().create_future()
                self._link.send(Ping(number))

    def _hear(self, said: object, ready: Callable[[], None]) -> None:
        match said:
            case Ready():
                self.is_up = True
                ready()
            case Leaving():
                if not self._is_leaving:
                    self._is_leaving = True
                    loop = asyncio.get_running_loop()
                    self._late = loop.call_later(END_WITHIN_S, self._kill_late)
            case Failed(text):
                self._failure = text
            case Logged(text):
                self._log(text)
            case News():
                self._news(self, said)
            case Guessed():
                self._guessed(self, said)
            case Line(number, text):
                lines = self._watches.get(number)
                if lines is None:
                    return
                if lines.full():
                    self._dropped[number] += 1
                else:
                    lines.put_nowait(text)
            case Answer(number, value, refusal):
                question = self._questions.pop(number, None)
                if question is None or question.done():
                    return
                if refusal is None:
                    question.set_result(value)
                else:
                    question.set_exception(CommandRefusedError(refusal))
            case _:
                raise AssertionError(said)

    def _abandon(self) -> None:
        for question in self._questions.values():
            if not question.done():
                question.set_exception(
                    CommandRefusedError(
                        f"worker {self.shard} ended before it answered; what it did is not known"
                    )
                )
                question.exception()  # Of a beat nobody asks for it.
        self._questions.clear()
        for number, lines in self._watches.items():
            if lines.full():
                lines.get_nowait()
                self._dropped[number] += 1
            lines.put_nowait(None)

    # Questions

    async def ask(self, question: Callable[[int], Any]) -> Any:  # noqa: ANN401 - by the question
        """Put a question that takes a number, and wait for its answer."""
        if not self.is_ready:
            raise CommandRefusedError(
                f"worker {self.shard} is being started again; try in a moment, and see the log"
            )
        number = self._number()
        future = self._questions[number] = asyncio.get_running_loop().create_future()
        self._link.send(question(number))
        try:
            return await future
        finally:
            self._questions.pop(number, None)

    async def call(self, name: str, *arguments: object, **named: object) -> Any:  # noqa: ANN401
        """Have a method of the shard's Operations called."""
        return await self.ask(partial(_call, name, arguments, named))

    async def watch(self, query: "TraceQuery") -> AsyncGenerator[str, None]:
        """The lines of `trace`, until closed or the worker ends."""
        number = self._number()
        lines = self._watches[number] = asyncio.Queue(LINES_MAX)
        self._link.send(Watch(number, query))
        try:
            while (line := await lines.get()) is not None:
                yield line
                if dropped := self._dropped.pop(number, 0):
                    yield f"({dropped} lines were dropped)"
        finally:
            del self._watches[number]
            self._dropped.pop(number, None)
            if self.is_up:
                self._link.send(Unwatch(number))

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


def _call(name: str, arguments: tuple[object, ...], named: dict[str, object], number: int) -> Call:
    return Call(number, name, arguments, named)
