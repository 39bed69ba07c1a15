"""Has DKIM signatures verified in processes of their own, each message within a time.

Where no process can be started, and under virtual time, a thread verifies.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from mta.model.message import Content, FileContent
from mta.signing import verification, verify_process
from mta.signing.verification import Key
from mta.smtp.auth_results import Finding

WAITS_S: Final = 20.0
"""From asking to the answer, its turn included."""
STARTS_S: Final = 20.0
"""A start takes 0.2 s, on a busy machine more."""
OCTETS_KEPT: Final = 1 << 20
"""A process that had a larger message ends after it: it holds several times that much."""
ENDS_S: Final = 5.0

LATE: Final = [Finding("dkim", "temperror", "it took too long")]


class Verifier:
    """The processes of one shard; none is started before it has something to do."""

    def __init__(self, processes: int) -> None:
        self._threads = ThreadPoolExecutor(1, "verify")
        self._turns = asyncio.Semaphore(max(1, processes))
        self._has_processes = processes > 0
        self._idle: list[_Process] = []
        self._all: set[_Process] = set()

    def close(self) -> None:
        """End them all."""
        for one in list(self._all):
            one.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def findings(
        self, content: Content, keys: Mapping[str, Key], *, wants_trace: bool
    ) -> list[Finding]:
        """What the signatures of a message are worth."""
        try:
            async with asyncio.timeout(WAITS_S), self._turns:
                return await self._asked(content, keys, wants_trace=wants_trace)
        except TimeoutError:
            return LATE

    async def _asked(
        self, content: Content, keys: Mapping[str, Key], *, wants_trace: bool
    ) -> list[Finding]:
        process = await self._free() if self._has_processes else None
        if process is None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, lambda: _here(content, keys, wants_trace=wants_trace)
            )
        if isinstance(content, FileContent):
            path, octets, size = str(content.path), b"", content.size
        else:
            path, octets, size = "", content, len(content)
        try:
            text = await process.answer(
                verify_process.asked(keys, path, octets, wants_trace=wants_trace)
            )
        except (OSError, EOFError):  # the kernel has ended it
            self._end(process)
            return LATE
        except BaseException:
            self._end(process)
            raise
        if size > OCTETS_KEPT:
            self._end(process)
        else:
            self._idle.append(process)
        return verify_process.answer_of(text)

    async def _free(self) -> "_Process | None":
        """A process with nothing to do; None if none can be started."""
        if self._idle:
            return self._idle.pop()
        with suppress(OSError):
            process = await _Process.started()
            self._all.add(process)
            return process
        return None

    def _end(self, process: "_Process") -> None:
        self._all.discard(process)
        process.end()


class _Process:
    """One of them."""

    def __init__(
        self,
        running: "subprocess.Popen[bytes]",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._running = running
        self._reader = reader
        self._writer = writer

    @classmethod
    async def started(cls) -> "_Process":
        """OSError if that cannot be done."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                # Quick, whatever memory this process has: the kernel copies nothing of it.
                running = subprocess.Popen(  # noqa: ASYNC220, S603 - this program
                    [sys.executable, "-P", "-m", verify_process.__name__],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                )
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)  # noqa: FBT003
        return cls(running, *await asyncio.open_unix_connection(sock=ours))

    async def answer(self, question: bytes) -> bytes:
        """EOFError or OSError if it ends meanwhile."""
        self._writer.write(question)
        await self._writer.drain()
        head = await self._reader.readexactly(verify_process.ANSWERED.size)
        (length,) = verify_process.ANSWERED.unpack(head)
        return await self._reader.readexactly(length)

    def end(self) -> None:
        """Kill it; it is gone when this returns."""
        self._running.kill()
        self._writer.transport.abort()
        self._running.wait(ENDS_S)


def _here(content: Content, keys: Mapping[str, Key], *, wants_trace: bool) -> list[Finding]:
    octets = content.path.read_bytes() if isinstance(content, FileContent) else content
    return verification.findings(octets, keys, wants_trace=wants_trace)
