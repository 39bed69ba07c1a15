"""`mta demo`: the daemon and the provider simulator on this machine, with mail to watch.

The daemon is a process of its own on `config/quickstart.conf`, exactly as an operator
would run it; the simulator is in this one, so that its counts can be compared with the
accounting file: every recipient accepted must be delivered or bounced there, once, and
every delivered one must have arrived here.
"""

import asyncio
import contextlib
import csv
import io
import json
import signal
import socket
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import mta
from mta.admin.client import ask
from mta.admin.find_daemon import control_socket
from mta.admin.protocol import Exit, Request
from mta.errors import PetrelError
from mta.sim.load import inject
from mta.sim.provider import Provider

CONFIG: Final = Path(mta.__file__).parent.parent / "config" / "quickstart.conf"
HOST: Final = "127.0.0.1"
LISTENER_PORT: Final = 2525
SINK_PORT: Final = 2526
"""Both as `config/quickstart.conf` has them; a test compares."""

MESSAGES: Final = 300
CONNECTIONS: Final = 10
DOMAINS: Final = ("gmail.example", "yahoo.example", "outlook.example", "corp.example")

_DAEMON: Final = (sys.executable, "-m", "mta", "run", "--config", str(CONFIG))
SPOOL: Final = CONFIG.parent.parent / "spool"
ACCOUNTING: Final = SPOOL / "acct"
_OUTPUT: Final = SPOOL / "log" / "demo.output"
"""What the daemon prints; shown if it does not start."""

START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 30.0
DRAIN_TIMEOUT_S: Final = 120.0
"""The slowest made-up provider is done after some twenty seconds."""

REFRESH_S: Final = 0.3
TEST_ID_COLUMN: Final = "header_X-Petrel-Test-Id"
TAIL_ROWS: Final = 8
TAIL_COLUMNS: Final = ("type", "rcpt", "dsnStatus", "vmta", "dlvSourceIp")
OUTPUT_LINES: Final = 20


class DemoError(PetrelError):
    """Why there is nothing to see; the text says what to do."""


