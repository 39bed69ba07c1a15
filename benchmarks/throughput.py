"""How many messages a second, in at one end and out at the other, beside Postfix and Haraka?

Each server in turn on this machine, durable as it ships: Postfix's smtp-source submits over
20 kept-open connections, Postfix's smtp-sink takes what is delivered by route and ends after
the last message. The time is from the first submission to that end. The ratio is to Postfix.
Processor time is user and system time of every process of the server, for each message.

    python -m benchmarks.throughput [--quick] [--only petrel,postfix,haraka] [--sizes 5,50]
    python -m benchmarks.throughput --only petrel-full --sizes 5

`petrel-full` is Petrel with everything a message can go through but TLS and DKIM.
"""

import argparse
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

SESSIONS = 20
RUN_S = 300
START_S = 30
CPU_US_MAX = 300
"""What a message of 5 KB may cost Petrel, microseconds of processor time."""
ROOT = Path(__file__).parent.parent
SOURCE, SINK = "/usr/sbin/smtp-source", "/usr/sbin/smtp-sink"


@dataclass
class Result:
    """One run: messages a second end to end, and processor seconds of the server a message."""

    rate: float
    accepted_rate: float
    cpu_us: float


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port: int) -> None:
    """Until something listens; TimeoutError."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
            if sock.recv(1):
                return
        time.sleep(0.1)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def petrel(
    work: Path,
    port: int,
    sink: int,
    *,
    top: str = "",
    source: str = "",
    records: str = "records d, b, t",
    domain: str = "",
) -> Iterator[int]:
    config = work / "petrel.conf"
    config.write_text(f"""host-name bench.example
postmaster postmaster@bench.example
http-mgmt-port 0
smtp-listener 127.0.0.1:{port}
spool {work}/spool
log-file {work}/log
{top}
<acct-file {work}/acct.csv>
    {records}
</acct-file>
<source 127.0.0.1>
    always-allow-relaying yes
    {source}
</source>
<domain *>
    smtp-hosts [127.0.0.1]:{sink}
    connection-idle-timeout 1m
    {domain}
</domain>
""")
    command = [sys.executable, "-m", "mta", "run", "--config", str(config)]
    with open(work / "output", "wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def postfix(work: Path, port: int, sink: int, *, more: str = "") -> Iterator[int]:
    config, queue, data = work / "etc", work / "queue", work / "data"
    for directory in (config, queue, data):
        directory.mkdir()
    work.chmod(0o755)
    shutil.chown(data, "postfix")
    (config / "main.cf").write_text(f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = bench.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
maillog_file = {work}/maillog
maillog_file_prefixes = {work}
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
smtpd_peername_lookup = no
smtp_tls_security_level = none
smtputf8_enable = no
alias_maps =
local_recipient_maps =
{more}""")
    master = Path("/usr/share/postfix/master.cf.dist")
    text = (master if master.exists() else Path("/etc/postfix/master.cf")).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("smtp      inet")]
    lines.append(f"127.0.0.1:{port} inet n - n - - smtpd")
    if not any(line.startswith("postlog ") for line in lines):
        lines.append("postlog unix-dgram n - n - 1 postlogd")
    unchrooted = []
    for line in lines:
        words = line.split()
        if line[:1].strip() and not line.startswith("#") and len(words) >= 8 and words[4] == "y":
            line = " ".join([*words[:4], "n", *words[5:]])  # noqa: PLW2901 - the same line
        unchrooted.append(line)
    (config / "master.cf").write_text("\n".join(dict.fromkeys(unchrooted)) + "\n")
    command = ["/usr/sbin/postfix", "-c", str(config)]
    subprocess.run([*command, "start"], check=True, capture_output=True, timeout=START_S)
    try:
        wait_for(port)
        yield int((queue / "pid" / "master.pid").read_text())
    finally:
        subprocess.run([*command, "stop"], check=False, capture_output=True, timeout=60)


