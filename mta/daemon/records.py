"""Accounting of a shard that writes no files: its outbox goes to the shard that does.

A row leaves the outbox when the writer has it in the files and has noted so on its disk.
Over a break of the connection rows go again, and the writer takes each once.
"""

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Final

from mta.errors import SpoolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mta.config.configuration import AcctFileSettings
    from mta.daemon.handover import Link
    from mta.model.record import Record
    from mta.spool.outbox import Outbox

ROUND_S: Final = 0.1
"""How long a row waits for others."""
PAGE_ROWS: Final = 50
UNWRITTEN_MAX: Final = 200
"""Rows with the writer that are not in the files yet. One holds what a commit brought."""
STOP_S: Final = 10.0
"""How long a stop waits for the writer; rows it has not written wait for the next start."""


class RecordForwarder:
    """Stands where an `AccountingWriter` stands in the shard that writes the files."""

    def __init__(self, outbox: "Outbox", link: "Link") -> None:
        self._outbox = outbox
        self._link = link
        self._written = 0
        """The last row known to be in the files."""
        self._unwritten: deque[int] = deque()
        """Rows the writer has."""
        self._arrived = asyncio.Event()
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin with what waits in the outbox."""
        self._outbox.on_records = self._take
        self._link.on_written = self._note_written
        self._link.on_connected = self._send_again
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._arrived.set()

    async def stop(self) -> None:
        """Wait, within a bound, until what has come so far is in the files."""
        self._is_stopping = True
        self._arrived.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._task
        self._outbox.on_records = None

    def rotate(self, name: str = "") -> None:
        """The writer begins the new piece."""

    def reload(self, settings: "Sequence[AcctFileSettings]") -> None:
        """The files are the writer's."""

    def _take(self, row: int, records: "Sequence[Record]") -> None:
        self._arrived.set()

    def _send_again(self) -> None:
        self._unwritten.clear()
        self._arrived.set()

    def _note_written(self, row: int) -> None:
        while self._unwritten and self._unwritten[0] <= row:
            self._unwritten.popleft()
        if row > self._written:
            self._written = row
            forgotten = self._outbox.save_positions(row, {})
            # What the disk could not forget is offered again, and not written again.
            forgotten.add_done_callback(lambda done: done.exception())
        self._arrived.set()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            if not self._is_stopping:
                await asyncio.sleep(ROUND_S)
            self._arrived.clear()
            try:
                await self._send()
                if self._is_stopping and not await self._outbox.after(self._written, 1):
                    return
            except SpoolError:
                await asyncio.sleep(ROUND_S)
                self._arrived.set()

    def _last_sent(self) -> int:
        return self._unwritten[-1] if self._unwritten else self._written

    async def _send(self) -> None:
        while len(self._unwritten) < UNWRITTEN_MAX:
            sent = self._last_sent()
            rows = await self._outbox.after(sent, PAGE_ROWS)
            if not rows:
                return
            if self._last_sent() != sent:
                continue  # the connection broke meanwhile
            for row, body in rows:
                if not self._link.send_records(row, body):
                    return
                self._unwritten.append(row)
