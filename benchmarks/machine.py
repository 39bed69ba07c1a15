"""The machine that measures: what it is, its ports, and what processes take of it."""

import contextlib
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
START_S: Final = 30
CGROUPS: Final = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))
"""Where groups of processes can be made that count processor time, the first that works."""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port: int) -> None:
    """Until something listens and greets; TimeoutError."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as sock:
            if sock.recv(1):
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def allow_many_files() -> int:
    """As many open files as the machine allows; how many that is."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def work_directory() -> tempfile.TemporaryDirectory[str]:
    """For one run, on the disk the checkout is on."""
    return tempfile.TemporaryDirectory(
        prefix="petrel-bench-", dir=ROOT / "spool", ignore_cleanup_errors=True
    )


def facts() -> dict[str, str]:
    """What a reader needs to know to compare."""
    cpu = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", cpu)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{int(memory[1]) / (1 << 20):.0f} GB" if memory else "unknown",
        "disk": _disk(),
        "system": _system(),
        "kernel": platform.release(),
        "python": platform.python_version() + ", the system's" * (sys.base_prefix == "/usr"),
    }


def _disk() -> str:
    """The file system of the checkout, and how long the disk takes for a sync of a page."""
    where = ROOT / "spool"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        kind = subprocess.run(
            ["findmnt", "--noheadings", "--output", "FSTYPE,SOURCE", "--target", str(where)],
            check=True, capture_output=True, text=True, timeout=10,
        ).stdout.split()  # fmt: skip
        return f"{kind[0]} on {kind[1]}, a sync of 4 KB takes {sync_ms(where):.2f} ms"
    return f"a sync of 4 KB takes {sync_ms(where):.2f} ms"


def sync_ms(where: Path, rounds: int = 100) -> float:
    """Median time of writing a page at the end of a file and having it on disk."""
    times = []
    with tempfile.TemporaryFile(dir=where) as file:
        for _ in range(rounds):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1e3)
    return sorted(times)[rounds // 2]


def _system() -> str:
    with contextlib.suppress(OSError):
        said = platform.freedesktop_os_release()
        version = Path("/etc/debian_version")
        exact = f" ({version.read_text().strip()})" if version.exists() else ""
        return said.get("PRETTY_NAME", "Linux") + exact
    return platform.system()


class Processes:
    """A program and all it starts, whoever adopts them; what they take together.

    A group of the kernel's where one may be made, as processes may outlive the one that
    started them. Otherwise what is found under the first one.
    """

    def __init__(self) -> None:
        self._group: Path | None = None
        self._first = 0
        name = f"petrel-bench-{os.getpid()}-{time.monotonic_ns()}"
        for base in CGROUPS:
            with contextlib.suppress(OSError):
                group = base / name
                if base.exists():
                    group.mkdir()
                    if self._usage(group) is not None:
                        self._group = group
                        break
                    group.rmdir()

    def command(self, words: list[str]) -> list[str]:
        """Words that run words among these processes, as the same process."""
        if self._group is None:
            return words
        join = f'echo $$ > "{self._group}/cgroup.procs" && exec "$@"'
        return ["sh", "-ec", join, "sh", *words]

    def begin_with(self, pid: int) -> None:
        """Where there is no group, look under this one."""
        self._first = pid

    @property
    def pids(self) -> list[int]:
        """Those that live."""
        if self._group is not None:
            with contextlib.suppress(OSError):
                return [int(pid) for pid in (self._group / "cgroup.procs").read_text().split()]
            return []
        return [pid for pid, _ in _family(self._first)]

    def cpu_s(self) -> float:
        """Processor seconds so far, of those that ended included."""
        if self._group is not None:
            return self._usage(self._group) or 0.0
        return sum(seconds for _, seconds in _family(self._first))

    def memory_mb(self) -> float:
        """Resident memory of all; what they share is divided among them."""
        total = 0
        for pid in self.pids:
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(text.partition("Pss:")[2].split()[0])
        return total / 1024

    def close(self) -> None:
        """Once all have ended; what has not is left behind."""
        if self._group is not None:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    self._group.rmdir()
                    return
                time.sleep(0.02)

    @staticmethod
    def _usage(group: Path) -> float | None:
        with contextlib.suppress(OSError):
            return int((group / "cpuacct.usage").read_text()) / 1e9
        with contextlib.suppress(OSError):
            return int(re.findall(r"usage_usec (\d+)", (group / "cpu.stat").read_text())[0]) / 1e6
        return None


def cpu_s(pid: int) -> float:
    """Processor seconds of a process and its children, those that ended included."""
    return sum(seconds for _, seconds in _family(pid))


def _family(pid: int) -> list[tuple[int, float]]:
    """A process and what is under it, each with its processor seconds."""
    ticks = os.sysconf("SC_CLK_TCK")
    children: dict[int, list[int]] = {}
    stats: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            stats[int(entry.name)] = sum(map(int, words[11:15])) / ticks
            children.setdefault(int(words[1]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        if one in stats:
            found.append((one, stats[one]))
        waiting += children.get(one, [])
    return found


def said_by(*command: str) -> str:
    """The first line a short command prints; empty if it cannot be run."""
    if shutil.which(command[0]) is None and not Path(command[0]).exists():
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout or done.stderr).partition("\n")[0].strip()
