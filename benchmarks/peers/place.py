"""Where a server under measurement runs, and what it has to offer to be one."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from benchmarks.machine import ROOT, Processes
from benchmarks.scenario import Scenario
from mta.signing import keys
from mta.sim.certificate import self_signed

DOMAIN = "bench.example"
"""Of the sender, and of the signatures."""
SELECTOR = "s"
STOP_S = 60


class MissingError(Exception):
    """A server cannot run here, or not like this; the text says what it lacks."""


@dataclass
class Place:
    """A directory, a port to listen on and one to deliver to, and how the run is to be."""

    work: Path
    port: int
    sink_port: int
    scenario: Scenario = field(default_factory=Scenario)
    processes: Processes = field(default_factory=Processes)

    @cached_property
    def certificate(self) -> Path:
        """The certificate and its key, in one PEM file."""
        path = self.work / "certificate.pem"
        shutil.copy(self_signed(DOMAIN).tls_certificate, path)
        path.chmod(0o644)
        return path

    @cached_property
    def dkim_key(self) -> Path:
        """An RSA-2048 key, PEM, readable by whoever the server runs as."""
        path = self.work / "dkim.pem"
        path.write_bytes(keys.new_key("rsa-2048").pem())
        path.chmod(0o644)
        return path

    @contextlib.contextmanager
    def running(self, command: list[str]) -> Iterator[int]:
        """A program in the foreground; its process id. It ends with the context."""
        with open(self.work / "output", "wb") as output:
            process = subprocess.Popen(
                self.processes.command(command),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.processes.begin_with(process.pid)
        try:
            yield process.pid
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Peer(Protocol):
    """A server that can be measured."""

    name: str
    pace: float
    """Its messages as a share of Petrel's, so that a run of each takes a like time."""

    def version(self) -> str:
        """Its name and version as it says them; MissingError if it is not to be had."""
        ...

    def running(self, place: Place) -> contextlib.AbstractContextManager[int]:
        """Until the context ends, it listens; the process id of its first process.

        MissingError if it cannot do what the scenario asks for.
        """
        ...
