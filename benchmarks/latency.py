"""How long is one message under way in an idle system, from its first octet to the provider's 250?

One message after the other, 2 KB, over one connection that is kept open, durable; each server
in turn. Ratios are to Postfix.

    python -m benchmarks.latency [--quick] [--only petrel,postfix] [--results DIRECTORY]
"""

import sys
from pathlib import Path

from benchmarks import probe, report
from benchmarks.machine import free_port, work_directory
from benchmarks.measure import FAILURES, reason
from benchmarks.peers import BASE, PEERS, SERVERS, Peer, Place
from benchmarks.report import Column, Table
from benchmarks.throughput import present

MEDIAN_MS_MAX = 10
COLUMNS = [
    Column("server"),
    Column("median ms", ".2f"),
    Column("95 % ms", ".2f"),
    Column("99 % ms", ".2f"),
    Column("most ms", ".2f"),
    Column("median to Postfix", ".2f"),
    Column("bar"),
]


def latencies_ms(peer: Peer, probes: int) -> list[float]:
    """Of one server, sorted; one of FAILURES if it comes to nothing."""
    with work_directory() as directory:
        place = Place(Path(directory), free_port(), free_port())
        provider = probe.Provider(place.sink_port)
        try:
            with peer.running(place):
                return probe.latencies_ms(place.port, provider, probes)
        finally:
            provider.close()
            place.processes.close()


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", default=",".join(SERVERS), help="servers")
    parser.add_argument("--probes", type=int, default=5 * probe.PROBES, help="messages to each")
    given = parser.parse_args()
    probes = given.probes // 5 if given.quick else given.probes
    found = report.begin("latency", __doc__, sys.argv[1:])
    names = present(given.only.split(","), found)
    made = Table(f"one message in an idle system, {probes} in turn, a minute at most", COLUMNS)
    results: dict[str, list[float]] = {}
    for name in names:
        try:
            results[name] = latencies_ms(PEERS[name], probes)
        except (*FAILURES, RuntimeError) as error:
            made.notes.append(f"{name} left out: {reason(error)}")
    base = probe.median(results[BASE]) if BASE in results else None
    for name, some in results.items():
        middle = probe.median(some)
        verdict = report.bar(middle, MEDIAN_MS_MAX, "ms") if name == "petrel" else ""
        made.add(
            name, middle, probe.share(some, 95), probe.share(some, 99), some[-1],
            middle / base if base else None, verdict,
        )  # fmt: skip
    found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
