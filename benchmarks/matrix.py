"""How does the throughput of each server change with the mail, the connections, the provider?

One thing at a time is changed from 5 KB over 20 connections kept open, one domain, and a
provider that answers at once: durable as each server ships and, marked so, with the sync off.
With the sync off, Petrel runs with sync-msg-create and sync-msg-update set to no, the others
with a library in which every sync succeeds at once. Behind each rate stands how many times
that Petrel is.

    python -m benchmarks.matrix [--quick] [--only petrel,postfix] [--rows tls,dkim] [--list]
                                [--results benchmarks/results]
"""

import sys
from dataclasses import replace

from benchmarks import report
from benchmarks.machine import allow_many_files
from benchmarks.measure import Result, tools_missing
from benchmarks.peers import BASE, SERVERS
from benchmarks.report import Cell, Column, Table
from benchmarks.scenario import Provider, Scenario
from benchmarks.throughput import compare, present

MESSAGES = 8_000
KEPT_OPEN_RATIO = 1.5
"""What Petrel has to be to Postfix over one connection kept open."""
PLAIN = Scenario()
ROWS: dict[str, list[Scenario]] = {
    "sizes": [Scenario(size_kb=size) for size in (1, 5, 50, 100)],
    "connections": [
        Scenario(connections=number, keeps_open=keeps_open)
        for keeps_open in (True, False)
        for number in (1, 20, 200)
    ],
    "domains": [Scenario(domains=number) for number in (1, 10_000)],
    "providers": [
        Scenario(provider=provider)
        for provider in (Provider(), Provider(delay_ms=50), Provider(defers=0.05, refuses=0.01))
    ],
    "tls": [PLAIN, Scenario(tls=True)],
    "dkim": [Scenario(size_kb=size, dkim=True) for size in (5, 50)],
}
SLOW = {1: 0.25, 20: 1.0, 200: 1.0}
"""Fewer messages over one connection, which takes longer for each."""


def rows_of(names: list[str]) -> dict[str, list[Scenario]]:
    """Scenarios by table, each durable and with the sync off."""
    return {
        name: [replace(one, durable=durable) for durable in (True, False) for one in ROWS[name]]
        for name in names
    }


def columns(names: list[str]) -> list[Column]:
    found = [Column("scenario")]
    for name in names:
        found.append(Column(f"{name} msg/s", ",.0f"))
        if name != "petrel":
            found.append(Column("Petrel is", ".1f"))
    return [*found, Column("Petrel CPU us/msg", ",.0f"), Column("bar")]


def row(scenario: Scenario, names: list[str], results: dict[str, Result]) -> list[Cell]:
    """A scenario's rates, behind each how many times that Petrel is."""
    cells: list[Cell] = [str(scenario)]
    ours = results.get("petrel")
    for name in names:
        one = results.get(name)
        cells.append(one.rate if one else None)
        if name != "petrel":
            cells.append(f"{ours.rate / one.rate:.1f} x" if ours and one else None)
    verdict = ""
    base = results.get(BASE)
    if scenario == Scenario(connections=1) and ours and base:
        verdict = report.bar(ours.rate / base.rate, KEPT_OPEN_RATIO, at_least=True)
    return [*cells, ours.cpu_us if ours else None, verdict]


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", default=",".join(SERVERS), help="servers")
    parser.add_argument("--rows", default=",".join(ROWS), help="tables")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of Petrel, at 5 KB")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    given = parser.parse_args()
    tables = rows_of(given.rows.split(","))
    if given.list:
        for name, scenarios in tables.items():
            print(f"--rows {name}", *(f"  {one}" for one in scenarios), sep="\n")
        return 0
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    messages = given.messages // 4 if given.quick else given.messages
    found = report.begin("matrix", __doc__, sys.argv[1:])
    names = present(given.only.split(","), found)
    done: dict[Scenario, tuple[dict[str, Result], list[str]]] = {}
    for name, scenarios in tables.items():
        made = Table(name, columns(names))
        for scenario in scenarios:
            if scenario not in done:
                share = SLOW[scenario.connections]
                done[scenario] = compare(names, scenario, int(messages * share), 1)
            results, failures = done[scenario]
            made.add(*row(scenario, names, results))
            made.notes += [f"{scenario}: {failure}" for failure in failures]
            print(f"  {scenario}", file=sys.stderr, flush=True)
        found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
