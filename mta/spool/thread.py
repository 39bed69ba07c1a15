"""The thread the spool's writer works in: operations gather while a commit waits for the disk."""

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from mta.spool.operations import Operation
    from mta.spool.writer import Writer

BATCH_MAX: Final = 512
"""Operations in one transaction; a sync is cheap long before that."""
STOP_S: Final = 5.0
"""How long held outcomes are tried for when the daemon stops; what is not written may be
repeated."""


class Hand(Protocol):
    """What moves a writer: in production a thread, in the simulator its loop."""

    def put(self, operations: "list[Operation]") -> None:
        """Have operations done, in order, after all put before them."""

    def close(self) -> None:
        """Do all that was put, then end. Blocks."""


TakeUp = Callable[["Writer"], Hand]


class WriterThread:
    """Everything here but `put` and `close` runs in the thread."""

    def __init__(self, writer: "Writer") -> None:
        self._writer = writer
        self._operations: queue.SimpleQueue[list[Operation] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def put(self, operations: "list[Operation]") -> None:
        self._operations.put(operations)

    def close(self) -> None:
        self._operations.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # who waits for it would wait for ever
            self._writer.fail(error)

    def _work(self) -> None:
        writer = self._writer
        is_open = True
        while is_open:
            batch, is_open = self._gather()
            if batch or writer.due_in(time.monotonic()) is not None:
                writer.do(batch, time.monotonic())
        deadline = time.monotonic() + STOP_S
        while writer.holds and time.monotonic() < deadline:
            time.sleep(writer.due_in(time.monotonic()) or 0)
            writer.do([], time.monotonic())
        writer.close()

    def _gather(self) -> "tuple[list[Operation], bool]":
        """What there is to do; False if there will be no more.

        Waits for an operation, but no longer than until the writer has something to do itself.
        """
        batch: list[Operation] = []
        timeout = self._writer.due_in(time.monotonic())
        try:
            operations = self._operations.get(timeout=timeout)
            while operations is not None:
                batch += operations
                if len(batch) >= BATCH_MAX:
                    return batch, True
                operations = self._operations.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False
