"""What changes when very much waits: mail for one dead provider, or a hundred thousand queues?

Petrel beside itself in the same run: almost empty, and with a million recipients for a provider
that takes no connection, with a hundred thousand queues of such, with ten million recipients,
a hundred in each message. Then live mail to another provider, in turns. Ratios are to the
almost empty daemon. The spools are filled directly, see benchmarks/fill.py.

    python -m benchmarks.scale [--quick] [--recipients 1000000] [--queues 100000]
                               [--millions 10] [--live 100000] [--results DIRECTORY]
                               [--only recipients,queues,millions]
"""

import contextlib
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import report
from benchmarks.daemon import Daemon, started
from benchmarks.fill import FIRST_MESSAGE, filled
from benchmarks.machine import allow_many_files, work_directory
from benchmarks.measure import tools_missing
from benchmarks.peers import PEERS
from benchmarks.report import Column, Table
from mta.model.queue_key import DEFAULT_VMTA

FEW = 20
"""Messages for the dead in the daemon that is called almost empty, to ask about."""
ROUNDS = 3
RESTART_S_MAX = 10
MEMORY_MB_MAX = 400
COLUMNS = [
    Column("what"),
    Column("value"),
    Column("almost empty"),
    Column("ratio", ".1f"),
    Column("bar"),
]


class Command(NamedTuple):
    """One that is timed."""

    name: str
    command: str
    arguments: dict[str, str]


class Backlog(NamedTuple):
    """What waits, and how it lies in the spool."""

    title: str
    recipients: int
    domains: int = 1
    each: int = 1
    retry_after: str = "30s"


def commands(turn: int) -> list[Command]:
    """What operators ask; the turn-th time, as what is deleted is gone."""
    queue = f"d0.dead.example/{DEFAULT_VMTA}"
    return [
        Command("show status", "show status", {}),
        Command("show topqueues", "show topqueues", {}),
        Command("show topdomains", "show topdomains", {}),
        Command("show domains", "show domains", {}),
        Command("show vmtas", "show vmtas", {}),
        Command("show queues QUEUE", "show queues", {"queues": queue}),
        Command("list", "list", {}),
        Command("list --queue QUEUE", "list", {"queue": queue}),
        Command("list --rcpt ADDRESS", "list", {"rcpt": f"r{FEW - 1}@*"}),
        Command("explain QUEUE", "explain", {"subject": queue}),
        Command("explain MESSAGE", "explain", {"subject": FIRST_MESSAGE}),
        Command("delete --rcpt ADDRESS", "delete", {"rcpt": f"r{turn + 1}@*"}),
    ]


def times_ms(one: Daemon) -> dict[str, float]:
    """For each command the median of some rounds, in milliseconds until all is answered."""
    times: dict[str, list[float]] = {}
    for turn in range(ROUNDS):
        for name, command, arguments in commands(turn):
            began = time.monotonic()
            one.answer(command, **arguments)
            times.setdefault(name, []).append((time.monotonic() - began) * 1e3)
    return {name: statistics.median(some) for name, some in times.items()}


def measure(backlog: Backlog, live: int) -> Table:
    """A daemon with much mail for the dead beside an almost empty one."""
    made = Table(f"{backlog.title}, and {live:,} messages to a live one", COLUMNS)
    with contextlib.ExitStack() as stack:
        empty_work, work = (Path(stack.enter_context(work_directory())) for _ in range(2))
        took = filled(work / "spool", backlog.recipients, backlog.domains, backlog.each)
        made.notes.append(f"The spool was filled in {took:.0f} s.")
        filled(empty_work / "spool", FEW * backlog.each, 1, backlog.each)
        empty = stack.enter_context(started(empty_work, waits_for_first=True))
        full = stack.enter_context(
            started(work, waits_for_first=True, retry_after=backlog.retry_after)
        )
        compare(made, "start to first delivery, s", full.first_delivery_s, empty.first_delivery_s,
                ".2f", report.bar(full.first_delivery_s, RESTART_S_MAX, "s"))  # fmt: skip
        compare(made, "memory then, MB", full.memory_mb(), empty.memory_mb(), ".0f")
        of_empty = times_ms(empty)
        for name, ms in times_ms(full).items():
            compare(made, f"{name}, ms", ms, of_empty[name], ".1f")
        rates: dict[int, list[float]] = {}
        for _ in range(ROUNDS):
            for one in (empty, full):
                rates.setdefault(one.pid, []).append(one.live_rate(max(20, live // ROUNDS)))
        alone, beside = (statistics.median(rates[one.pid]) for one in (empty, full))
        compare(made, "live messages a second", beside, alone, ",.0f")
        most, most_of_empty = full.memory_mb("VmHWM"), empty.memory_mb("VmHWM")
        compare(made, "memory at most, MB", most, most_of_empty, ".0f",
                report.bar(most, MEMORY_MB_MAX, "MB"))  # fmt: skip
        more = (most - most_of_empty) * (1 << 20) / backlog.recipients
        made.add("  more for each recipient", f"{more:.0f} octets", "", None, "")
    return made


def compare(
    made: Table, what: str, value: float, base: float, form: str, verdict: str = ""
) -> None:
    """A row: what it is of the full one, of the empty one, and their ratio."""
    made.add(what, f"{value:{form}}", f"{base:{form}}", value / base if base else None, verdict)


def backlogs(recipients: int, queues: int, millions: float) -> dict[str, Backlog]:
    many = int(millions * 1_000_000)
    return {
        "recipients": Backlog(f"{recipients:,} recipients of one dead provider", recipients),
        "queues": Backlog(
            f"{queues:,} queues of dead providers, each tried every ten minutes, as by default",
            queues, queues, 1, "10m",
        ),
        "millions": Backlog(f"{many:,} recipients of a dead provider, a hundred in each message",
                            many, 1, 100),
    }  # fmt: skip


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--recipients", type=int, default=1_000_000, help="a 50th if quick")
    parser.add_argument("--queues", type=int, default=100_000, help="a 50th if quick")
    parser.add_argument("--millions", type=float, default=10, help="a 50th if quick")
    parser.add_argument("--live", type=int, default=100_000, help="messages; a 50th if quick")
    parser.add_argument("--only", default="recipients,queues,millions", help="tables")
    given = parser.parse_args()
    if missing := tools_missing():
        print(missing)
        return 1
    allow_many_files()
    found = report.begin("scale", __doc__, sys.argv[1:])
    found.versions.append(PEERS["petrel"].version())
    part = 50 if given.quick else 1
    known = backlogs(given.recipients // part, given.queues // part, given.millions / part)
    for name in given.only.split(","):
        found.show(measure(known[name], given.live // part))
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
