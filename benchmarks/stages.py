"""Petrel with its stages measured: what benchmarks/profile.py runs.

Each function of a stage counts the processor time of its thread from entry to exit, less that
of stages inside it.
"""

import contextlib
import functools
import importlib
import inspect
import json
import sys
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

STAGES = {
    "commands and replies in": (
        "mta.net.inbound:Inbound.data_received",
        "mta.net.inbound:Inbound._serve",
        "mta.net.inbound:Inbound._committed",
    ),
    "writing replies": ("asyncio.streams:StreamWriter.write",),
    "content: its end, its lines": (
        "mta.net.incoming:Incoming.feed",
        "mta.net.incoming:Incoming.end",
    ),
    "intake: header, queue, envelope": (
        "mta.daemon.intake:Intake.mail",
        "mta.daemon.intake:Intake.rcpt",
        "mta.daemon.intake:Intake.message",
        "mta.daemon.intake:Intake.begin",
        "mta.daemon.intake:Intake.committed",
    ),
    "scheduler": tuple(
        f"mta.queues.scheduler:Scheduler.{name}"
        for name in ("arrive", "run", "next_batch", "finish", "delivered")
    ),
    "delivery: one batch": (
        "mta.daemon.delivery:Delivery._live",
        "mta.daemon.delivery:Delivery._run",
    ),
    "header block out": ("mta.daemon.heads:Heads.render",),
    "commands and replies out": (
        "mta.net.dialogue:Dialogue.transact",
        "mta.net.dialogue:Dialogue.data_received",
    ),
    "writing mail": (
        "mta.net.dialogue:Dialogue._write",
        "mta.net.dialogue:Dialogue._write_content",
    ),
    "outcomes and records": ("mta.daemon.ledger:Ledger.delivered", "mta.queues.replies:conclude"),
    "to the spool and back": (
        "mta.spool.store:Spool.begin_accept",
        "mta.spool.store:Spool.settle",
        "mta.spool.store:Spool._post",
        "mta.spool.inbox:Inbox.empty",
    ),
    "accounting files": ("mta.accounting.writer:AccountingWriter._run",),
    "spool: lines": ("mta.spool.writer:Writer._line",),
    "spool: journal (kernel)": ("mta.spool.journal:Journal.append",),
    "spool: what waits": ("mta.spool.pending:Pending.settle", "mta.spool.pending:Pending.accept"),
    "spool: into the database": ("mta.spool.writer:Writer._transact",),
    "spool: the rest": ("mta.spool.writer:Writer.do",),
}
"""What belongs to each stage, as `module:function`."""
OUTSIDE = "event loop, reading, tasks"
OUTSIDE_SPOOL = "spool: waiting for work"


class Meter:
    """Processor time by stage, of one thread; and how often measuring cost something there."""

    def __init__(self) -> None:
        self.is_main = threading.current_thread() is threading.main_thread()
        self.times: dict[str, int] = {OUTSIDE: 0}
        self.entries: dict[str, list[int]] = {}
        """By stage: calls of functions, steps of coroutines; and such of stages inside it."""
        self._stage = OUTSIDE
        self._since = time.thread_time_ns()

    def switch(self, stage: str) -> str:
        """Count for a stage from now on; the one before."""
        now = time.thread_time_ns()
        before, self._stage = self._stage, stage
        self.times[before] = self.times.get(before, 0) + now - self._since
        self._since = now
        return before

    def enter(self, stage: str, kind: int) -> str:
        """As `switch`; `kind` is 0 for a call of a function and 1 for a step of a coroutine."""
        self.entries.setdefault(stage, [0, 0, 0, 0])[kind] += 1
        self.entries.setdefault(self._stage, [0, 0, 0, 0])[kind + 2] += 1
        return self.switch(stage)

    def used_ns(self, stage: str, costs: "Costs") -> float:
        """What a stage took, without what measuring cost."""
        calls, steps, inner_calls, inner_steps = self.entries.get(stage, [0, 0, 0, 0])
        cost = calls * costs[0] + steps * costs[1] + inner_calls * costs[2]
        return self.times.get(stage, 0) - cost - inner_steps * costs[3]


