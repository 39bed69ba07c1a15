"""What the log says of messages refused for the disk's sake: at once, and then not again for each.

A disk that is full refuses thousands a second, and the log is likely on that very disk.
"""

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL_S: Final = 10.0
"""Least time between two lines about the same code."""


class _Since:
    """What was refused with one code since the log said so."""

    __slots__ = ("count", "timer", "why")

    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer
        self.count = 0
        self.why = ""


class Refused:
    """By code: how many since the last line. None is forgotten: what is left at the end is said."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._since: dict[int, _Since] = {}

    def add(self, code: int, why: str) -> None:
        """A message was refused with that code."""
        since = self._since.get(code)
        if since is None:
            self._log(f"a message was refused with {code}: {why}")
            self._begin(code)
            return
        since.count += 1
        since.why = why

    def close(self) -> None:
        """Say what is not said yet."""
        for code in list(self._since):
            self._say(code)

    def _begin(self, code: int) -> None:
        timer = asyncio.get_running_loop().call_later(INTERVAL_S, self._ring, code)
        self._since[code] = _Since(timer)

    def _ring(self, code: int) -> None:
        if self._say(code):
            self._begin(code)

    def _say(self, code: int) -> bool:
        since = self._since.pop(code)
        since.timer.cancel()
        if since.count == 1:
            self._log(f"a message was refused with {code}: {since.why}")
        elif since.count:
            self._log(f"a message was refused with {code}, and {since.count - 1} more: {since.why}")
        return since.count > 0
