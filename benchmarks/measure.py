"""One run of one server: a source, the server, a sink; and what came of it.

The time is from the first submission to the last message at the sink, or, where the provider
defers and refuses, until each recipient has had its first answer. Postfix's smtp-source and
smtp-sink are the ends wherever they can do what the scenario asks for.
"""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT, free_port, wait_for, work_directory
from benchmarks.peers import MissingError, Peer, Place
from benchmarks.scenario import Scenario

RUN_S = 300
SOURCE, SINK = "/usr/sbin/smtp-source", "/usr/sbin/smtp-sink"
FAILURES = (MissingError, OSError, subprocess.SubprocessError, TimeoutError)
"""What leaves one server out of a table, and not the table."""


@dataclass(frozen=True)
class Result:
    """Messages a second end to end and at the listener; processor time of the server a message."""

    rate: float
    accepted_rate: float
    cpu_us: float


def reason(error: BaseException) -> str:
    """Why a run came to nothing, on one line."""
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        text = error.stderr if isinstance(error.stderr, str) else error.stderr.decode()
        return text.strip().rpartition("\n")[2]
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not done after {error.timeout:.0f} s"
    return str(error)


def tools_missing() -> str:
    """Why nothing can be measured at all; empty if it can."""
    if not Path(SOURCE).exists():
        return "smtp-source is missing: install Debian's postfix package"
    return ""


def source_command(scenario: Scenario, port: int, messages: int) -> list[str]:
    """Words that submit so many messages."""
    if not scenario.needs_own_source:
        command = [SOURCE] + ["-d"] * scenario.keeps_open
        command += ["-s", str(scenario.connections), "-m", str(messages), "-l", str(scenario.size)]
        return [
            *command, "-f", "sender@bench.example", "-t", "rcpt@dest.example", f"127.0.0.1:{port}"
        ]  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.source", "--port", str(port)]
    command += ["--messages", str(messages), "--connections", str(scenario.connections)]
    command += ["--size", str(scenario.size), "--domains", str(scenario.domains)]
    return command + ["--reconnects"] * (not scenario.keeps_open) + ["--tls"] * scenario.tls


def sink_command(scenario: Scenario, place: Place, messages: int, *options: str) -> list[str]:
    """Words that take so many messages, and end."""
    if not scenario.needs_own_sink:
        command = [SINK, "-u", "nobody", "-m", "4000", "-M", str(messages), *options]
        return [*command, f"127.0.0.1:{place.sink_port}", "1000"]
    provider = scenario.provider
    command = [sys.executable, "-m", "benchmarks.sink", "--port", str(place.sink_port)]
    command += ["--messages", str(messages), "--delay-ms", str(provider.delay_ms)]
    command += ["--defers", str(provider.defers), "--refuses", str(provider.refuses)]
    return command + ["--certificate", str(place.certificate)] * scenario.tls


@contextlib.contextmanager
def sinking(place: Place, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The sink, once it listens; it is gone afterwards."""
    with open(place.work / "sink-output", "wb") as output:
        sink = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=output)
    try:
        wait_for(place.sink_port)
        yield sink
    finally:
        sink.kill()
        sink.wait()


def timed(
    place: Place, sink: "subprocess.Popen[bytes]", messages: int, submit: Callable[[], object]
) -> Result:
    """What `submit`, which returns when all are accepted, and the rest of the way take."""
    before = place.processes.cpu_s()
    began = time.monotonic()
    submit()
    accepted = time.monotonic()
    sink.wait(RUN_S)
    ended = time.monotonic()
    used = place.processes.cpu_s() - before
    return Result(messages / (ended - began), messages / (accepted - began), used / messages * 1e6)


def measure(peer: Peer, scenario: Scenario, messages: int, *sink_options: str) -> Result:
    """One run; one of FAILURES if it comes to nothing."""
    with work_directory() as directory:
        place = Place(Path(directory), free_port(), free_port(), scenario)
        try:
            with (
                sinking(place, sink_command(scenario, place, messages, *sink_options)) as sink,
                peer.running(place),
            ):
                return timed(
                    place,
                    sink,
                    messages,
                    lambda: subprocess.run(
                        source_command(scenario, place.port, messages),
                        cwd=ROOT, check=True, timeout=RUN_S, capture_output=True,
                    ),
                )  # fmt: skip
        finally:
            place.processes.close()


def sample(peer: Peer, scenario: Scenario) -> bytes:
    """A message as smtp-sink gets it."""
    with tempfile.TemporaryDirectory(prefix="petrel-sample-") as directory:
        Path(directory).chmod(0o777)
        measure(peer, scenario, 1, "-d", f"{directory}/message.")
        return next(Path(directory).iterdir()).read_bytes()


def median(results: list[Result]) -> Result | None:
    """The one in the middle by rate; None without any."""
    ordered = sorted(results, key=lambda one: one.rate)
    return ordered[len(ordered) // 2] if ordered else None
