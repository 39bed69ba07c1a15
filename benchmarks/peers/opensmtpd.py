"""OpenSMTPD, from Debian's package, unpacked beside the system."""

import contextlib
import shutil
from collections.abc import Iterator

from benchmarks.machine import said_by, wait_for
from benchmarks.peers.place import DOMAIN, MissingError, Place
from benchmarks.peers.view import View, unpacked

PACKAGES = ("opensmtpd", "libevent-2.1-7")
USERS = ("opensmtpd", "opensmtpq")
DELAYS = ("conn-delay-route", "conn-delay-relay")
"""Between two connections to one host, some seconds by itself: it would measure only these."""


class OpenSmtpd:
    """`smtpd`, its spool in the run's directory."""

    name = "opensmtpd"
    pace = 0.02

    def version(self) -> str:
        docs = unpacked(*PACKAGES) / "usr/share/doc/opensmtpd/changelog.Debian.gz"
        said = said_by("zcat", str(docs)) if docs.exists() else ""
        return f"OpenSMTPD {said.partition('(')[2].partition(')')[0]}".strip()

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[int]:
        if place.scenario.tls:
            raise MissingError("this version's TLS handshakes fail with OpenSSL 3")
        if place.scenario.dkim:
            raise MissingError("it signs by a filter that this Debian has no package of")
        view = View(
            place.work,
            (unpacked(*PACKAGES),),
            USERS,
            ("/var/spool", "/var/lib", "/run"),
            syncs=place.scenario.durable,
        )
        config = place.work / "smtpd.conf"
        config.write_text(self._config(place))
        command = view.command(["/usr/sbin/smtpd", "-d", "-f", str(config)])
        place.work.chmod(0o755)
        spool = view.own("/var/spool") / "smtpd"
        spool.mkdir(mode=0o711)
        (view.own("/var/lib") / "opensmtpd" / "empty").mkdir(parents=True)
        shutil.chown(spool, "root", "root")
        with place.running(command) as pid:
            wait_for(place.port)
            yield pid

    def _config(self, place: Place) -> str:
        return "\n".join(
            [
                "smtp limit max-mails 100000000",
                *(f"mta limit {what} 0" for what in DELAYS),
                f"listen on 127.0.0.1 port {place.port} hostname {DOMAIN}",
                f'action "relay" relay host smtp://127.0.0.1:{place.sink_port}',
                'match from any for any action "relay"',
                "",
            ]
        )