@contextlib.contextmanager
def haraka(work: Path, port: int, sink: int) -> Iterator[int]:
    home = haraka_home()
    instance = work / "haraka"
    subprocess.run(
        ["node", str(home / "bin" / "haraka"), "-i", str(instance)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    config = instance / "config"
    (config / "smtp.ini").write_text(f"listen=127.0.0.1:{port}\nnodes=0\n")
    (config / "plugins").write_text(
        "relay\nsmtp_forward_route\n".replace("smtp_forward_route\n", "")
    )
    (config / "relay.ini").write_text("[relay]\nacl=true\ndest_domains=false\n")
    (config / "relay_acl_allow").write_text("127.0.0.0/8\n")
    (config / "outbound.ini").write_text("concurrency_max=100\n")
    plugins = instance / "plugins"
    plugins.mkdir(exist_ok=True)
    (plugins / "route.js").write_text(
        "exports.hook_get_mx = (next, hmail, domain) => next(OK, "
        f"{{ priority: 0, exchange: '127.0.0.1', port: {sink} }});\n"
        "exports.hook_rcpt = (next, connection) => "
        "{ connection.relaying = true; next(OK); };\n"
    )
    (config / "plugins").write_text("route\n")
    (config / "loglevel").write_text("error\n")
    with open(work / "output", "wb") as output:
        process = subprocess.Popen(
            ["node", str(home / "bin" / "haraka"), "-c", str(instance)],
            stdout=output,
            stderr=output,
        )
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()


def haraka_home() -> Path:
    """Haraka, installed once into the user's cache; FileNotFoundError without npm."""
    home = Path.home() / ".cache" / "petrel-benchmarks"
    package = home / "node_modules" / "Haraka"
    if not package.exists():
        if shutil.which("npm") is None:
            raise FileNotFoundError("npm")
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "Haraka@3.3.4"]
        subprocess.run(command, cwd=home, check=True, timeout=300)
    return package


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children, those that ended included."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0.0
    children: dict[int, list[int]] = {}
    stats: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            stats[int(entry.name)] = sum(map(int, words[11:15])) / ticks
            children.setdefault(int(words[1]), []).append(int(entry.name))
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        total += stats.get(one, 0.0)
        waiting += children.get(one, [])
    return total


Run = Callable[[Path, int, int], contextlib.AbstractContextManager[int]]
"""Runs a server in a directory, listening on a port, delivering to another; its process id."""
SERVERS: dict[str, Run] = {"postfix": postfix, "haraka": haraka, "petrel": petrel}
FULL_TOP = """
<pattern-list by-sender>
    mail-from /@elsewhere[.]example$/ virtual-mta=mta1
    header Subject /^urgent/ recipient-priority=60
</pattern-list>
<smtp-pattern-list replies>
    reply /try again later/ mode=backoff
    reply /mailbox (is )?full/ bounce-rcpt
</smtp-pattern-list>
<virtual-mta mta1>
    smtp-source-host 127.0.0.1 mta1.bench.example
    max-smtp-msg-rate 100000/s
</virtual-mta>
<virtual-mta mta2>
    smtp-source-host 127.0.0.1 mta2.bench.example
    add-header "X-Report: abuse@bench.example"
</virtual-mta>
<virtual-mta-pool all>
    virtual-mta mta1
    virtual-mta mta2
</virtual-mta-pool>
"""
FULL_SOURCE = """
    process-x-virtual-mta yes
    process-x-job yes
    add-date-header yes
    add-message-id-header yes
    pattern-list by-sender
    default-virtual-mta all
"""
FULL_RECORDS = (
    "records r, d, b, t, tq, c\n    record-fields d *, header_Subject, totalSecondsQueued"
)
FULL_DOMAIN = """
    max-msg-rate 100000/s
    max-connect-rate 1000/s
    smtp-pattern-list replies
    backoff-to-normal-after-delivery yes
    remove-header X-Internal
"""
VARIANTS: dict[str, Run] = {
    "petrel-full": partial(
        petrel, top=FULL_TOP, source=FULL_SOURCE, records=FULL_RECORDS, domain=FULL_DOMAIN
    )
}
"""Run where they are named."""


def sample(server: Run, size_kb: int) -> bytes:
    """A message as the sink gets it."""
    with tempfile.TemporaryDirectory(prefix="petrel-sample-") as directory:
        Path(directory).chmod(0o777)
        measure(server, size_kb, 1, "-d", f"{directory}/message.")
        return next(Path(directory).iterdir()).read_bytes()


def measure(server: Run, size_kb: int, messages: int, *sink_options: str) -> Result:
    """One run of one server."""
    port, sink_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="petrel-bench-", dir=ROOT / "spool") as directory:
        work = Path(directory)
        sink = subprocess.Popen(
            [
                SINK,
                "-u",
                "nobody",
                "-M",
                str(messages),
                *sink_options,
                f"127.0.0.1:{sink_port}",
                "1000",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(sink_port)
            with server(work, port, sink_port) as pid:
                before = cpu_s(pid)
                began = time.monotonic()
                source = [
                    SOURCE, "-d", "-s", str(SESSIONS), "-m", str(messages),
                    "-l", str(size_kb << 10),
                    "-f", "sender@bench.example", "-t", "rcpt@dest.example", f"127.0.0.1:{port}",
                ]  # fmt: skip
                subprocess.run(source, check=True, timeout=RUN_S, capture_output=True)
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
    parser.add_argument("--only", default=",".join(SERVERS), help="default %(default)s")
    parser.add_argument("--sizes", default="5,50", help="kilobytes; default %(default)s")
    given = parser.parse_args()
    if not Path(SOURCE).exists():
        print("smtp-source is missing: install Debian's postfix package")
        return 1
    allow_many_files()
    rounds = 1 if given.quick else 3
    print("end to end, 20 connections kept open, durable; the median of", rounds, "rounds\n")
    for size in map(int, given.sizes.split(",")):
        results: dict[str, list[Result]] = {}
        for _ in range(rounds):
            for server in given.only.split(","):
                is_ours = server.startswith("petrel")
                messages = (20000 if is_ours else 4000) // (1 if size < 20 else 2)
                messages //= 4 if given.quick else 1
                try:
                    run = (SERVERS | VARIANTS)[server]
                    results.setdefault(server, []).append(measure(run, size, messages))
                except (FileNotFoundError, subprocess.SubprocessError, TimeoutError) as error:
                    print(f"  {server} left out: {error}")
        print(f"{size} KB        msg/s   ratio to Postfix   accepted/s   CPU us/msg")
        base = median(results.get("postfix", []))
        for server in given.only.split(","):
            if results.get(server):
                one = median(results[server])
                ratio = f"{one.rate / base.rate:.2f}" if base.rate else "-"
                is_barred = server.startswith("petrel") and size == 5
                print(
                    f"  {server:<11}{one.rate:>8.0f}{ratio:>19}"
                    f"{one.accepted_rate:>13.0f}{one.cpu_us:>13.0f}"
                    + (f"   at most {CPU_US_MAX} wanted" if is_barred else "")
                )
        print(flush=True)
    return 0


def allow_many_files() -> None:
    """smtp-sink has one open for each connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def median(results: list[Result]) -> Result:
    ordered = sorted(results, key=lambda one: one.rate)
    return ordered[len(ordered) // 2] if ordered else Result(0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
