"""Mail to operators about what happens to queues. Guide: backoff-notify, disabled-source-ip-notify.

A network that fails may change a thousand queues in a second, so changes are gathered: an
address list gets the first at once, and then at most one letter each INTERVAL_S with all that
happened meanwhile. What happened stands in the log in any case.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mta.model.reply import Reply

INTERVAL_S: Final = 60.0
"""Least time between two letters to the same addresses."""
LINES_MAX: Final = 200
"""Changes told in one letter; more are counted. That is about what anybody reads."""

Write = Callable[[tuple[str, ...], str, str], Coroutine[None, None, "Reply | None"]]
"""Sends a letter: addresses, subject, text."""


class _Gathered:
    """What an address list is to be told with the next letter."""

    __slots__ = ("lines", "more", "timer")

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.more = 0
        self.timer: asyncio.TimerHandle | None = None


class Notices:
    """The letters of one shard that are due, and those sent less than INTERVAL_S ago."""

    def __init__(
        self, write: Write, tasks: asyncio.TaskGroup, *, log: Callable[[str], None]
    ) -> None:
        self._write = write
        self._tasks = tasks
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[tuple[str, ...], _Gathered] = {}

    def tell(self, addresses: tuple[str, ...], text: str) -> None:
        """Let these addresses know."""
        gathered = self._gathered.get(addresses)
        if gathered is None:
            gathered = self._gathered[addresses] = _Gathered()
            gathered.timer = self._loop.call_later(0, self._ring, addresses)
        if len(gathered.lines) < LINES_MAX:
            gathered.lines.append(text)
        else:
            gathered.more += 1

    async def close(self) -> None:
        """Send what is gathered."""
        gathered, self._gathered = self._gathered, {}
        for addresses, one in gathered.items():
            if one.timer is not None:
                one.timer.cancel()
            if one.lines:
                await self._send(addresses, one)

    def _ring(self, addresses: tuple[str, ...]) -> None:
        """The interval is over: send what came meanwhile, or forget the addresses."""
        due = self._gathered.pop(addresses)
        if due.lines:
            self._gathered[addresses] = following = _Gathered()
            following.timer = self._loop.call_later(INTERVAL_S, self._ring, addresses)
            self._tasks.create_task(self._send(addresses, due))

    async def _send(self, addresses: tuple[str, ...], gathered: _Gathered) -> None:
        lines = gathered.lines
        subject = lines[0].partition(": ")
        what = f"{subject[0]} {subject[2]}"[:120]
        if len(lines) > 1:
            what = f"{len(lines) + gathered.more} changes, the first: {what}"
        if gathered.more:
            lines.append(f"(and {gathered.more} more, see the log)")
        refusal = await self._write(addresses, what, "\n\n".join(lines))
        if refusal is not None:
            self._log(f"a letter to {', '.join(addresses)} could not be sent: {refusal}")