_NEXT: Final = f"""
Send the next message:
  swaks --server {HOST}:{LISTENER_PORT} --from me@petrel.example --to you@corp.example
or
  .venv/bin/python -c "import smtplib; smtplib.SMTP('{HOST}', {LISTENER_PORT}).sendmail(
    'me@petrel.example', 'you@corp.example', 'Subject: hello\\r\\n\\r\\nHello\\r\\n')"

Look:
  .venv/bin/mta show queues --config config/quickstart.conf
  .venv/bin/mta explain gmail.example/mta1 --config config/quickstart.conf
  .venv/bin/mta trace '*/*' --config config/quickstart.conf
  tail -f spool/acct/*.csv spool/log/petrel.log

Both stay up until Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Books:
    """What became of the messages sent, by the ids they carry in `X-Petrel-Test-Id`."""

    accepted: frozenset[str]
    """Answered 250 by the daemon."""
    delivered: Counter[str]
    """Rows of type `d`."""
    bounced: Counter[str]
    """Rows of type `b`."""
    received: Counter[str]
    """Taken by the simulator."""

    @property
    def waiting(self) -> frozenset[str]:
        return self.accepted - self.delivered.keys() - self.bounced.keys()

    def summary(self) -> str:
        return (
            f"{len(self.accepted)} accepted, {self.delivered.total()} delivered, "
            f"{self.bounced.total()} bounced"
        )

    def problems(self) -> list[str]:
        """Where the books disagree; empty if every recipient is accounted for."""
        rows = self.delivered + self.bounced
        found = (
            ("accepted and neither delivered nor bounced", self.waiting),
            ("with more than one outcome", {i for i, count in rows.items() if count > 1}),
            ("delivered and never received", self.delivered.keys() - self.received.keys()),
            ("received and not delivered", self.received.keys() - self.delivered.keys()),
            ("received twice", {i for i, count in self.received.items() if count > 1}),
        )
        return [f"{len(ids)} {what}: {sorted(ids)[:3]}" for what, ids in found if ids]


def run(*, is_once: bool) -> int:
    """Show it until Ctrl-C; with `is_once` until the mail is out. The exit status."""
    console = Console()
    try:
        return asyncio.run(_demo(console, is_once=is_once))
    except DemoError as error:
        console.print(f"mta demo: {error}", style="bold red", markup=False, highlight=False)
        return int(Exit.REFUSED)
    except (KeyboardInterrupt, asyncio.CancelledError):  # Ctrl-C, SIGTERM
        return int(Exit.DONE)


async def _demo(console: Console, *, is_once: bool) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if not CONFIG.exists():
        raise DemoError(f"{CONFIG} is missing; the demo needs a checkout of the source")
    for port, whose in ((LISTENER_PORT, "the daemon"), (SINK_PORT, "the simulator")):
        _check_free(port, whose)
    console.rule("Petrel, a provider simulator, and some mail")
    async with Provider(host=HOST, port=SINK_PORT) as sink, _daemon(console) as daemon:
        console.print(f"The daemon takes mail on {HOST}:{LISTENER_PORT}; its configuration is")
        console.print(f"  {_shown(CONFIG)}", highlight=False)
        console.print(f"The simulator plays mailbox providers on {HOST}:{SINK_PORT}.\n")
        sent = await _inject(console)
        books = await _watch(console, sent, sink, daemon)
        _print_tail(console)
        _print_sources(console, sink)
        problems = books.problems()
        for problem in problems:
            console.print(problem, style="bold red", markup=False, highlight=False)
        if not problems:
            console.print(f"[green]Every recipient is accounted for:[/] {books.summary()}.")
        if is_once:
            return int(Exit.REFUSED if problems else Exit.DONE)
        console.print(_NEXT, markup=False, highlight=False)
        code = await daemon.wait()
        raise DemoError(f"the daemon ended with {code}:\n{_output_tail()}")


def _check_free(port: int, whose: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"{HOST}:{port} is needed by {whose} and cannot be had: {error.strerror}. "
                "Is another `make run` still up? A daemon left over ends with "
                f"`.venv/bin/mta stop --config {_shown(CONFIG)}`"
            ) from None


@contextlib.asynccontextmanager
async def _daemon(console: Console) -> AsyncIterator[asyncio.subprocess.Process]:
    """`mta run`, listening; stopped cleanly in the end."""
    _OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    with _OUTPUT.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *_DAEMON,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us; we stop it in order
        )
    try:
        await _until_listening(process)
        yield process
    finally:
        if process.returncode is None:
            console.print("Stopping the daemon.")
            process.terminate()
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                console.print("It did not stop in time and is killed.", style="bold red")
                process.kill()
                await process.wait()


async def _until_listening(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                with contextlib.suppress(OSError):
                    reader, writer = await asyncio.open_connection(HOST, LISTENER_PORT)
                    greeting = await reader.readline()
                    writer.close()
                    if greeting.startswith(b"220"):
                        return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise DemoError(f"the daemon does not listen:\n{_output_tail()}") from None
    raise DemoError(f"the daemon did not start:\n{_output_tail()}")


def _output_tail() -> str:
    lines = _OUTPUT.read_text("utf-8", "replace").splitlines()
    return "\n".join(lines[-OUTPUT_LINES:]) or "(it said nothing)"


def _shown(path: Path) -> Path:
    """Path as one would type it here."""
    with contextlib.suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


async def _inject(console: Console) -> frozenset[str]:
    """Submit the messages; the ids of those answered 250."""
    with Progress(
        TextColumn("Submitting messages"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console,
    ) as progress:  # fmt: skip
        task = progress.add_task("", total=MESSAGES)
        injected = await inject(
            HOST,
            LISTENER_PORT,
            messages=MESSAGES,
            connections=CONNECTIONS,
            domains=DOMAINS,
            on_accepted=lambda _: progress.advance(task),
        )
    if injected.refused:
        console.print(f"{injected.refused} messages were refused.", style="bold red")
    return frozenset(injected.accepted)


async def _watch(
    console: Console,
    accepted: frozenset[str],
    sink: Provider,
    daemon: asyncio.subprocess.Process,
) -> Books:
    """Show the queues until they are empty; DemoError if the daemon ends."""
    control = control_socket(CONFIG)
    books = _books(accepted, sink)
    with Live(console=console, refresh_per_second=4) as live:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                while books.waiting:
                    live.update(_queues_table(await asyncio.to_thread(_queues, control), books))
                    if daemon.returncode is not None:
                        raise DemoError(f"the daemon has ended:\n{_output_tail()}")
                    await asyncio.sleep(REFRESH_S)
                    books = _books(accepted, sink)
        live.update(_queues_table(await asyncio.to_thread(_queues, control), books))
    console.print()
    return books


def _queues(control: Path) -> list[tuple[str, ...]]:
    """The cells of `show topqueues`; none if the daemon does not answer."""
    text: list[str] = []
    request = Request(command="show topqueues", format="json")
    with contextlib.suppress(PetrelError):
        if ask(control, request, out=text.append, error=lambda _: None) is Exit.DONE:
            return [
                (
                    row["name"],
                    str(row["rcp"]),
                    str(row["conn"]),
                    row["mode"],
                    row.get("retryTime", ""),
                    row.get("refusal", {}).get("directive", ""),
                )
                for row in json.loads("".join(text))["data"]["queues"]
            ]
    return []


def _queues_table(rows: Sequence[tuple[str, ...]], books: Books) -> Table:
    table = Table(
        title=f"Queues ({books.summary()}, {len(books.waiting)} to go)",
        title_justify="left",
        box=box.SIMPLE,
    )
    for name in ("queue", "recipients", "connections", "mode", "retry", "waits for"):
        is_number = name in ("recipients", "connections")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _books(accepted: frozenset[str], sink: Provider) -> Books:
    outcomes: dict[str, Counter[str]] = {"d": Counter(), "b": Counter()}
    for row in _rows():
        test_id = row.get(TEST_ID_COLUMN, "")
        if test_id in accepted and row["type"] in outcomes:
            outcomes[row["type"]][test_id] += 1
    received = Counter(r.test_id for r in sink.journal if r.test_id in accepted)
    return Books(accepted, outcomes["d"], outcomes["b"], received)


def _rows() -> Iterator[dict[str, str]]:
    """All accounting rows in the order written; the last line may be half written yet."""
    for path in sorted(ACCOUNTING.glob("acct-*.csv")):
        text = path.read_bytes().decode()
        whole = text[: text.rfind("\n") + 1]
        yield from csv.DictReader(io.StringIO(whole, newline=""))


def _print_tail(console: Console) -> None:
    title = f"The newest rows of {_shown(ACCOUNTING)}/ (five of their columns)"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for name in TAIL_COLUMNS:
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for row in deque(_rows(), maxlen=TAIL_ROWS):
        table.add_row(*(escape(row[name]) for name in TAIL_COLUMNS))
    console.print(table)


def _print_sources(console: Console, sink: Provider) -> None:
    counts = Counter(received.source_ip for received in sink.journal)
    shown = ", ".join(f"{count} from {ip}" for ip, count in sorted(counts.items()))
    console.print(f"The simulator received {shown}.", highlight=False)
