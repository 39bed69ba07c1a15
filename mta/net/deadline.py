"""Until when something has to come. One timer serves all expectations: most are met."""

import asyncio
from collections.abc import Callable
from math import inf


class Deadline:
    """Of one connection; `passed` is called when one passes."""

    __slots__ = ("_at", "_loop", "_passed", "_rings_at", "_timer")

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._at = inf
        self._rings_at = inf
        """When the timer does, which is never after the deadline; `inf` if there is none."""
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, seconds: int) -> None:
        """Something has to come within that time, whatever was expected before."""
        self._at = self._loop.time() + seconds
        if self._at < self._rings_at:
            self._set()

    def suspend(self) -> None:
        """Nothing is expected before `expect` is called again."""
        self._at = inf

    def cancel(self) -> None:
        """Nothing is expected any more."""
        self._at, self._rings_at = inf, -inf
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = self._at
        self._timer = self._loop.call_at(self._at, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, inf
        if self._loop.time() >= self._at:
            self._at = inf
            self._passed()
        elif self._at < inf:
            self._set()
