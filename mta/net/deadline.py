"""Until when something has to come. One timer serves all expectations: most are met."""

import asyncio
from collections.abc import Callable


class Deadline:
    """Of one connection; `passed` is called when one passes."""

    __slots__ = ("_at", "_loop", "_passed", "_timer")

    def __init__(self, passed: Callable[[], None]) -> None:
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, seconds: int) -> None:
        """Something has to come within that time, whatever was expected before."""
        self._at = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._at, self._ring)

    def cancel(self) -> None:
        """Nothing is expected any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() >= self._at:
            self._passed()
        else:
            self._timer = self._loop.call_at(self._at, self._ring)
