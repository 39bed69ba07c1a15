"""Where the work of signing is done, beside the event loop.

RSA operations go to threads of their own and not through an executor: around an operation of
0.25 ms its futures and their locks took 0.2 ms, most of it waiting for the interpreter lock. A
thread here takes that lock once for each message, and the loop is woken once for all that is
ready. One thread signs more than one event loop can send, so a second has work only where keys
are slow. Figures: docs/design/0009-hot-path.md.

Under the virtual time of `mta.sim` there are no threads, so nothing is signed with RSA there.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from mta.signing.keys import PrivateKey

BACKLOG: Final = 4
"""Messages that wait for one thread before another is given some: 1 ms of RSA-2048."""

SIGNING_MAX: Final = 8
"""Threads that sign: with RSA-4096, 1.7 ms each, more than a loop can send."""


class Operation(NamedTuple):
    """A signature to be made."""

    key: PrivateKey
    algorithm: str
    octets: bytes
    """What it is over."""

    def signed(self) -> bytes:
        return self.key.sign(self.algorithm, self.octets)


class _Order(NamedTuple):
    """The operations of a message, and who waits for them."""

    operations: Sequence[Operation]
    future: "asyncio.Future[list[bytes]]"
    by: "_Signing"


class Threads:
    """All threads of signing in one shard; none is started before it has something to do."""

    def __init__(self) -> None:
        self.keys = ThreadPoolExecutor(cpu_count() or 1, thread_name_prefix="dkim-keys")
        """Reads and watches key files, and hashes large bodies in memory."""
        self.files = ThreadPoolExecutor(1, thread_name_prefix="dkim-files")
        """Hashes large bodies on disk, one after the other."""
        self._loop = asyncio.get_running_loop()
        self._signing = [_Signing(self) for _ in range(min(cpu_count() or 1, SIGNING_MAX))]
        self._orders: list[_Order] = []
        """What was asked in this turn of the loop."""
        self._made: deque[tuple[_Order, list[bytes] | Exception]] = deque()
        self._is_told = False
        """Whether the loop knows of what is made."""

    async def sign(self, operations: Sequence[Operation]) -> list[bytes]:
        """The signatures of one message; raises as `PrivateKey.sign` does."""
        future: asyncio.Future[list[bytes]] = self._loop.create_future()
        if not self._orders:
            # At the end of this turn the lock is free, and a thread that wakes can take it.
            self._loop.call_soon(self._pass_on)
        thread = self._free()
        thread.waiting += 1
        self._orders.append(_Order(operations, future, thread))
        return await future

    def close(self) -> None:
        """End all threads. What was asked and not begun is dropped."""
        for one in self._signing:
            one.close()
        self.keys.shutdown(cancel_futures=True)
        self.files.shutdown(cancel_futures=True)

    def _free(self) -> "_Signing":
        """The first thread that has not enough to do, else the one that has least."""
        for one in self._signing:
            if one.waiting < BACKLOG:
                return one
        return min(self._signing, key=lambda one: one.waiting)

    def _pass_on(self) -> None:
        """To the threads, at the end of a turn of the loop."""
        orders, self._orders = self._orders, []
        for order in orders:
            order.by.put(order)

    def _deliver(self) -> None:
        """On the loop: to those who wait."""
        self._is_told = False  # first: what comes from here on is told again
        made = self._made
        while made:
            order, result = made.popleft()
            order.by.waiting -= 1
            if order.future.done():
                continue
            if isinstance(result, Exception):
                order.future.set_exception(result)
            else:
                order.future.set_result(result)

    def made(self, order: _Order, result: list[bytes] | Exception) -> None:
        """On a thread: an order is carried out."""
        self._made.append((order, result))
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon_threadsafe(self._deliver)


class _Signing:
    """A thread that signs."""

    __slots__ = ("_orders", "_thread", "_threads", "waiting")

    def __init__(self, threads: Threads) -> None:
        self.waiting = 0
        """Messages it has not signed; the loop's own count."""
        self._threads = threads
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, order: _Order) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dkim", daemon=True)
            self._thread.start()
        self._orders.put(order)

    def close(self) -> None:
        if self._thread is not None:
            with contextlib.suppress(Empty):
                while True:
                    self._orders.get_nowait()
            self._orders.put(None)
            self._thread.join()

    def _run(self) -> None:
        get, made = self._orders.get, self._threads.made
        while (order := get()) is not None:
            result: list[bytes] | Exception
            try:
                result = [one.signed() for one in order.operations]
            except Exception as error:
                result = error
            made(order, result)
