"""Petrel, from this checkout."""

import contextlib
import sys
from collections.abc import Iterator
from importlib.metadata import version

from benchmarks.machine import ROOT, said_by, wait_for
from benchmarks.peers.place import DOMAIN, SELECTOR, Place


class Petrel:
    """`mta run`; what is given are more lines for the file, its source and every domain."""

    pace = 1.0

    def __init__(
        self,
        name: str = "petrel",
        *,
        top: str = "",
        source: str = "",
        records: str = "records d, b, t",
        domain: str = "",
    ) -> None:
        self.name = name
        self.program: tuple[str, ...] = ("-m", "mta")
        """What Python runs."""
        self._top = top
        self._source = source
        self._records = records
        self._domain = domain

    def version(self) -> str:
        commit = said_by("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
        return f"Petrel {version('petrel-mta')}" + (f", commit {commit}" if commit else "")

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[int]:
        config = place.work / "petrel.conf"
        config.write_text(self._config(place))
        command = [sys.executable, *self.program, "run", "--config", str(config)]
        with place.running(command) as pid:
            wait_for(place.port)
            yield pid

    def _config(self, place: Place) -> str:
        scenario = place.scenario
        top, domain = [self._top], [self._domain]
        if not scenario.durable:
            top += ["sync-msg-create no", "sync-msg-update no"]
        if scenario.tls:
            top.append(f"smtp-server-tls-certificate {place.certificate}")
            domain.append("use-starttls yes")
        if scenario.dkim:
            top.append(f"domain-key {SELECTOR},{DOMAIN},{place.dkim_key}")
            domain.append("dkim-sign yes")
        source = ["allow-starttls yes"] * scenario.tls
        return "\n".join(
            [
                f"host-name {DOMAIN}",
                f"postmaster postmaster@{DOMAIN}",
                "http-mgmt-port 0",
                f"smtp-listener 127.0.0.1:{place.port}",
                "total-max-smtp-in 20000",
                f"spool {place.work}/spool",
                f"log-file {place.work}/log",
                *top,
                f"<acct-file {place.work}/acct.csv>",
                self._records,
                "</acct-file>",
                "<source 127.0.0.0/8>",
                "always-allow-relaying yes",
                *source,
                self._source,
                "</source>",
                "<domain *>",
                f"smtp-hosts [127.0.0.1]:{place.sink_port}",
                "connection-idle-timeout 1m",
                *domain,
                "</domain>",
                "",
            ]
        )
