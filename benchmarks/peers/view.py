"""The machine as one server sees it: with Debian packages that are not installed on it.

Debian's mail servers exclude each other, and want users and places of their own. Each runs in
a mount namespace instead, with its package laid over /usr, its users added to /etc/passwd, and
the rest of what it writes in the run's directory. Nothing changes for any other process. That
takes root, and an overlay file system.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.place import MissingError

CACHE = Path.home() / ".cache" / "petrel-benchmarks"
SYNC_OFF = "libeatmydata1"
"""The package of a library that makes every sync succeed at once."""
_PRELOADED = "/usr/lib/x86_64-linux-gnu/libeatmydata.so"
_DOWNLOAD_S = 120


def unpacked(*packages: str) -> Path:
    """Debian packages, downloaded and unpacked once into the user's cache; MissingError."""
    if shutil.which("apt-get") is None:
        raise MissingError(f"Debian's {packages[0]} cannot be had: there is no apt-get")
    target = CACHE / "debian" / "+".join(packages)
    if not (target / ".complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for package in packages:
            _unpack(package, target)
        (target / ".complete").touch()
    return target


def _unpack(package: str, target: Path) -> None:
    try:
        subprocess.run(
            ["apt-get", "download", package],
            cwd=target, check=True, capture_output=True, timeout=_DOWNLOAD_S,
        )  # fmt: skip
        for archive in target.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(archive), str(target)], check=True, timeout=60)
            archive.unlink()
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingError(f"Debian's package {package} cannot be had: {error}") from error


@dataclass(frozen=True)
class View:
    """What is laid over what, for one run in a directory.

    `writable` are directories of the system that are empty ones of the run's instead.
    """

    work: Path
    packages: tuple[Path, ...] = ()
    users: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    syncs: bool = True

    def command(self, words: list[str]) -> list[str]:
        """Words that run words with this view, as the same process; MissingError without root."""
        if os.geteuid() != 0:
            raise MissingError("it takes root to run it beside what is installed")
        packages = self.packages if self.syncs else (*self.packages, unpacked(SYNC_OFF))
        etc = self._etc()
        mounts = []
        if packages:
            lower = ":".join([*(str(package / "usr") for package in packages), "/usr"])
            mounts.append(f"mount -t overlay overlay -o lowerdir={lower} /usr")
        mounts.append(f"mount -t overlay overlay -o lowerdir={etc}:/etc /etc")
        for directory in self.writable:
            own = self.work / "view" / directory.strip("/").replace("/", "-")
            own.mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {own} {directory}")
        script = "\n".join([*mounts, 'exec "$@"'])
        view = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
        return [*view, *words]

    def own(self, directory: str) -> Path:
        """Where the run's own instance of a writable directory lies."""
        return self.work / "view" / directory.strip("/").replace("/", "-")

    def _etc(self) -> Path:
        etc = self.work / "view" / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        passwd, group = Path("/etc/passwd").read_text(), Path("/etc/group").read_text()
        for name in self.users:
            number = self.uid(name)
            passwd += f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n"
            group += f"{name}:x:{number}:\n"
        (etc / "passwd").write_text(passwd)
        (etc / "group").write_text(group)
        if not self.syncs:
            (etc / "ld.so.preload").write_text(_PRELOADED + "\n")
        return etc

    def uid(self, name: str) -> int:
        """The number of one of the added users and of its group, free on this machine."""
        taken = {entry.pw_uid for entry in pwd.getpwall()}
        free = [number for number in range(60000, 61000) if number not in taken]
        return free[self.users.index(name)]