Costs = tuple[float, float, float, float]
"""Nanoseconds of measuring a call, a step: as they count for the stage, and for the one around."""


class Meters:
    """A meter for each thread that comes to a stage."""

    def __init__(self) -> None:
        self._local = threading.local()
        self.all: list[Meter] = []

    def forget(self) -> None:
        """Begin anew."""
        self._local = threading.local()
        self.all.clear()

    def mine(self) -> Meter:
        try:
            meter: Meter = self._local.meter
        except AttributeError:
            meter = self._local.meter = Meter()
            self.all.append(meter)
        return meter

    def wrapped(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function, or one that makes a coroutine, whose time counts for a stage."""
        mine = self.mine
        if inspect.iscoroutinefunction(function) or function is _pause:

            @functools.wraps(function)
            async def timed(*given: Any, **named: Any) -> Any:
                return await _steps(mine(), stage, function(*given, **named))

            return timed

        @functools.wraps(function)
        def called(*given: Any, **named: Any) -> Any:
            meter = mine()
            before = meter.enter(stage, 0)
            try:
                return function(*given, **named)
            finally:
                meter.switch(before)

        return called

    def costs(self) -> Costs:
        """What measuring costs, measured where there is nothing else."""
        called = self.wrapped("call", lambda: None)
        stepped = self.wrapped("step", _pause)
        turns = range(20_000)
        for turn in turns:  # The first are slower.
            if turn == len(turns) // 2:
                self.forget()
            self.mine().switch("around call")
            called()
            self.mine().switch("around step")
            coroutine = stepped()
            coroutine.send(None)
            with contextlib.suppress(StopIteration):
                coroutine.send(None)
            self.mine().switch(OUTSIDE)
        times, count = self.mine().times, len(turns) // 2
        empty = times[OUTSIDE] / count  # About one switch.
        self.forget()
        return (
            times["call"] / count,
            times["step"] / count / 2,
            max(0.0, times["around call"] / count - empty),
            max(0.0, times["around step"] / count - empty) / 2,
        )


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


@types.coroutine
def _steps(
    meter: Meter, stage: str, coroutine: Coroutine[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """Run a coroutine; what passes while it waits does not count."""
    step: Callable[[], Any] = functools.partial(coroutine.send, None)
    while True:
        before = meter.enter(stage, 1)
        try:
            awaited = step()
        except StopIteration as end:
            return end.value
        finally:
            meter.switch(before)
        try:
            step = functools.partial(coroutine.send, (yield awaited))
        except BaseException as error:
            step = functools.partial(coroutine.throw, error)


def measure_stages(meters: Meters) -> None:
    """From now on every function of a stage counts; one that there is not is left out."""
    for stage, names in STAGES.items():
        for name in names:
            module_name, _, path = name.partition(":")
            try:
                owner: Any = importlib.import_module(module_name)
            except ModuleNotFoundError:
                continue
            *outer, last = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            setattr(owner, last, meters.wrapped(stage, getattr(owner, last)))


def main() -> int:
    """The command line of `mta` behind the name of a file for what the stages took."""
    meters = Meters()
    costs = meters.costs()
    measure_stages(meters)
    try:
        status: int = importlib.import_module("mta.cli").main(sys.argv[2:])
    finally:
        used: dict[str, float] = {}
        for meter in meters.all:
            for stage in (OUTSIDE, *STAGES):
                name = OUTSIDE_SPOOL if stage is OUTSIDE and not meter.is_main else stage
                used[name] = used.get(name, 0.0) + meter.used_ns(stage, costs)
        Path(sys.argv[1]).write_text(json.dumps(used))
    return status


if __name__ == "__main__":
    sys.exit(main())
