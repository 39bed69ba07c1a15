"""What do several workers gain over one, and what does a message cost each of them?

Petrel with each number of workers in turn, durable, 5 KB messages: a source submits to many
domains at once, as a queue belongs to one worker, and smtp-sink takes what is delivered. The
source and the sink need processor time of the same machine: on two cores two workers cannot
be twice as fast. Ratios are to one worker.

    python -m benchmarks.workers [--quick] [--workers 1,2] [--domains 16] [--results DIRECTORY]
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.machine import START_S, allow_many_files, free_port, work_directory
from benchmarks.measure import (
    RUN_S,
    SOURCE,
    Result,
    median,
    sink_command,
    sinking,
    timed,
    tools_missing,
)
from benchmarks.peers import Place
from benchmarks.peers.petrel import Petrel
from benchmarks.report import Column, Table
from benchmarks.scenario import Scenario

MESSAGES = 20_000
PLAIN = Scenario()
COLUMNS = [
    Column("workers"),
    Column("msg/s", ",.0f"),
    Column("ratio", ".2f"),
    Column("accepted/s", ",.0f"),
    Column("CPU us/msg", ",.0f"),
    Column("ratio", ".2f"),
]


def submit(port: int, messages: int, domains: int) -> None:
    """Messages to each domain, all domains at once, over at least the usual connections."""
    sources = [
        subprocess.Popen(
            [
                SOURCE, "-d", "-s", str(max(1, PLAIN.connections // domains)), "-m", str(messages),
                "-l", str(PLAIN.size), "-f", "sender@bench.example",
                "-t", f"rcpt@dest{number}.example", f"127.0.0.1:{port}",
            ]
        )
        for number in range(domains)
    ]  # fmt: skip
    for source in sources:
        if source.wait(RUN_S):
            raise subprocess.SubprocessError("smtp-source failed")


def measure(workers: int, each: int, domains: int) -> Result:
    """One run."""
    messages = each * domains
    with work_directory() as directory:
        place = Place(Path(directory), free_port(), free_port(), PLAIN)
        peer = Petrel(top=f"workers {workers}")
        try:
            with sinking(place, sink_command(PLAIN, place, messages)) as sink, peer.running(place):
                deadline = time.monotonic() + START_S
                control = place.work / "spool" / "control"
                while not control.exists() and time.monotonic() < deadline:
                    time.sleep(0.1)  # the last worker is ready a little after the first
                return timed(place, sink, messages, lambda: submit(place.port, each, domains))
        finally:
            place.processes.close()


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--workers", default="1,2", help="numbers")
    parser.add_argument("--domains", type=int, default=16, help="that mail goes to at once")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="in each run")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    rounds, messages = (1, given.messages // 4) if given.quick else (3, given.messages)
    counts = [int(number) for number in given.workers.split(",")]
    found = report.begin("workers", __doc__, sys.argv[1:])
    found.versions.append(Petrel().version())
    results: dict[int, list[Result]] = {number: [] for number in counts}
    for _ in range(rounds):
        for number in counts:
            results[number].append(measure(number, messages // given.domains, given.domains))
    made = Table(f"5 KB, {given.domains} domains, durable; the middle of {rounds} rounds", COLUMNS)
    middles = {number: one for number in counts if (one := median(results[number])) is not None}
    base = middles[counts[0]]
    for number, one in middles.items():
        made.add(
            str(number), one.rate, one.rate / base.rate, one.accepted_rate,
            one.cpu_us, one.cpu_us / base.cpu_us,
        )  # fmt: skip
    found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
