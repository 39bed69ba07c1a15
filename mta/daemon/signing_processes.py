"""RSA operations, in processes of their own.

A signature of RSA-2048 takes 0.25 ms without the interpreter lock. Made on a thread, the
thread wanted the lock twice for each message and the event loop had to wait for it: half of
what that loop took for a signed message was such waiting. A process has a lock of its own,
and what one turn of the loop asks for is one write to it. One process signs more than one
event loop can send, so a second is started only where keys are slow. Figures:
docs/design/0009-hot-path.md.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple, cast

from mta.signing import signing_process
from mta.signing.keys import PrivateKey

BACKLOG: Final = 16
"""Messages that wait for one process before another is given some: 4 ms of RSA-2048."""
PROCESSES_MAX: Final = 8
"""With RSA-4096, 1.7 ms each, more than a loop can send."""
KEYS_MAX: Final = 4096
"""Keys one process knows; past that it forgets them all and is told anew of those in use."""
HANGS_S: Final = 20.0
"""A process that answered nothing for so long is killed; a start on a busy machine takes some."""
TRIED_AGAIN_S: Final = 60.0
"""Where no process can sign, threads do for so long before one is started again."""
ENDS_S: Final = 5.0
"""A process that is killed is gone after that."""


class Operation(NamedTuple):
    """A signature to be made."""

    key: PrivateKey
    algorithm: str
    octets: bytes
    """What it is over."""

    def signed(self) -> bytes:
        return self.key.sign(self.algorithm, self.octets)


@dataclass(slots=True, eq=False)
class _Order:
    """The operations of a message, who waits for them, and what a process has made of them."""

    operations: Sequence[Operation]
    future: "asyncio.Future[list[bytes]]"
    answers: list[bytes] = field(default_factory=list)
    refusal: ValueError | None = None

    def answered(self, answer: bytes | ValueError) -> bool:
        """Whether that was the last one; who waits is told, then."""
        if isinstance(answer, ValueError):
            self.refusal = answer
            answer = b""
        self.answers.append(answer)
        if len(self.answers) < len(self.operations):
            return False
        self.finish(self.refusal or self.answers)
        return True

    def signed(self) -> list[bytes]:
        """All signatures, made here."""
        return [one.signed() for one in self.operations]

    def hand_on(self, made: "asyncio.Future[list[bytes]]") -> None:
        """Tell who waits what a thread has made."""
        if not made.cancelled():
            self.finish(made.exception() or made.result())

    def finish(self, result: list[bytes] | BaseException) -> None:
        """Tell who waits, if somebody still does."""
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class Processes:
    """All that sign for one shard; none is started before it has something to do."""

    def __init__(self, count_max: int, threads: Executor, log: Callable[[str], None]) -> None:
        self._threads = threads
        """They sign where no process does."""
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._all = [_Process(self) for _ in range(min(count_max, PROCESSES_MAX))]
        self._is_passing_on = False
        self._without_until = 0.0 if self._all else inf
        """On the clock of the loop: threads sign."""
        self.are_lacking = False
        """Whether that was said, and not yet that they sign again."""

    def sign(self, operations: Sequence[Operation]) -> "asyncio.Future[list[bytes]]":
        """The signatures of one message; raises as `PrivateKey.sign` does."""
        future: asyncio.Future[list[bytes]] = self._loop.create_future()
        order = _Order(operations, future)
        if self._loop.time() < self._without_until:
            self._sign_on_thread(order)
            return future
        self._free().add(order)
        if not self._is_passing_on:
            self._is_passing_on = True
            self._loop.call_soon(self._pass_on)
        return future

    def close(self) -> None:
        """End all processes. Who still waits for a signature is not answered."""
        self._without_until = inf
        for one in self._all:
            one.close()

    def _free(self) -> "_Process":
        """The first one that has not enough to do, else the one that has least."""
        for one in self._all:
            if len(one.orders) < BACKLOG:
                return one
        return min(self._all, key=lambda one: len(one.orders))

    def _pass_on(self) -> None:
        """What this turn of the loop asked for, to the processes."""
        self._is_passing_on = False
        for one in self._all:
            one.pass_on()

    def lost(self, orders: Sequence[_Order], why: str, *, has_signed: bool) -> None:
        """A process is gone: what it had not signed is signed on threads."""
        if not has_signed:
            self._without_until = self._loop.time() + TRIED_AGAIN_S
            if not self.are_lacking:
                self.are_lacking = True
                self._log(
                    f"DKIM signatures are made on threads: no process can sign: {why}; "
                    f"one is tried every {TRIED_AGAIN_S:.0f} s"
                )
        else:
            self._log(f"a process that makes DKIM signatures is started again: {why}")
        for order in orders:
            self._sign_on_thread(order)

    def answered(self) -> None:
        """A process has signed; if threads did before, say that it is over."""
        if self._loop.time() >= self._without_until:
            self.are_lacking = False
            self._log("DKIM signatures are made in processes again")

    def _sign_on_thread(self, order: _Order) -> None:
        made = self._loop.run_in_executor(self._threads, order.signed)
        made.add_done_callback(order.hand_on)

    def reap(self, running: "subprocess.Popen[bytes]") -> None:
        """Ask the kernel how a process ended, beside the mail."""
        with contextlib.suppress(RuntimeError):  # the end of all threads has begun
            self._threads.submit(running.wait)


class _Process(asyncio.Protocol):
    """One of them, running or not."""

    def __init__(self, processes: Processes) -> None:
        self.orders: deque[_Order] = deque()
        """What it has not answered yet."""
        self._processes = processes
        self._later = asyncio.get_running_loop().call_later
        self._running: subprocess.Popen[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._out: list[bytes] = []
        self._answers = bytearray()
        self._numbers: dict[PrivateKey, int] = {}
        self._heard = 0
        """How often it answered."""
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    def add(self, order: _Order) -> None:
        try:
            frames = self._frames(order)
        except BaseException:
            self._numbers.clear()  # what was numbered here is not told
            raise
        # Not before all can be asked: only their order tells the answers apart.
        self.orders.append(order)
        self._out += frames

    def _frames(self, order: _Order) -> list[bytes]:
        frames, numbers = [], self._numbers
        for one in order.operations:
            number = numbers.get(one.key)
            if number is None:
                if len(numbers) >= KEYS_MAX:
                    numbers.clear()
                    frames.append(signing_process.forget_frame())
                number = numbers[one.key] = len(numbers)
                frames.append(signing_process.key_frame(number, one.key))
            frames.append(signing_process.sign_frame(number, one.algorithm, one.octets))
        return frames

    def pass_on(self) -> None:
        """Send what was added; start it first if it does not run."""
        if not self._out:
            return
        if self._transport is not None:
            self._transport.write(b"".join(self._out))
            self._out.clear()
        elif self._opening is None and not self._is_closed:
            self._start()
        if self._watch is None and self.orders:
            self._watch = self._later(HANGS_S, self._end_if_it_hangs, self._heard)

    def _end_if_it_hangs(self, heard: int) -> None:
        """If it answered no more often than that, though it was asked."""
        self._watch = None
        if not self.orders or self._is_closed:
            return
        if self._heard == heard and self._running is not None:
            self._running.kill()
        self._watch = self._later(HANGS_S, self._end_if_it_hangs, self._heard)

    def close(self) -> None:
        self._is_closed = True
        if self._watch is not None:
            self._watch.cancel()
        self.orders.clear()
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        if self._running is not None:
            self._running.kill()
            self._running.wait(ENDS_S)

    def _start(self) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._lose(str(error))
            return
        ours.setblocking(False)  # noqa: FBT003
        try:
            with theirs:
                # Quick, whatever memory this process has: the kernel copies nothing of it.
                self._running = subprocess.Popen(  # noqa: S603 - this program
                    [sys.executable, "-P", "-m", signing_process.__name__],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            ours.close()
            self._lose(str(error))
            return
        self._opening = asyncio.create_task(self._open(ours))

    async def _open(self, ours: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: self, sock=ours)
        except OSError as error:
            self.connection_lost(error)
        else:
            self.pass_on()
        finally:
            self._opening = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of it.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._heard += 1
        if self._processes.are_lacking:
            self._processes.answered()
        self._answers += data
        orders = self.orders
        for answer in signing_process.answers(self._answers):
            if orders[0].answered(answer):
                del orders[0]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_closed:
            return
        running, self._running, self._transport = self._running, None, None
        if running is not None:
            running.kill()
            self._processes.reap(running)
        self._lose(str(exc or "it has ended"))

    def _lose(self, why: str) -> None:
        orders, has_signed = list(self.orders), self._heard > 0
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self.orders.clear()
        self._out.clear()
        self._answers.clear()
        self._numbers.clear()
        self._heard = 0
        self._processes.lost(orders, why, has_signed=has_signed)
