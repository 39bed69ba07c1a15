"""A Petrel that has much to hold: started on a filled spool, asked, timed."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import free_port, wait_for
from benchmarks.measure import RUN_S, SINK, SOURCE
from benchmarks.peers import Place
from benchmarks.peers.petrel import Petrel
from benchmarks.probe import LIVE, Provider
from benchmarks.scenario import Scenario
from mta.admin.client import ask
from mta.admin.protocol import Exit, Request

SIZE = 2 << 10


@dataclass
class Daemon:
    """One that runs, and where."""

    place: Place
    pid: int
    first_delivery_s: float = 0.0
    provider: Provider | None = None

    def memory_mb(self, what: str = "VmRSS") -> float:
        """Resident memory, or with VmHWM the most there ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) / 1024

    def answer(self, command: str, **arguments: str) -> str:
        """What it answers to a command, as text; RuntimeError if it cannot."""
        out: list[str] = []
        errors: list[str] = []
        request = Request(command=command, arguments=arguments)
        control = self.place.work / "spool" / "control"
        done = ask(control, request, out=out.append, error=errors.append)
        if done is not Exit.DONE:
            raise RuntimeError(f"{command}: {''.join(errors)}")
        return "".join(out)

    def live_rate(self, messages: int) -> float:
        """Messages a second to the live provider, end to end; 0 if they are not done in time."""
        if self.provider is not None:
            self.provider.close()
            self.provider = None
            time.sleep(0.2)
        place = self.place
        command = [SINK, "-u", "nobody", "-m", "1000", "-M", str(messages)]
        command += [f"127.0.0.1:{place.sink_port}", "1000"]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as sink:
            try:
                wait_for(place.sink_port)
                self.answer("schedule", queues=f"{LIVE}/*")
                began = time.monotonic()
                connections = str(Scenario().connections)
                source = [
                    SOURCE, "-d", "-s", connections, "-m", str(messages), "-l", str(SIZE),
                    "-f", "sender@bench.example", "-t", f"rcpt@{LIVE}", f"127.0.0.1:{place.port}",
                ]  # fmt: skip
                subprocess.run(source, check=True, timeout=RUN_S, capture_output=True)
                sink.wait(RUN_S)
                return messages / (time.monotonic() - began)
            except subprocess.TimeoutExpired:
                return 0.0
            finally:
                sink.kill()


@contextlib.contextmanager
def started(
    work: Path, *, waits_for_first: bool = False, retry_after: str = "30s"
) -> Iterator[Daemon]:
    """On the spool in work; a provider of ours takes what is for the live domain."""
    place = Place(work, free_port(), free_port())
    provider = Provider(place.sink_port)
    dead = f"""<domain *.dead.example>
    smtp-hosts [127.0.0.1]:{free_port()}
    retry-after {retry_after}
</domain>"""
    began = time.monotonic()
    try:
        with Petrel(top=dead).running(place) as pid:
            one = Daemon(place, pid, provider=provider)
            if waits_for_first:
                one.first_delivery_s = provider.wait_for(1) - began
            yield one
    finally:
        provider.close()
        place.processes.close()
