"""Who is watching which queues' connections at this moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.admin.pattern import QueuePattern
    from mta.model.queue_key import QueueKey

LINES_MAX = 2000
"""Lines kept for a watcher that does not keep up; a trace never slows delivery."""


class _Watcher:
    __slots__ = ("dropped", "lines", "pattern")

    def __init__(self, pattern: "QueuePattern") -> None:
        self.pattern = pattern
        self.lines: asyncio.Queue[str] = asyncio.Queue(LINES_MAX)
        self.dropped = 0

    def take(self, line: str) -> None:
        try:
            self.lines.put_nowait(line)
        except asyncio.QueueFull:
            self.dropped += 1


class Traces:
    """The watchers of one shard."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def sink_of(self, key: "QueueKey") -> Callable[[str], None] | None:
        """What takes the lines of a new connection of a queue; None if nobody watches."""
        if not self._watchers:
            return None
        watchers = [w for w in self._watchers if w.pattern.matches(key)]
        if not watchers:
            return None

        def sink(line: str) -> None:
            for watcher in watchers:
                watcher.take(f"{key} {line}")

        return sink

    async def watch(self, pattern: "QueuePattern") -> AsyncIterator[str]:
        """That it watches; then the lines of connections opened from now on, until closed."""
        watcher = _Watcher(pattern)
        self._watchers.add(watcher)
        try:
            yield f"watching {pattern}: connections opened from now on"
            while True:
                yield await watcher.lines.get()
                if watcher.dropped:
                    yield f"({watcher.dropped} lines were dropped)"
                    watcher.dropped = 0
        finally:
            self._watchers.discard(watcher)
