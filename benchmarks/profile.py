"""Where does the processor time of a message go, stage by stage?

Two runs as of benchmarks/throughput.py, with Petrel alone. In the first the kernel says what
each thread takes, of the program and of the kernel. In the second the functions of
benchmarks/stages.py are measured too, less what measuring costs; their shares divide what the
first run found. What the main thread spends outside every stage is the event loop: waiting and
reading in the kernel, tasks, the interpreter lock.

    python -m benchmarks.profile [--messages 10000] [--size 5] [--connections 20] [--full]
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import report
from benchmarks.machine import ROOT, allow_many_files, free_port, work_directory
from benchmarks.measure import RUN_S, sink_command, sinking, source_command, tools_missing
from benchmarks.peers import Place
from benchmarks.peers.petrel import Petrel
from benchmarks.peers.petrel_full import PETREL_FULL
from benchmarks.report import Column, Table
from benchmarks.scenario import Scenario
from benchmarks.stages import OUTSIDE, OUTSIDE_SPOOL, STAGES

WARM_UP = 500
"""Messages before the measuring begins."""


@dataclass
class Threads:
    """Microseconds so far: of the main thread, of all others; of the program, of the kernel."""

    main: float = 0.0
    others: float = 0.0
    user: float = 0.0
    system: float = 0.0

    @classmethod
    def of(cls, pids: Sequence[int]) -> "Threads":
        found = cls()
        tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
        for pid in pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                used = int((task / "schedstat").read_text().split()[0]) / 1000
                words = (task / "stat").read_text().rpartition(")")[2].split()
                found.user += int(words[11]) * tick_us
                found.system += int(words[12]) * tick_us
                if task.name == str(pid):
                    found.main += used
                else:
                    found.others += used
        return found

    def since(self, before: "Threads", messages: int) -> "Threads":
        """For each message."""
        return Threads(
            (self.main - before.main) / messages,
            (self.others - before.others) / messages,
            (self.user - before.user) / messages,
            (self.system - before.system) / messages,
        )


@dataclass
class Run:
    """What came of one run, microseconds a message; of the stages, only their ratios count."""

    rate: float = 0.0
    threads: Threads = field(default_factory=Threads)
    stages: dict[str, float] = field(default_factory=dict)


def run(peer: Petrel, scenario: Scenario, messages: int, stages: Path | None = None) -> Run:
    """Send mail through Petrel; its stages are found in a file, if one is given, afterwards."""
    made = Run()
    with work_directory() as directory:
        place = Place(Path(directory), free_port(), free_port(), scenario)
        try:
            command = sink_command(scenario, place, messages + WARM_UP)
            with sinking(place, command) as sink, peer.running(place):
                _send(place, WARM_UP)
                before, began = Threads.of(place.processes.pids), time.monotonic()
                _send(place, messages)
                sink.wait(RUN_S)
                made.rate = messages / (time.monotonic() - began)
                made.threads = Threads.of(place.processes.pids).since(before, messages)
        finally:
            place.processes.close()
    if stages is not None:
        made.stages = json.loads(stages.read_text())
    return made


def _send(place: Place, messages: int) -> None:
    command = source_command(place.scenario, place.port, messages)
    subprocess.run(command, cwd=ROOT, check=True, timeout=RUN_S, capture_output=True)


def table(scenario: Scenario, plain: Run, measured: Run) -> Table:
    """Stages as shares of what their thread takes in the plain run."""
    made = Table(
        f"{scenario}: {plain.rate:.0f} messages a second",
        [Column("microseconds of processor time a message"), Column("", ".1f")],
    )
    threads = plain.threads
    in_spool = [stage for stage in STAGES if stage.startswith("spool:")]
    in_main = [stage for stage in STAGES if stage not in in_spool]
    for name, used, stages in (
        ("= main thread", threads.main, [*in_main, OUTSIDE]),
        ("= all other threads", threads.others, [*in_spool, OUTSIDE_SPOOL]),
    ):
        share = used / sum(measured.stages.get(stage, 0.0) for stage in stages)
        for stage in stages:
            made.add(stage, measured.stages.get(stage, 0.0) * share)
        made.add(name, used)
    made.add("program", threads.user)
    made.add("kernel", threads.system)
    made.add("all", threads.main + threads.others)
    return made


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=5, help="kilobytes")
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--full", action="store_true", help="with everything on: petrel-full")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    messages = given.messages // 4 if given.quick else given.messages
    scenario = Scenario(size_kb=given.size, connections=given.connections)
    peer = PETREL_FULL if given.full else Petrel()
    found = report.begin("profile", __doc__, sys.argv[1:])
    plain = run(peer, scenario, messages)
    with work_directory() as directory:
        stages = Path(directory) / "stages"
        peer.program = ("-m", "benchmarks.stages", str(stages))
        measured = run(peer, scenario, messages, stages)
    found.show(table(scenario, plain, measured))
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
