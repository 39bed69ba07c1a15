"""An event loop in virtual time: when nothing is ready, the clock jumps to the next timer.

Nothing outside can wake it: there are no sockets, and what is given to a thread is done at
once, in place. So where nothing is ready and there is no timer, nothing will ever happen,
and that is an error (`StalledError`) instead of a program that hangs.

While it runs, `mta.clock` follows it. The loop's own time begins at zero and never goes
back; the clock on the wall may be set (`set_wall`), as on a real machine.
"""

import asyncio
from asyncio import base_events
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Protocol, TypeVar, TypeVarTuple, Unpack

from mta import clock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH: Final = 1_800_000_000.0
"""Where the clock on the wall begins: a Friday in January 2027, at eight in the morning."""
RESOLUTION_S: Final = 1e-6
"""Timers so close together go off together; more than a float loses in centuries."""

TURNS_MAX: Final = 100_000
"""How often the loop may go round without time passing; a burst of work takes some hundred."""

Factory = Callable[[], asyncio.BaseProtocol]


class StalledError(Exception):
    """Time will never pass again: nothing is awaited that it could bring, or nothing rests."""


class Wiring(Protocol):
    """Where the loop's connections lead."""

    async def attach(
        self, protocol: asyncio.BaseProtocol, opened: object, address: tuple[str, int]
    ) -> asyncio.Transport:
        """Give a protocol the connection that is `opened`, or, without one, a new one."""

    def serve(
        self, factory: Factory, bound: object, address: tuple[str, int]
    ) -> asyncio.AbstractServer:
        """Accept connections at what is `bound`, or, without that, at an address."""


class VirtualLoop(base_events.BaseEventLoop):
    """See above. `before_jump` is called when nothing is ready: all is at rest then."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self.wiring: Wiring | None = None
        self.before_jump: Callable[[], None] = lambda: None
        self._now = 0.0
        self._epoch = EPOCH
        self._turns = 0
        self._selector = self
        self._clock_resolution = RESOLUTION_S

    # Time

    def time(self) -> float:
        return self._now

    def wall(self) -> float:
        """What the clock on the wall shows, seconds since the epoch."""
        return self._epoch + self._now

    def set_wall(self, by_s: float) -> None:
        """Set the clock on the wall forward, or back."""
        self._epoch += by_s

    def run_forever(self) -> None:
        with clock.told_by(self.wall):
            super().run_forever()

    # What the base class asks of a selector and of its platform

    def select(self, timeout: float | None) -> list[object]:
        """Let time pass until the first timer."""
        if timeout == 0:
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise StalledError(f"at {self._now:.3f} s: busy, and no time passes")
            return []
        self._turns = 0
        self.before_jump()
        if self._ready:
            return []
        if not self._scheduled:
            raise StalledError(f"at {self._now:.3f} s: nothing is ready, and there is no timer")
        self._now = max(self._now, self._scheduled[0].when())
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is only one thread, and it is awake."""

    # Threads and sockets

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Do it here and now: what a thread does takes no virtual time."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    async def create_connection(  # type: ignore[override]  # what we and our libraries use of it
        self,
        protocol_factory: Factory,
        host: str = "",
        port: int = 0,
        *,
        sock: object = None,
        **_: object,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        assert self.wiring is not None
        protocol = protocol_factory()
        return await self.wiring.attach(protocol, sock, (host, port)), protocol

    async def create_server(  # type: ignore[override]  # likewise
        self,
        protocol_factory: Factory,
        host: str = "",
        port: int = 0,
        *,
        sock: object = None,
        **_: object,
    ) -> asyncio.AbstractServer:
        assert self.wiring is not None
        return self.wiring.serve(protocol_factory, sock, (host, port))


async def until(condition: Callable[[], bool], *, step_s: float, within_s: float) -> bool:
    """Let time pass step by step until the condition holds; whether it came to hold."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not condition():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(step_s)
    return True
