"""A connection's task, as the actions of its scheduler reach it while it is idle."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.model.message import Recipient
    from mta.net.dialogue import Dialogue
    from mta.queues.actions import Close
    from mta.queues.connection import Connection


class Line:
    """One outbound connection and whoever waits for its next batch."""

    __slots__ = ("_waiter", "connection", "dialogue")

    def __init__(self, connection: "Connection", dialogue: "Dialogue") -> None:
        self.connection = connection
        self.dialogue = dialogue
        self._waiter: asyncio.Future[list[Recipient] | Close] | None = None

    async def next_step(self) -> "list[Recipient] | Close":
        """What the scheduler says once it has something for an idle connection."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def give(self, step: "list[Recipient] | Close") -> bool:
        """Wake the task with that; False if it is not idle, or was woken already."""
        if self._waiter is None or self._waiter.done():
            return False
        self._waiter.set_result(step)
        return True
