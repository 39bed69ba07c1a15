"""Two machines in one: network and mount namespaces joined by a virtual cable.

A namespace lives as long as a `sleep` inside it, and that dies with the test process,
so nothing is left behind, whatever happens. Nothing outside the namespaces changes: no
names in /run/netns, no files in /etc, no mounts.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

SENDER_ADDRESSES = ("192.168.1.1", "192.168.1.2", "192.168.1.3", "192.168.1.4")
"""What the sending host owns: the addresses that the example configurations name."""
NAMESERVER = "198.51.100.53"
MX1 = "198.51.100.25"
MX2 = "198.51.100.26"
STRANGER = "198.51.100.99"
"""An address of nobody in particular, to knock from."""
PROVIDER_ADDRESSES = (NAMESERVER, MX1, MX2, STRANGER)


class NamespaceError(Exception):
    """The kernel or a missing privilege does not allow it; the text says what was tried."""


class Namespace:
    """A network and its mounts, as one machine would see them."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "--mount", "--propagation", "private"]
        command += ["setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout
        assert self._holder.stderr
        if not self._holder.stdout.readline():
            said = self._holder.stderr.read().strip()
            self.close()
            raise NamespaceError(f"{' '.join(command[:3])}: {said}")
        self._net = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self) -> int:
        """The process that keeps the namespaces alive."""
        return self._holder.pid

    @property
    def prefix(self) -> list[str]:
        """Put before a command, it runs inside, as the same process."""
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--"]

    def run(self, *command: str) -> str:
        """What a short command inside prints; NamespaceError if it fails."""
        done = subprocess.run(
            [*self.prefix, *command], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode:
            raise NamespaceError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets this thread opens meanwhile belong to the namespace, and stay in it."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        _enter(self._net)
        try:
            yield
        finally:
            _enter(outside)
            os.close(outside)

    def mount(self, source: Path, target: str) -> None:
        """Let a directory or file stand at target, for this namespace alone."""
        self.run("mount", "--bind", str(source), target)

    def mount_memory(self, target: Path, size: str) -> None:
        """A small file system of its own, such as one that can run full."""
        self.run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(target))

    def close(self) -> None:
        """End it, with all that still runs on it left without a network."""
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdout, self._holder.stderr):
            if stream:
                stream.close()
        if hasattr(self, "_net"):
            os.close(self._net)


class Network:
    """A sending host and a provider that reach each other and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sender = Namespace()
        try:
            self.provider = Namespace()
        except NamespaceError:
            self.sender.close()
            raise
        try:
            self._join()
            self._own_directories()
        except NamespaceError:
            self.close()
            raise

    def _join(self) -> None:
        cable = ("type", "veth", "peer", "name", "in", "netns", str(self.provider.pid))
        self.sender.run("ip", "link", "add", "out", *cable)
        for side, link, own, others in (
            (self.sender, "out", SENDER_ADDRESSES, "198.51.100.0/24"),
            (self.provider, "in", PROVIDER_ADDRESSES, "192.168.1.0/24"),
        ):
            for address in own:
                side.run("ip", "address", "add", f"{address}/32", "dev", link)
            side.run("ip", "link", "set", link, "up")
            side.run("ip", "route", "add", others, "dev", link)

    def _own_directories(self) -> None:
        """The default paths of a configuration, and its resolver, without touching ours."""
        for name in ("spool", "log"):
            (self.directory / name).mkdir()
            self.sender.mount(self.directory / name, f"/var/{name}")
        resolv = self.directory / "resolv.conf"
        resolv.write_text(f"nameserver {NAMESERVER}\n")
        self.sender.mount(resolv, "/etc/resolv.conf")

    def close(self) -> None:
        self.sender.close()
        self.provider.close()


def _enter(net: int) -> None:
    if _libc.setns(net, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise NamespaceError(f"setns: {os.strerror(number)}")
