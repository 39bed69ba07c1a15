"""A daemon on 127.0.0.1 that delivers everything to one port of 127.0.0.1."""

import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from mta.admin.socket_path import NAME
from tests.e2e.daemon import Daemon, accounting_rows, free_port
from tests.e2e.netns import Namespace
from tests.e2e.submission import Letter, submit

ADDRESS = "127.0.0.1"
WORKERS = os.environ.get("PETREL_TEST_WORKERS", "")
"""How many workers the daemons of tests have that do not say; empty for the default."""


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
        if namespace is None:  # In one the socket may stand on a disk that only it sees.
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
        if WORKERS and not re.search(r"^workers\b", top, re.MULTILINE):
            top += f"\nworkers {WORKERS}"
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

    def _answers_commands(self) -> bool:
        """With several workers the first greets before all of them serve."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.spool / NAME))
            except OSError:
                return False
        return True

    def rows(self, kinds: str = "") -> list[dict[str, str]]:
        """Accounting rows in the order written."""
        return accounting_rows(self._acct, kinds)

    def told(self) -> str:
        """The log and what it printed."""
        logged = self.log.read_text() if self.log.exists() else ""
        return logged + self.daemon.said()
