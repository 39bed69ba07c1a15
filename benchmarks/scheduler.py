"""What a decision of the scheduler costs: with few queues and many, with little mail and much.

A decision is all the scheduler does for one message: it arrives or is read from the spool, gets
a connection, is handed out, settled, and the next one's turn is found. The shell around it is
left out. Each line is one situation at its small and its large size, measured in turn in the
same run; the ratio of the two says whether cost grows with what waits.

Calls, of functions, are counted as well as time: they are the same on every machine, and say
what the program does. Time is more at the large size where the memory of a hundred thousand
queues no longer fits the processor's cache.

    python -m benchmarks.scheduler [--quick] [--results DIRECTORY]
"""

import gc
import statistics
import sys
import time
import tracemalloc
from bisect import bisect_right
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NamedTuple

from benchmarks import report
from benchmarks.peers.petrel import Petrel
from benchmarks.report import Column, Table
from mta.config.load import load
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Assign, Close, Open, ReadPage
from mta.queues.connection import Connection
from mta.queues.scheduler import Scheduler

START = 1_000_000.0
ROUNDS = 3
DECISIONS = 20_000
"""Timed for each line; a tenth as many are counted."""
STEP = 5
"""Transactions that end, and messages that arrive, in one step."""
COLUMNS = [
    Column("situation"),
    Column("few", ",.0f"),
    Column("many", ",.0f"),
    Column("of"),
    Column("us", ".1f"),
    Column("us with many", ".1f"),
    Column("ratio", ".2f"),
    Column("calls", ".0f"),
    Column("calls with many", ".0f"),
    Column("ratio", ".2f"),
]
HEAD = "spool /s\nlog-file /l\npostmaster p@example.com\nhost-name h.example\n"


