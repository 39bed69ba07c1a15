"""Attempts to authenticate, of which a client has no more under way than it may fail."""

import asyncio
from collections import deque
from typing import Final

from mta import clock
from mta.smtp.lockout import Lockout, Start, client_of
from mta.units import Rate

WAIT_S: Final = 10.0
"""A check takes a tenth of a second, and a client gives up after a minute or more."""
WAITING_MAX: Final = 100
"""Of one client: ten seconds' worth of checks. In all there are no more than connections."""

_Waiting = tuple[str, Rate, "asyncio.Future[Start]"]


class AuthAttempts:
    """Those of all clients of one shard."""

    def __init__(self) -> None:
        self._lockout = Lockout()
        self._waiting: dict[str, deque[_Waiting]] = {}
        """By client, in turn. While one waits another is under way, whose end lets it go on."""

    async def begin(self, ip: str, rate: Rate) -> Start:
        """Whether an attempt may begin, after waiting for others of the client to end.

        LATER is for those who waited in vain. What begins has to `end`.
        """
        start = self._lockout.begin(ip, rate, clock.now())
        if start is not Start.LATER:
            return start
        waiting = self._waiting.setdefault(client_of(ip), deque())
        if len(waiting) >= WAITING_MAX:
            return start
        future: asyncio.Future[Start] = asyncio.get_running_loop().create_future()
        waiting.append((ip, rate, future))
        try:
            await asyncio.wait([future], timeout=WAIT_S)
        except asyncio.CancelledError:
            if future.done() and future.result() is Start.NOW:
                self.end(ip)
            raise
        finally:
            if not future.done():
                self._leave(ip, rate, future)
        return future.result() if future.done() else Start.LATER

    def end(self, ip: str, failed_at: Rate | None = None) -> None:
        """An attempt is over; `failed_at` is the rate it counts against if it failed."""
        if failed_at is not None:
            self._lockout.failed(ip, failed_at, clock.now())
        self._lockout.ended(ip)
        client = client_of(ip)
        waiting = self._waiting.get(client)
        while waiting:
            start = self._lockout.begin(*waiting[0][:2], clock.now())
            if start is Start.LATER:
                return
            waiting.popleft()[2].set_result(start)
        self._waiting.pop(client, None)

    def hear_failure(self, ip: str, rate: Rate) -> None:
        """A client failed at another worker. Who waits here hears of it in turn."""
        self._lockout.failed(ip, rate, clock.now())

    def _leave(self, ip: str, rate: Rate, future: "asyncio.Future[Start]") -> None:
        client = client_of(ip)
        self._waiting[client].remove((ip, rate, future))
        if not self._waiting[client]:
            del self._waiting[client]
