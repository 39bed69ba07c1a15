"""A daemon on 127.0.0.1 that delivers everything to one port of 127.0.0.1."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from mta.admin.socket_path import NAME
from mta.spool.shards import shard_directory, shards_of
from tests.e2e.daemon import Daemon, accounting_rows, free_port, until
from tests.e2e.netns import Namespace
from tests.e2e.submission import Letter, submit

ADDRESS = "127.0.0.1"
WORKERS = int(os.environ.get("PETREL_TEST_WORKERS", "1"))
"""How many workers the daemons of tests have that do not say."""
DEATH_S = 30.0
STARTED = " started; configuration"
DEATH = " was killed by signal 9"
"""As the log says it of a worker."""
WHOLE_S = 60.0


class Loopback:
    """A configuration that tests add lines to, the daemon it is for, and its accounting.

    Retries come after a second. `port` is where the provider listens, now or later.
    """

    def __init__(self, directory: Path, port: int, namespace: Namespace | None = None) -> None:
        self.directory = directory
        self.provider_port = port
        self.address = (ADDRESS, free_port())
        self.namespace = namespace
        self.spool = directory / "spool"
        self.log = directory / "log"
        self._acct = directory / "acct"
        self._acct.mkdir(exist_ok=True)
        self.configure()
        self.daemon = Daemon(directory / "petrel.conf", self.address, namespace)
        self.daemon.is_ready = self._answers_commands

    def configure(
        self,
        *,
        top: str = "",
        domain: str = "max-smtp-out 5",
        listener: str = "",
        acct: str = "records d,b,t,connection",
        is_sender_told: bool = False,
    ) -> None:
        """Write the file; each text holds lines for its section, `top` for none.

        Unless `is_sender_told` the sender's domain gets no notifications, which would be mail, too.
        """
        told = "yes" if is_sender_told else "no"
        if not (said := re.search(r"^workers (\d+)", top, re.MULTILINE)) and WORKERS > 1:
            top += f"\nworkers {WORKERS}"
        self.worker_count = int(said[1]) if said else WORKERS
        (self.directory / "petrel.conf").write_text(
            f"""host-name mta.sender.example
postmaster postmaster@sender.example
log-file {self.log}
{top}
<smtp-listener {":".join(map(str, self.address))}>
{listener}
</smtp-listener>
<spool {self.spool}>
</spool>
<acct-file {self._acct}/acct.csv>
{acct}
</acct-file>
<domain sender.example>
deliver-local-dsn {told}
</domain>
<domain *>
smtp-hosts [{ADDRESS}]:{self.provider_port}
retry-after 1s
retry-recipients-after 1s
{domain}
</domain>
"""
        )

    @contextlib.asynccontextmanager
    async def running(self, **environment: str) -> AsyncIterator[Daemon]:
        """The daemon, started; stopped cleanly if it still runs at the end."""
        try:
            await self.daemon.start(**environment)
            yield self.daemon
            if self.daemon.is_running:
                assert await self.daemon.stop() == 0, self.daemon.said()
        finally:
            self.daemon.kill()

    async def submit(self, *messages: Letter) -> None:
        await submit(self.address, messages, self.daemon.inside())

    async def dies(self) -> None:
        """Wait until a failpoint has killed the daemon, or the worker that came to it.

        The others are killed at once, before what died is started again and comes far.
        """
        # It may have died before this was called: the log knows, the processes may not.
        await until(
            lambda: not self.daemon.is_running or DEATH in self._logged().rpartition(STARTED)[2],
            DEATH_S,
            self.told,
        )
        assert self.worker_count > 1 or self.daemon.exit_code == -signal.SIGKILL, self.told()
        self.daemon.kill()

    async def whole(self) -> None:
        """Return once every worker answers; a command needs them all."""
        async with asyncio.timeout(WHOLE_S):
            while "is left out here" in (await self.daemon.command("show", "status")).text:
                pass

    @property
    def spools(self) -> list[Path]:
        """The directory of each worker's spool."""
        return [shard_directory(self.spool, shard) for shard in shards_of(self.spool)]

    def _answers_commands(self) -> bool:
        """With several workers the first greets before all of them serve."""
        # Seen from the daemon: its spool may stand on a disk that only it sees.
        seen = f"/proc/{self.daemon.pid}/root{self.spool}" if self.namespace else self.spool
        try:
            directory = os.open(seen, os.O_PATH)
        except OSError:
            return False
        try:
            with socket.socket(socket.AF_UNIX) as client:
                # The address of a socket may have 108 octets, and a path of a test has more.
                client.connect(f"/proc/self/fd/{directory}/{NAME}")
        except OSError:
            return False
        finally:
            os.close(directory)
        return True

    def rows(self, kinds: str = "") -> list[dict[str, str]]:
        """Accounting rows in the order written."""
        return accounting_rows(self._acct, kinds)

    def told(self) -> str:
        """The log and what it printed."""
        return self._logged() + self.daemon.said()

    def _logged(self) -> str:
        return self.log.read_text() if self.log.exists() else ""
