"""The spool's writer without its thread: a commit takes virtual time, and is then done in place."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mta.spool.operations import Operation
    from mta.spool.writer import Writer


class LoopHand:
    """Operations gather while a commit is under way, as with the thread."""

    def __init__(self, writer: "Writer", commit_s: Callable[[], float]) -> None:
        self._writer = writer
        self._commit_s = commit_s
        self._loop = asyncio.get_running_loop()
        self._operations: list[Operation] = []
        self._timer: asyncio.TimerHandle | None = None

    def put(self, operations: "list[Operation]") -> None:
        self._operations += operations
        if self._timer is None:
            self._timer = self._loop.call_later(self._commit_s(), self._commit)

    def take_in(self) -> None:
        """Have the database show what was committed."""
        self._writer.take_in()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._commit()
        self._writer.close()

    def _commit(self) -> None:
        self._timer = None
        batch, self._operations = self._operations, []
        if batch or self._writer.holds:
            self._writer.do(batch, self._loop.time())
        if self._writer.holds:
            self._timer = self._loop.call_later(
                self._writer.due_in(self._loop.time()) or 0, self._commit
            )