class Text:
    """A configuration in memory."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, path: str) -> bytes:
        del path
        return (HEAD + self._text).encode()

    def glob(self, pattern: str) -> list[str]:
        del pattern
        return []


class Shell:
    """What happens around the scheduler, at once and without cost of its own to speak of."""

    def __init__(self, text: str) -> None:
        configuration = load("/c", Text(text), host_name="h.example").configuration
        assert configuration is not None
        self.scheduler = Scheduler(configuration, frozenset())
        self.now = START
        self.decisions = 0
        self._numbers = 0
        self._stored: dict[QueueKey, list[tuple[float, int, Recipient]]] = {}
        self._busy: list[Connection] = []

    def mail(self, key: QueueKey, count: int = 1) -> None:
        """Mail arrives, which a spool has on disk."""
        mail = []
        for _ in range(count):
            self._numbers += 1
            envelope = Envelope(
                message_id=self._numbers << 6,
                mail_from="",
                time_queued=self.now,
                size=5000,
                head_size=100,
            )
            mail.append(Recipient(self._numbers << 22, envelope, "r@x", key, self.now))
        self._stored.setdefault(key, []).extend((r.due, r.recipient_id, r) for r in mail)
        self.scheduler.arrive(mail, self.now)

    def act(self) -> None:
        """Do what the scheduler decides until it has nothing more to say."""
        scheduler = self.scheduler
        while scheduler.has_decisions or (scheduler.next_wake() or self.now + 1) <= self.now:
            for action in scheduler.run(self.now):
                match action:
                    case Open(connection):
                        scheduler.connecting(connection, "mx", "198.51.100.1", self.now)
                        scheduler.connected(connection, "mx", self.now)
                        self._go_on(connection)
                    case Assign(connection, _):
                        self._busy.append(connection)
                    case Close(connection):
                        scheduler.closed(connection, self.now)
                    case ReadPage(queue, lane, after, limit):
                        assert after is not None
                        stored = self._stored[queue.key]
                        first = bisect_right(stored, after, key=lambda entry: entry[:2])
                        page = [entry[2] for entry in stored[first : first + limit]]
                        is_last = first + limit >= len(stored)
                        scheduler.page_read(queue, lane, page, is_last=is_last, now=self.now)
                    case _:
                        raise AssertionError(action)

    def finish(self, connections: int) -> None:
        """So many transactions under way end, each with a delivery."""
        busy = self._busy[:connections]
        del self._busy[:connections]
        for connection in busy:
            batch = connection.batch
            self.decisions += len(batch)
            self.scheduler.finish(
                connection,
                done=batch,
                deferred=(),
                untried=(),
                now=self.now,
                delivered=len(batch),
            )
            self._go_on(connection)

    def _go_on(self, connection: Connection) -> None:
        step = self.scheduler.next_batch(connection, self.now)
        if isinstance(step, Close):
            self.scheduler.closed(connection, self.now)
        elif step is not None:
            self._busy.append(connection)


class Situation(NamedTuple):
    """One line of the table: a configuration, and how it is filled to a size."""

    name: str
    unit: str
    small: int
    large: int
    text: str
    step_s: float
    is_one_queue: bool = False


VMTA = "<virtual-mta v>\n{}\n</virtual-mta>\n<domain *>\n{}\n</domain>"
ONE = "max-smtp-out 1\nmax-msg-per-connection 1"
"""So that each message takes a connection of its own, with few queues as with many."""
SITUATIONS = (
    Situation(
        "one queue, mail behind it", "recipients", 1_000, 1_000_000,
        VMTA.format("", "max-smtp-out 20"), 0.01, is_one_queue=True,
    ),
    Situation(
        "all queues wait for total-max-smtp-out", "queues", 10, 100_000,
        "total-max-smtp-out 5\n" + VMTA.format("", ONE), 0.01,
    ),
    Situation(
        "all queues wait for max-smtp-msg-rate", "queues", 10, 100_000,
        VMTA.format("max-smtp-msg-rate 400/s", ONE), 0.01,
    ),
    Situation(
        "all queues wait for max-smtp-data-volume-rate", "queues", 10, 100_000,
        VMTA.format("max-smtp-data-volume-rate 2000000b/s", ONE), 0.01,
    ),
    Situation(
        "queues asleep until a rate of their own", "queues", 10, 100_000,
        VMTA.format("", "max-smtp-out 1\nmax-msg-rate 1/d"), 0.0,
    ),
)  # fmt: skip
"""The last: what arrives goes to queues that may not move, which is a decision too."""


class Cost(NamedTuple):
    """Of one decision."""

    us: float
    calls: float


def measure(situation: Situation, size: int, decisions: int = DECISIONS) -> Cost:
    """What a decision costs once everything waits."""
    shell = Shell(situation.text)
    keys = [QueueKey(f"d{number}.example", "v") for number in range(size)]
    if situation.is_one_queue:
        shell.mail(keys[0], size)
        keys = keys[:1]
    else:
        for key in keys:
            shell.mail(key)
    shell.act()
    supply = feed(shell, keys)
    gc.collect()
    gc.freeze()
    started = time.process_time()
    decide(shell, situation, supply, decisions)
    us = (time.process_time() - started) / decisions * 1e6
    gc.unfreeze()
    counted = decisions // 10
    return Cost(us, calls_of(lambda: decide(shell, situation, supply, counted)) / counted)


def decide(shell: Shell, situation: Situation, supply: Iterator[None], decisions: int) -> None:
    """Let that many more decisions be made."""
    upto = shell.decisions + decisions
    while shell.decisions < upto:
        shell.now += situation.step_s
        shell.finish(STEP)
        shell.act()
        if not situation.step_s:
            shell.decisions += STEP
        for _ in range(STEP):
            next(supply)
        shell.act()


def calls_of(work: Callable[[], None]) -> int:
    """How many functions it calls."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        del frame, argument
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def feed(shell: Shell, keys: list[QueueKey]) -> Iterator[None]:
    """Mail for one queue after another, in an order that is no order."""
    index = 0
    while True:
        index = (index + 7919) % len(keys)
        shell.mail(keys[index])
        yield


def octets_a_queue(queues: int) -> float:
    """Memory of a queue that waits with one recipient."""
    shell = Shell(VMTA.format("", "max-smtp-out 1\nmax-msg-rate 1/d"))
    tracemalloc.start()
    for number in range(queues):
        shell.scheduler.queue(QueueKey(f"d{number}.example", "v"), START)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / queues


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--decisions", type=int, default=DECISIONS, help="timed for each line")
    given = parser.parse_args()
    rounds = 1 if given.quick else ROUNDS
    found = report.begin("scheduler", __doc__, sys.argv[1:])
    found.versions.append(Petrel().version())
    made = Table("microseconds and function calls of a decision", COLUMNS)
    for one in SITUATIONS:
        large = one.large // 100 if given.quick else one.large
        pairs = [
            (measure(one, one.small, given.decisions), measure(one, large, given.decisions))
            for _ in range(rounds)
        ]
        few, many = (
            Cost(statistics.median(c.us for c in side), side[0].calls)
            for side in zip(*pairs, strict=True)
        )
        made.add(
            one.name, one.small, large, one.unit, few.us, many.us, many.us / few.us,
            few.calls, many.calls, many.calls / few.calls,
        )  # fmt: skip
        print(f"  {one.name}", file=sys.stderr, flush=True)
    made.notes.append(f"Memory of a queue: {octets_a_queue(10_000) / 1024:.1f} KiB.")
    found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
