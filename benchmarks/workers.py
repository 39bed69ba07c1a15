"""What do several workers gain over one, and what does a message cost each of them?

Petrel with each number of workers in turn, durable, 5 KB messages: Postfix's smtp-source
submits to many domains at once, as a queue belongs to one worker, and smtp-sink takes what is
delivered. The source and the sink need processor time of the same machine: on two cores two
workers cannot be twice as fast. Ratios are to one worker.

    python -m benchmarks.workers [--quick] [--workers 1,2] [--domains 16]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.throughput import (
    ROOT,
    RUN_S,
    SESSIONS,
    SINK,
    SOURCE,
    START_S,
    Result,
    allow_many_files,
    cpu_s,
    free_port,
    median,
    petrel,
    wait_for,
)

MESSAGES = 20_000
SIZE = 5 << 10


def submit(port: int, messages: int, domains: int) -> None:
    """Messages to each domain, all domains at once, over SESSIONS connections or more."""
    sources = [
        subprocess.Popen(
            [
                SOURCE, "-d", "-s", str(max(1, SESSIONS // domains)), "-m", str(messages),
                "-l", str(SIZE), "-f", "sender@bench.example",
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
    port, sink_port = free_port(), free_port()
    messages = each * domains
    with tempfile.TemporaryDirectory(prefix="petrel-bench-", dir=ROOT / "spool") as directory:
        work = Path(directory)
        sink = subprocess.Popen(
            [SINK, "-u", "nobody", "-M", str(messages), f"127.0.0.1:{sink_port}", "1000"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(sink_port)
            with petrel(work, port, sink_port, top=f"workers {workers}") as pid:
                deadline = time.monotonic() + START_S
                while not (work / "spool" / "control").exists() and time.monotonic() < deadline:
                    time.sleep(0.1)  # the last worker is ready a little after the first
                before = cpu_s(pid)
                began = time.monotonic()
                submit(port, each, domains)
                accepted = time.monotonic()
                sink.wait(RUN_S)
                ended = time.monotonic()
                used = cpu_s(pid) - before
        finally:
            sink.kill()
            sink.wait()
    return Result(messages / (ended - began), messages / (accepted - began), used / messages * 1e6)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages, one round")
    parser.add_argument("--workers", default="1,2", help="default %(default)s")
    parser.add_argument("--domains", type=int, default=16, help="default %(default)s")
    given = parser.parse_args()
    if not Path(SOURCE).exists():
        print("smtp-source is missing: install Debian's postfix package")
        return 1
    allow_many_files()
    rounds, messages = (1, MESSAGES // 4) if given.quick else (3, MESSAGES)
    counts = [int(count) for count in given.workers.split(",")]
    results: dict[int, list[Result]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            results[count].append(measure(count, messages // given.domains, given.domains))
    print(f"5 KB, {given.domains} domains, durable; the median of {rounds} rounds\n")
    print("workers        msg/s   ratio   accepted/s   CPU us/msg   ratio")
    base = median(results[counts[0]])
    for count in counts:
        one = median(results[count])
        print(
            f"{count:>7}{one.rate:>13.0f}{one.rate / base.rate:>8.2f}{one.accepted_rate:>13.0f}"
            f"{one.cpu_us:>13.0f}{one.cpu_us / base.cpu_us:>8.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
