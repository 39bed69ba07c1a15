"""How many messages a second, in at one end and out at the other, beside other servers?

Each server in turn on this machine, durable as it ships: Postfix's smtp-source submits over
20 kept-open connections, Postfix's smtp-sink takes what is delivered by route and ends after
the last message. The time is from the first submission to that end. The ratio is to Postfix.
Processor time is user and system time of every process of the server, for each message.
`petrel-full` is Petrel with everything a message can go through but TLS and DKIM.

    python -m benchmarks.throughput [--quick] [--only petrel,postfix] [--sizes 5,50]
                                    [--results benchmarks/results]
"""

import sys
from collections.abc import Iterable

from benchmarks import report
from benchmarks.machine import allow_many_files
from benchmarks.measure import FAILURES, Result, measure, median, reason, tools_missing
from benchmarks.peers import BASE, PEERS, MissingError
from benchmarks.report import Column, Report, Table
from benchmarks.scenario import Scenario

MESSAGES = 20_000
"""Of Petrel at 5 KB; of the others as many as their pace says, of larger messages half."""
ROUNDS = 3
RATIOS = {5: 6.0, 50: 3.5}
"""What Petrel has to be to Postfix, by the size in KB."""
CPU_US_MAX = 300
"""Processor time a message of 5 KB may take."""
COLUMNS = [
    Column("server"),
    Column("msg/s", ",.0f"),
    Column("ratio to Postfix", ".2f"),
    Column("Petrel is", ".1f"),
    Column("accepted/s", ",.0f"),
    Column("CPU us/msg", ",.0f"),
    Column("bars"),
]


def present(names: Iterable[str], report: Report) -> list[str]:
    """Those that can be had here; each says its version, or why it is left out."""
    found = []
    for name in names:
        try:
            report.versions.append(PEERS[name].version())
            found.append(name)
        except MissingError as error:
            report.versions.append(f"{name} left out: {error}")
        print(f"  {report.versions[-1]}", flush=True)
    return found


def count(name: str, scenario: Scenario, messages: int) -> int:
    """How many messages of a server a run has."""
    share = PEERS[name].pace * (1 if scenario.size_kb < 20 else 0.5)
    return max(20, scenario.connections, int(messages * share))


def compare(
    names: list[str], scenario: Scenario, messages: int, rounds: int
) -> tuple[dict[str, Result], list[str]]:
    """The middle result of each server, taken in turns; and what was left out."""
    found: dict[str, list[Result]] = {}
    failures: dict[str, str] = {}
    for _ in range(rounds):
        for name in names:
            if name in failures:
                continue
            try:
                one = measure(PEERS[name], scenario, count(name, scenario, messages))
            except FAILURES as error:
                failures[name] = reason(error)
            else:
                found.setdefault(name, []).append(one)
    results = {name: one for name, some in found.items() if (one := median(some)) is not None}
    return results, [f"{name} left out: {why}" for name, why in failures.items()]


def table(scenario: Scenario, results: dict[str, Result], failures: list[str]) -> Table:
    """A row for each server."""
    made = Table(str(scenario), COLUMNS, notes=failures)
    base, ours = results.get(BASE), results.get("petrel")
    for name, one in results.items():
        ratio = one.rate / base.rate if base else None
        bars = []
        if name.startswith("petrel"):
            if name == "petrel" and ratio is not None and scenario.size_kb in RATIOS:
                bars.append(report.bar(ratio, RATIOS[scenario.size_kb], at_least=True))
            if scenario.size_kb == 5:
                bars.append(report.bar(one.cpu_us, CPU_US_MAX, "us"))
        faster = f"{ours.rate / one.rate:.1f} x" if ours and not name.startswith("petrel") else ""
        made.add(name, one.rate, ratio, faster, one.accepted_rate, one.cpu_us, "; ".join(bars))
    return made


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", default=",".join(PEERS), help="servers")
    parser.add_argument("--sizes", default="5,50", help="kilobytes")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of Petrel, at 5 KB")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    rounds, messages = (1, given.messages // 4) if given.quick else (ROUNDS, given.messages)
    found = report.begin("throughput", __doc__, sys.argv[1:])
    print(f"end to end; the middle of {rounds} rounds")
    names = present(given.only.split(","), found)
    for size in map(int, given.sizes.split(",")):
        scenario = Scenario(size_kb=size)
        found.show(table(scenario, *compare(names, scenario, messages, rounds)))
    if "haraka" in names:
        found.tables[-1].notes.append("Haraka answers 250 without a sync: it is not durable.")
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
