"""Who is watching which queues' connections at this moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from mta.net.dump import Dump
from mta.net.told_smtp import Trace

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


class LogSettings(Protocol):
    """What of a queue's connections goes to the log. Guide: log-connections and its like."""

    @property
    def log_connections(self) -> bool: ...
    @property
    def log_commands(self) -> bool: ...
    @property
    def log_data(self) -> bool: ...
    @property
    def log_tls(self) -> bool: ...
    @property
    def log_resolution(self) -> bool: ...
    @property
    def log_transfer_failures(self) -> bool: ...


def trace(
    watched: Callable[[str], None] | None,
    settings: LogSettings,
    log: Callable[[str], None],
    number: int,
) -> Trace | None:
    """What takes the lines of a connection of that number, and its octets; None if nobody does."""
    dump = Dump(lambda line: log(f"({number:3d}){line}")) if settings.log_data else None
    written = logged(settings, log, number)
    sinks = [sink for sink in (watched, written) if sink is not None]
    if not (sinks or dump):
        return None

    def say(line: str) -> None:
        for sink in sinks:
            sink(line)

    return Trace(sinks[0] if len(sinks) == 1 else say, dump)


def logged(
    settings: LogSettings, log: Callable[[str], None], number: int
) -> Callable[[str], None] | None:
    """What puts those lines of a connection into the log that are wanted; None if none are."""
    wants = {
        "<<< ": settings.log_commands,
        ">>> ": settings.log_commands,
        "tls:": settings.log_tls,
        "dns:": settings.log_resolution,
        "brok": settings.log_transfer_failures or settings.log_connections,
    }
    others = settings.log_connections or settings.log_commands
    if not (others or any(wants.values())):
        return None

    def sink(line: str) -> None:
        if wants.get(line[:4], others):
            log(f"({number:3d}){line}")

    return sink


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
