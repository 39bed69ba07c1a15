"""What changes when very much waits: mail for one dead provider, queues, connections?

Petrel beside itself in the same run: empty, with a million recipients for a provider that
takes no connection, with a hundred thousand queues of such, with ten thousand inbound
connections. Ratios are to the empty daemon. The spools are filled directly, by a program
that is gone when the daemon starts; what is measured of the daemon begins with its start.

    python -m benchmarks.scale [--recipients 1000000] [--queues 100000] [--idle 10000]
                               [--busy 2000] [--only recipients,queues,connections]
"""

import argparse
import asyncio
import contextlib
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.throughput import (
    ROOT,
    RUN_S,
    SESSIONS,
    SINK,
    SOURCE,
    allow_many_files,
    free_port,
    petrel,
    wait_for,
)
from mta.admin.client import ask
from mta.admin.protocol import Exit, Request
from mta.ids import message_id, printed, recipient_id
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.spool.store import Spool

SIZE = 2 << 10
BATCH = 500
LIVE = "live.example"
FIRST_MESSAGE = printed(message_id(1, 0))
BUSY_S = 3
FEW = 20
"""Recipients for the dead in the daemon that is called empty, to ask about."""
LIVE_MESSAGES = 20_000
ROUNDS = 3
PROBES = 100
PROBE_EVERY_S = 0.05
WAIT_S = 120
SOURCES = 50
"""Addresses of this machine that idle connections come from, so that ports do not run out."""


# The mail that waits


