"""What do ten thousand idle inbound connections take, and two thousand busy ones?

Petrel beside itself: the latency of one message, one after the other, in an idle system, then
beside connections that do nothing, then while more submit to a provider that takes nothing.

    python -m benchmarks.connections [--quick] [--idle 10000] [--busy 2000] [--results DIRECTORY]
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks import report
from benchmarks.daemon import SIZE, started
from benchmarks.machine import allow_many_files, work_directory
from benchmarks.measure import SOURCE, tools_missing
from benchmarks.peers import PEERS
from benchmarks.probe import PROBES, Client, Provider, latencies_ms, median, share
from benchmarks.report import Column, Table

BUSY_S = 3
SOURCES = 50
"""Addresses of this machine that idle connections come from, so that ports do not run out."""
MEDIAN_MS_MAX = 10
COLUMNS = [Column("what"), Column("value"), Column("beside"), Column("bar")]


def measure(idle: int, busy: int, probes: int) -> Table:
    """One daemon, with more and more to do."""
    made = Table(f"{idle:,} idle inbound connections, {busy:,} busy", COLUMNS)
    with work_directory() as work, started(Path(work)) as one:
        provider, port = one.provider, one.place.port
        assert provider is not None
        before = one.memory_mb()
        alone = median(latencies_ms(port, provider, probes))
        made.add(
            "idle system: median to the provider's 250", f"{alone:.2f} ms", "",
            report.bar(alone, MEDIAN_MS_MAX, "ms"),
        )  # fmt: skip
        clients = [Client(port, f"127.0.1.{n % SOURCES + 1}") for n in range(idle)]
        after = one.memory_mb()
        each = (after - before) * 1024 / max(len(clients), 1)
        made.add("memory with idle connections", f"{after:.0f} MB", f"{each:.1f} KB each", "")
        beside = median(latencies_ms(port, provider, probes))
        made.add("the same beside them", f"{beside:.2f} ms", f"{beside / alone:.1f} x", "")
        found = _while_busy(port, provider, busy, probes)
        made.add(
            f"the same while {busy:,} more submit", f"{median(found):.0f} ms",
            f"95 %: {share(found, 95):.0f} ms", "",
        )  # fmt: skip
        made.add("memory at most", f"{one.memory_mb('VmHWM'):.0f} MB", "", "")
        for client in clients:
            client.close()
    return made


def _while_busy(port: int, provider: Provider, busy: int, probes: int) -> list[float]:
    source = [
        SOURCE, "-d", "-s", str(busy), "-m", "1000000000", "-l", str(SIZE),
        "-f", "sender@bench.example", "-t", "rcpt@d0.dead.example", f"127.0.0.1:{port}",
    ]  # fmt: skip
    with subprocess.Popen(source, stderr=subprocess.DEVNULL) as load:
        try:
            time.sleep(BUSY_S)
            assert load.poll() is None, "smtp-source ended: a connection was refused"
            return latencies_ms(port, provider, probes)
        finally:
            load.kill()


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--idle", type=int, default=10_000, help="connections; a tenth if quick")
    parser.add_argument("--busy", type=int, default=2_000, help="connections; a tenth if quick")
    parser.add_argument("--probes", type=int, default=PROBES, help="messages timed each time")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    files = allow_many_files()
    part = 10 if given.quick else 1
    found = report.begin("connections", __doc__, sys.argv[1:])
    found.versions.append(PEERS["petrel"].version())
    idle = min(given.idle // part, files - given.busy - 1000)
    made = measure(idle, given.busy // part, given.probes)
    if idle < given.idle // part:
        made.notes.append(f"this machine allows {files:,} open files")
    found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
