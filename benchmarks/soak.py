"""Does it keep its pace and its memory under full load without a pause?

Petrel, durable, 5 KB messages over 20 connections that stay full: smtp-source never waits, a
sink of ours notes each second how many came and the longest time in which none did. Memory is
that of all the daemon's processes. The first minute, in which it fills its windows, is not
counted for growth.

    python -m benchmarks.soak [--minutes 10] [--only petrel] [--results benchmarks/results]
"""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from benchmarks import report
from benchmarks.machine import ROOT, allow_many_files, free_port, work_directory
from benchmarks.measure import sinking, source_command, tools_missing
from benchmarks.peers import PEERS, Peer, Place
from benchmarks.report import Column, Table
from benchmarks.scenario import Scenario
from benchmarks.throughput import present

STALL_MS_MAX = 250
GROWTH_MAX = 0.05
"""Of the memory after the start, over the whole run: what the allocator's pools waver by."""
SETTLES = 0.1
"""The share of the run, and at most a minute, in which windows fill."""
ENDLESS = 10**9
COLUMNS = [Column("what"), Column("value"), Column("bar")]


@dataclass
class Course:
    """One run, second by second."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    gaps_ms: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    cpu_us: float = 0.0

    @property
    def settled(self) -> int:
        """The first second that counts."""
        return max(1, min(60, int(len(self.seconds) * SETTLES)))


def run(peer: Peer, scenario: Scenario, minutes: float) -> Course:
    """Full load for so long."""
    course = Course()
    with work_directory() as directory:
        place = Place(Path(directory), free_port(), free_port(), scenario)
        arrivals = place.work / "arrivals"
        sink = [sys.executable, "-m", "benchmarks.sink", "--port", str(place.sink_port)]
        sink += ["--arrivals", str(arrivals)]
        try:
            with (
                sinking(place, sink),
                peer.running(place),
                subprocess.Popen(
                    source_command(scenario, place.port, ENDLESS),
                    cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                ) as source,
            ):  # fmt: skip
                try:
                    before = place.processes.cpu_s()
                    samples = _memory(place, source, minutes * 60)
                    used = place.processes.cpu_s() - before
                finally:
                    source.kill()
                rows = [line.split() for line in arrivals.read_text().splitlines()]
        finally:
            place.processes.close()
    _join(course, rows, samples)
    course.cpu_us = used / max(1.0, sum(course.rates)) * 1e6
    return course


def _memory(
    place: Place, source: subprocess.Popen[bytes], seconds: float
) -> list[tuple[float, float]]:
    """When, and how much; RuntimeError if the source gives up."""
    found = []
    began = time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        found.append((now, place.processes.memory_mb()))
        if source.poll() is not None:
            raise RuntimeError("smtp-source ended: the server refused a message")
        time.sleep(1.0)
    return found


def _join(course: Course, rows: list[list[str]], samples: list[tuple[float, float]]) -> None:
    """Arrivals from the first sample of memory to the last."""
    began, ended = samples[0][0], samples[-1][0] + 1
    for when, taken, gap in rows:
        at = float(when)
        if began <= at - 1 and at <= ended:
            course.seconds.append(round(at - began, 1))
            course.rates.append(float(taken))
            course.gaps_ms.append(float(gap))
            near = min(samples, key=lambda sample: abs(sample[0] - at))
            course.memory_mb.append(round(near[1], 1))


def table(name: str, minutes: float, course: Course) -> Table:
    made = Table(f"{name}: {minutes:g} minutes of full load, {Scenario()}", COLUMNS)
    rates = course.rates[course.settled :]
    memory = course.memory_mb[course.settled :]
    tenth = max(1, len(memory) // 10)
    first, last = median(memory[:tenth]), median(memory[-tenth:])
    worst = max(course.gaps_ms[course.settled :])
    made.add("messages delivered", f"{sum(course.rates):,.0f}", "")
    made.add("messages a second, mean", f"{mean(rates):,.0f}", "")
    made.add("  in the slowest second", f"{min(rates):,.0f}", "")
    made.add("  last tenth to first", f"{mean(rates[-tenth:]) / mean(rates[:tenth]):.2f}", "")
    made.add("longest time without one", f"{worst:.0f} ms", report.bar(worst, STALL_MS_MAX, "ms"))
    growth = last / first - 1
    made.add("memory, first tenth", f"{first:.0f} MB", "")
    made.add(
        "memory, last tenth", f"{last:.0f} MB", report.bar(growth * 100, GROWTH_MAX * 100, "% more")
    )
    made.add("memory at most", f"{max(course.memory_mb):.0f} MB", "")
    made.add("CPU per message", f"{course.cpu_us:.0f} us", "")
    return made


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", default="petrel", help="servers, each for so long")
    parser.add_argument("--minutes", type=float, default=10.0, help="with --quick a tenth")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    minutes = given.minutes / 10 if given.quick else given.minutes
    found = report.begin("soak", __doc__, sys.argv[1:])
    for name in present(given.only.split(","), found):
        course = run(PEERS[name], Scenario(), minutes)
        found.show(table(name, minutes, course))
        found.series[f"{name} seconds"] = course.seconds
        found.series[f"{name} messages a second"] = course.rates
        found.series[f"{name} memory MB"] = course.memory_mb
        found.series[f"{name} longest gap ms"] = course.gaps_ms
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
