"""A real daemon as a process of its own, and what it leaves behind to be read."""

import asyncio
import contextlib
import csv
import fcntl
import io
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e.netns import Namespace

START_S: Final = 30.0
"""Long for a machine that also does other things; a start takes one second."""
STOP_S: Final = 30.0
COMMAND_S: Final = 60.0
POLL_S: Final = 0.02
PROGRAM: Final = (sys.executable, "-m", "mta")


class DaemonFailedError(AssertionError):
    """It ended, or never listened; the text holds what it said."""


@dataclass(frozen=True)
class Said:
    """What a command came to: its exit code, and all it printed."""

    code: int
    text: str


class Daemon:
    """`mta run` on a configuration file; killed at the latest when the test process ends.

    `address` is where it must listen before it counts as started. It runs in a
    namespace if one is given.
    """

    def __init__(
        self, config: Path, address: tuple[str, int], namespace: Namespace | None = None
    ) -> None:
        self.config = config
        self.address = address
        self.output = config.with_suffix(".output")
        self._namespace = namespace
        self.is_ready: Callable[[], bool] = lambda: True
        """What has to be true besides that it greets."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after a kill."""
        assert self._process
        return self._process.poll()

    async def start(self, **environment: str) -> None:
        """Return once it greets; DaemonFailedError if it ends or takes too long."""
        assert not self.is_running
        command = [*self._prefix, "setpriv", "--pdeathsig", "KILL", *PROGRAM]
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | environment,
                start_new_session=True,
            )
        await until(self._greets_or_ended, START_S)
        if not self.is_running:
            raise DaemonFailedError(f"it ended with {self._process.returncode}:\n{self.said()}")

    async def run_to_end(self) -> Said:
        """For a daemon that must not start: its exit code and what it said."""
        return await self._run("run", "--config", str(self.config))

    async def command(self, *words: str) -> Said:
        """An admin command, put to this daemon."""
        return await self._run(*words, "--config", str(self.config))

    async def check(self) -> Said:
        """`mta check` of its configuration."""
        return await self._run("check", str(self.config))

    async def stop(self) -> int:
        """SIGTERM, and its exit code; DaemonFailedError if it does not end in time."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self, within_s: float = STOP_S) -> int:
        assert self._process
        await until(lambda: not self.is_running, within_s, self.said)
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9 of it and everything it started."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def children(self) -> list[int]:
        """Its worker processes, if it has any."""
        with contextlib.suppress(OSError):
            return [
                *map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())
            ]
        return []

    def said(self) -> str:
        """Everything it printed so far, over all its starts."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def resident_octets(self) -> int:
        """Memory it holds now, all its processes together."""
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(status.parent.name)) == self.pid:
                    total += sum(map(int, re.findall(r"VmRSS:\s+(\d+)", status.read_text())))
        return total * 1024

    @property
    def _prefix(self) -> list[str]:
        return self._namespace.prefix if self._namespace else []

    async def _run(self, *words: str) -> Said:
        def run() -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*self._prefix, *PROGRAM, *words],
                capture_output=True, text=True, timeout=COMMAND_S, check=False,
            )  # fmt: skip

        done = await asyncio.to_thread(run)
        return Said(done.returncode, done.stdout + done.stderr)

    def _greets_or_ended(self) -> bool:
        if not self.is_running:
            return True
        try:
            with self.inside(), socket.create_connection(self.address, timeout=2) as client:
                return client.recv(3) == b"220" and self.is_ready()
        except OSError:
            return False

    def inside(self) -> contextlib.AbstractContextManager[None]:
        """Sockets opened meanwhile stand where the daemon stands."""
        return self._namespace.inside() if self._namespace else contextlib.nullcontext()


async def until(
    condition: Callable[[], object], within_s: float, explain: Callable[[], str] = str
) -> None:
    """Wait for a condition to come true; AssertionError, with an explanation, if it does not."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise DaemonFailedError(f"not within {within_s} s: {condition}\n{explain()}")
        await asyncio.sleep(POLL_S)


async def stays(value: Callable[[], object], for_s: float) -> None:
    """AssertionError if value changes within a time."""
    before = value()
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert value() == before
        await asyncio.sleep(POLL_S)


PORTS: Final = range(20_000, 32_000)
"""Below those that Linux gives to clients: one of these may be gone before a daemon has it."""
PORT_LOCKS: Final = Path(tempfile.gettempdir()) / "petrel-test-ports"
_ours: dict[int, int] = {}
"""Ports that were given away, and, under 0, the file with a locked octet for each."""


def free_port(address: str = "127.0.0.1") -> int:
    """A port nobody listens on, and no other run of tests on this machine is given meanwhile."""
    if not _ours:
        _ours[0] = os.open(PORT_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    while True:
        port = secrets.choice(PORTS)
        if port in _ours:
            continue
        try:
            fcntl.lockf(_ours[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            with socket.create_server((address, port)):
                _ours[port] = port
                return port
        except OSError:
            continue


def accounting_rows(directory: Path, kinds: str = "") -> list[dict[str, str]]:
    """The rows of all accounting files in a directory in the order written, by column name.

    `kinds` are the record types wanted, separated by commas; all without it.
    """
    wanted = set(kinds.split(",")) if kinds else set()
    return [row for row in _rows(directory) if not wanted or row["type"] in wanted]


def _rows(directory: Path) -> Iterator[dict[str, str]]:
    for path in sorted(directory.glob("*.csv")):
        with path.open(newline="") as file:
            text = file.read()
        whole = text[: text.rfind("\n") + 1]  # the last line may still be being written
        yield from csv.DictReader(io.StringIO(whole, newline=""), strict=True)
