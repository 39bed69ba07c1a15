"""Who is watching which queues' connections at this moment."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from mta.net.dump import Dump
from mta.net.told_smtp import Trace

if TYPE_CHECKING:
    from mta.admin.operations import TraceQuery
    from mta.model.queue_key import QueueKey

LINES_MAX = 2000
"""Lines kept for a watcher that does not keep up; a trace never slows delivery."""
FOUND: Final = "dns: a host of "
"""How the line of a host that was found begins."""


class _Watcher:
    __slots__ = ("dropped", "lines", "query")

    def __init__(self, query: "TraceQuery") -> None:
        self.query = query
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


@dataclass(frozen=True, slots=True)
class _Logged:
    """What goes to the log of a connection that is watched by who wants it there."""

    log_connections: bool
    log_commands: bool
    log_data: bool
    log_tls: bool
    log_resolution: bool
    log_transfer_failures: bool


class Watched:
    """Those who watch a connection that is being opened."""

    def __init__(self, key: "QueueKey", watchers: list[_Watcher]) -> None:
        self._key = key
        self._watchers = watchers
        self.data = self._say_data if any(w.query.data for w in watchers) else None
        """What takes the lines of its dump, if anybody wants them."""

    def say(self, line: str) -> None:
        """What is told of it."""
        is_found = line.startswith(FOUND)
        for watcher in self._watchers:
            if watcher.query.resolution or not is_found:
                watcher.take(f"{self._key} {line}")

    def _say_data(self, line: str) -> None:
        for watcher in self._watchers:
            if watcher.query.data:
                watcher.take(f"{self._key} {line}")

    def logs(self, settings: LogSettings) -> LogSettings:
        """What goes to the log where those settings hold, and a watcher may want more."""
        queries = [w.query for w in self._watchers if w.query.to_log]
        if not queries:
            return settings
        return _Logged(
            log_connections=True,
            log_commands=True,
            log_data=settings.log_data or any(q.data for q in queries),
            log_tls=True,
            log_resolution=settings.log_resolution or any(q.resolution for q in queries),
            log_transfer_failures=True,
        )


def trace(
    watched: Callable[[str], None] | None,
    settings: LogSettings,
    log: Callable[[str], None],
    number: int,
    watched_data: Callable[[str], None] | None = None,
) -> Trace | None:
    """What takes the lines of a connection of that number, and its octets; None if nobody does."""
    logged_data = (lambda line: log(f"({number:3d}){line}")) if settings.log_data else None
    sinks = [one for one in (watched, logged(settings, log, number)) if one is not None]
    dumps = [one for one in (watched_data, logged_data) if one is not None]
    if not (sinks or dumps):
        return None
    return Trace(_all(sinks), Dump(_all(dumps)) if dumps else None)


def _all(sinks: list[Callable[[str], None]]) -> Callable[[str], None]:
    if len(sinks) == 1:
        return sinks[0]

    def say(line: str) -> None:
        for sink in sinks:
            sink(line)

    return say


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

    def watched(self, key: "QueueKey", source_ip: str | None) -> Watched | None:
        """Who takes the lines of a queue, or of its new connection from there; None for nobody.

        What no connection has is told to all who watch the queue.
        """
        if not self._watchers:
            return None
        watchers = [
            w
            for w in self._watchers
            if w.query.pattern.matches(key)
            and (source_ip is None or w.query.source_ip in ("", source_ip))
        ]
        return Watched(key, watchers) if watchers else None

    async def watch(self, query: "TraceQuery") -> AsyncIterator[str]:
        """That it watches; then the lines of connections opened from now on, until closed."""
        watcher = _Watcher(query)
        self._watchers.add(watcher)
        try:
            yield f"watching {query}: connections opened from now on"
            while True:
                yield await watcher.lines.get()
                if watcher.dropped:
                    yield f"({watcher.dropped} lines were dropped)"
                    watcher.dropped = 0
        finally:
            self._watchers.discard(watcher)
