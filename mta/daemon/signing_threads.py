"""What the work of signing is done on beside the event loop: threads, and processes for RSA.

Under the virtual time of `mta.sim` there are no cores for processes, and a thread takes no time.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TYPE_CHECKING

from mta.daemon.signing_processes import Operation, Processes

if TYPE_CHECKING:
    import asyncio


class Threads:
    """Those of one shard; none is started before it has something to do."""

    def __init__(self, log: Callable[[str], None], processes: int) -> None:
        """With so many processes at most; with none, RSA goes to threads, too."""
        self.keys = ThreadPoolExecutor(cpu_count() or 1, thread_name_prefix="dkim-keys")
        """Reads and watches key files, and hashes large bodies in memory."""
        self.files = ThreadPoolExecutor(1, thread_name_prefix="dkim-files")
        """Hashes large bodies on disk, one after the other."""
        self._processes = Processes(processes, self.keys, log)

    def sign(self, operations: Sequence[Operation]) -> "asyncio.Future[list[bytes]]":
        """The signatures of one message; raises as `PrivateKey.sign` does."""
        return self._processes.sign(operations)

    def close(self) -> None:
        """End them all. What was asked and not begun is dropped."""
        self._processes.close()
        self.keys.shutdown(cancel_futures=True)
        self.files.shutdown(cancel_futures=True)