async def fill(directory: Path, recipients: int, domains: int) -> None:
    """A spool with so many recipients over so many dead domains, and behind them a live one."""
    directory.mkdir(parents=True)
    spool = Spool.open(directory)
    content = b"Subject: scale\r\n\r\n" + (b"x" * 74 + b"\r\n") * (SIZE // 76)
    now = time.time()

    def message(address: str) -> "asyncio.Future[None]":
        number = spool.next_message_id()
        envelope = Envelope(
            message_id=number,
            mail_from="sender@bench.example",
            time_queued=now,
            size=len(content),
            head_size=18,
        )
        queue = QueueKey(address.rpartition("@")[2], DEFAULT_VMTA)
        one = Recipient(recipient_id(number, 0), envelope, address, queue, now)
        return spool.begin_accept(envelope, content, [one])

    for start in range(0, recipients, BATCH):
        numbers = range(start, min(start + BATCH, recipients))
        await asyncio.gather(*(message(f"r{n}@d{n % domains}.dead.example") for n in numbers))
    await message(f"first@{LIVE}")
    await spool.close()


def filled(directory: Path, recipients: int, domains: int) -> float:
    """The same in a process of its own; the seconds it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.scale", "--fill", str(directory)]
    command += ["--recipients", str(recipients), "--queues", str(domains)]
    subprocess.run(command, cwd=ROOT, check=True)
    return time.monotonic() - began


# A provider that says when it answered, and a client that says when it began


class Provider:
    """Takes everything, over any number of connections; `answered` has a time for each."""

    def __init__(self, port: int) -> None:
        self.answered: list[float] = []
        self._connections: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1000)
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, count: int) -> float:
        """When the count-th was answered; TimeoutError."""
        deadline = time.monotonic() + WAIT_S
        while len(self.answered) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.answered)} of {count} messages came")
            time.sleep(0.001)
        return self.answered[count - 1]

    def close(self) -> None:
        for one in [self._socket, *self._connections]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 sink\r\n")
            for line in lines:
                match line[:4].upper():
                    case b"EHLO":
                        connection.sendall(b"250-sink\r\n250 PIPELINING\r\n")
                    case b"DATA":
                        connection.sendall(b"354 go on\r\n")
                        while lines.readline() not in (b".\r\n", b""):
                            pass
                        connection.sendall(b"250 ok\r\n")
                        self.answered.append(time.monotonic())
                    case b"QUIT":
                        connection.sendall(b"221 bye\r\n")
                        return
                    case _:
                        connection.sendall(b"250 ok\r\n")


class Client:
    """One connection to a daemon, kept open."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._answer()
        self._say(b"EHLO bench.example\r\n")

    def send(self) -> None:
        """One message to the live provider; RuntimeError if it is refused."""
        self._say(b"MAIL FROM:<sender@bench.example>\r\n")
        self._say(b"RCPT TO:<rcpt@" + LIVE.encode() + b">\r\n")
        self._say(b"DATA\r\n")
        self._say(b"Subject: probe\r\n\r\n" + (b"x" * 74 + b"\r\n") * (SIZE // 76) + b".\r\n")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _say(self, octets: bytes) -> None:
        self._socket.sendall(octets)
        self._answer()

    def _answer(self) -> None:
        line = self._lines.readline()
        while line[3:4] == b"-":
            line = self._lines.readline()
        if line[:1] not in (b"2", b"3"):
            raise RuntimeError(f"the daemon answers {line!r}")


# What is measured of a daemon


@dataclass
class Daemon:
    """One that runs, and where."""

    work: Path
    port: int
    sink_port: int
    pid: int
    first_delivery_s: float = 0.0
    provider: Provider | None = None


@contextlib.contextmanager
def daemon(work: Path, *, top: str = "", waits_for_first: bool = False) -> Iterator[Daemon]:
    """Started on the spool in work; a provider of ours takes what is for the live domain."""
    port, sink_port, dead_port = free_port(), free_port(), free_port()
    provider = Provider(sink_port)
    dead = f"""total-max-smtp-in 20000
<domain *.dead.example>
    smtp-hosts [127.0.0.1]:{dead_port}
    retry-after 30s
</domain>
{top}"""
    began = time.monotonic()
    with petrel(work, port, sink_port, top=dead) as pid:
        one = Daemon(work, port, sink_port, pid, provider=provider)
        if waits_for_first:
            one.first_delivery_s = provider.wait_for(1) - began
        try:
            yield one
        finally:
            if one.provider is not None:
                one.provider.close()


def memory_mb(one: Daemon, what: str = "VmRSS") -> float:
    """Resident memory, or with VmHWM the most there ever was."""
    status = Path(f"/proc/{one.pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def answer_of(one: Daemon, command: str, **arguments: str) -> str:
    """What the daemon answers to a command, as text."""
    out: list[str] = []
    errors: list[str] = []
    request = Request(command=command, arguments=arguments)
    done = ask(one.work / "spool" / "control", request, out=out.append, error=errors.append)
    if done is not Exit.DONE:
        raise RuntimeError(f"{command}: {''.join(errors)}")
    return "".join(out)


class Command(NamedTuple):
    """One that is timed."""

    name: str
    command: str
    arguments: dict[str, str]


def commands(turn: int) -> list[Command]:
    """What operators ask; the turn-th time, as what is deleted is gone."""
    queue = f"d0.dead.example/{DEFAULT_VMTA}"
    return [
        Command("show status", "show status", {}),
        Command("show topqueues", "show topqueues", {}),
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
            answer_of(one, command, **arguments)
            times.setdefault(name, []).append((time.monotonic() - began) * 1e3)
    return {name: statistics.median(some) for name, some in times.items()}


def live_rate(one: Daemon, messages: int) -> float:
    """Messages a second to the live provider, end to end."""
    if one.provider is not None:
        one.provider.close()
        one.provider = None
        time.sleep(0.2)
    command = [SINK, "-u", "nobody", "-M", str(messages), f"127.0.0.1:{one.sink_port}", "1000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sink:
        try:
            wait_for(one.sink_port)
            answer_of(one, "schedule", queues=f"{LIVE}/*")
            began = time.monotonic()
            source = [
                SOURCE, "-d", "-s", str(SESSIONS), "-m", str(messages), "-l", str(SIZE),
                "-f", "sender@bench.example", "-t", f"rcpt@{LIVE}", f"127.0.0.1:{one.port}",
            ]  # fmt: skip
            subprocess.run(source, check=True, timeout=RUN_S, capture_output=True)
            sink.wait(RUN_S)
            return messages / (time.monotonic() - began)
        finally:
            sink.kill()


def latencies_ms(one: Daemon) -> list[float]:
    """From the first octet of a message to the provider's 250, one message at a time."""
    assert one.provider is not None
    found = []
    client = Client(one.port)
    for _ in range(PROBES):
        before = len(one.provider.answered)
        began = time.monotonic()
        client.send()
        found.append((one.provider.wait_for(before + 1) - began) * 1e3)
        time.sleep(PROBE_EVERY_S)
    client.close()
    return found[PROBES // 10 :]  # the first opens a connection


# The table


def line(what: str, value: str, beside: str = "", is_met: bool | None = None) -> None:
    verdict = "" if is_met is None else "met" if is_met else "MISSED"
    print(f"  {what:<46}{value:>14}   {beside:<26}{verdict}".rstrip(), flush=True)


def ratios(of_empty: dict[str, float], with_mail: dict[str, float]) -> None:
    for name, ms in with_mail.items():
        base = of_empty[name]
        line(name, f"{ms:.1f} ms", f"{ms / base:.1f} x {base:.1f} ms")


def with_much_mail(title: str, recipients: int, domains: int, messages: int) -> None:
    """The two tables of mail for the dead: beside an empty daemon, in turns."""
    with contextlib.ExitStack() as stack:
        empty_work, work = (Path(stack.enter_context(directory("petrel-scale-"))) for _ in range(2))
        took = filled(work / "spool", recipients, domains)
        print(f"{title}; filled in {took:.0f} s", flush=True)
        filled(empty_work / "spool", FEW, 1)
        empty = stack.enter_context(daemon(empty_work, waits_for_first=True))
        full = stack.enter_context(daemon(work, waits_for_first=True))
        line(
            "restart to the first delivery",
            f"{full.first_delivery_s:.2f} s",
            f"bar 10 s; empty {empty.first_delivery_s:.2f} s",
            full.first_delivery_s < 10,
        )
        first, base = memory_mb(full), memory_mb(empty)
        line("memory then", f"{first:.0f} MB", f"empty {base:.0f} MB")
        ratios(times_ms(empty), times_ms(full))
        rates: dict[int, list[float]] = {}
        for _ in range(ROUNDS):
            for one in (empty, full):
                rates.setdefault(one.pid, []).append(live_rate(one, messages))
        alone, beside = (statistics.median(rates[one.pid]) for one in (empty, full))
        line("live mail, messages a second", f"{beside:.0f}", f"{beside / alone:.2f} x {alone:.0f}")
        most, most_of_empty = memory_mb(full, "VmHWM"), memory_mb(empty, "VmHWM")
        line(
            "memory at most",
            f"{most:.0f} MB",
            f"bar 400 MB; empty {most_of_empty:.0f} MB",
            most < 400,
        )
        more = (most - most_of_empty) * (1 << 20)
        line("  more than empty, for each recipient", f"{more / recipients:.0f} octets")
    print(flush=True)


def with_connections(idle: int, busy: int) -> None:
    """An idle system; the same with connections that do nothing, and with busy ones."""
    print(f"{idle:,} idle inbound connections, {busy:,} busy", flush=True)
    with directory("petrel-scale-") as work, daemon(Path(work)) as one:
        before = memory_mb(one)
        median = statistics.median(latencies_ms(one))
        line(
            "idle system: to the provider's 250, median",
            f"{median:.2f} ms",
            "bar 10 ms",
            median < 10,
        )
        clients = [Client(one.port, f"127.0.1.{n % SOURCES + 1}") for n in range(idle)]
        after = memory_mb(one)
        line(
            "memory with idle connections",
            f"{after:.0f} MB",
            f"{(after - before) * 1024 / max(len(clients), 1):.1f} KB each",
        )
        beside = statistics.median(latencies_ms(one))
        line("the same beside them", f"{beside:.2f} ms", f"{beside / median:.1f} x")
        source = [
            SOURCE, "-d", "-s", str(busy), "-m", "1000000000", "-l", str(SIZE),
            "-f", "sender@bench.example", "-t", "rcpt@d0.dead.example", f"127.0.0.1:{one.port}",
        ]  # fmt: skip
        with subprocess.Popen(source, stderr=subprocess.DEVNULL) as load:
            try:
                time.sleep(BUSY_S)
                found = sorted(latencies_ms(one))
            finally:
                load.kill()
        line(
            f"the same while {busy:,} more submit",
            f"{statistics.median(found):.0f} ms",
            f"95 %: {found[len(found) * 95 // 100]:.0f} ms",
        )
        line("memory at most", f"{memory_mb(one, 'VmHWM'):.0f} MB")
        for client in clients:
            client.close()
    print(flush=True)


def directory(prefix: str) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix=prefix, dir=ROOT / "spool")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipients", type=int, default=1_000_000, help="default %(default)s")
    parser.add_argument("--queues", type=int, default=100_000, help="default %(default)s")
    parser.add_argument("--idle", type=int, default=10_000, help="default %(default)s")
    parser.add_argument("--busy", type=int, default=2_000, help="default %(default)s")
    parser.add_argument("--messages", type=int, default=LIVE_MESSAGES, help="default %(default)s")
    parser.add_argument("--only", default="recipients,queues,connections")
    parser.add_argument("--fill", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        asyncio.run(fill(Path(given.fill), given.recipients, given.queues))
        return 0
    if not Path(SOURCE).exists():
        print("smtp-source is missing: install Debian's postfix package")
        return 1
    allow_many_files()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    idle = min(given.idle, files - given.busy - 1000)
    if idle < given.idle:
        print(f"this machine allows {files} open files: {idle} idle connections")
    parts = given.only.split(",")
    if "recipients" in parts:
        title = f"{given.recipients:,} recipients of one dead provider"
        with_much_mail(title, given.recipients, 1, given.messages)
    if "queues" in parts:
        with_much_mail(f"{given.queues:,} queues", given.queues, given.queues, given.messages)
    if "connections" in parts:
        with_connections(idle, given.busy)
    return 0


if __name__ == "__main__":
    sys.exit(main())
