"""Postfix as it is installed, an instance of its own."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import START_S, free_port, said_by, wait_for
from benchmarks.peers.place import DOMAIN, SELECTOR, MissingError, Place
from benchmarks.peers.view import View

OPENDKIM = "/usr/sbin/opendkim"
POSTFIX = "/usr/sbin/postfix"


class Postfix:
    """Delivers by `relayhost`; signs by OpenDKIM as its milter."""

    name = "postfix"
    pace = 0.25

    def version(self) -> str:
        if not Path(POSTFIX).exists():
            raise MissingError("Debian's package postfix is not installed")
        return "Postfix " + said_by("/usr/sbin/postconf", "-d", "-h", "mail_version")

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[int]:
        self.version()
        queue, data = place.work / "queue", place.work / "data"
        etc = place.work / "etc"
        for directory in (etc, queue, data):
            directory.mkdir()
        place.work.chmod(0o755)
        shutil.chown(data, "postfix")
        with contextlib.ExitStack() as stack:
            more = ""
            if place.scenario.dkim:
                milter = stack.enter_context(_opendkim(place))
                more = f"smtpd_milters = inet:127.0.0.1:{milter}\nmilter_default_action = tempfail"
            (etc / "main.cf").write_text(self._main(place, more))
            (etc / "master.cf").write_text(_master(place.port))
            command = [POSTFIX, "-c", str(etc)]
            start = [*command, "start"]
            if not place.scenario.durable:
                start = View(place.work, syncs=False).command(start)
            subprocess.run(
                place.processes.command(start), check=True, capture_output=True, timeout=START_S
            )
            try:
                wait_for(place.port)
                pid = int((queue / "pid" / "master.pid").read_text())
                place.processes.begin_with(pid)
                yield pid
            finally:
                subprocess.run([*command, "stop"], check=False, capture_output=True, timeout=60)

    def _main(self, place: Place, more: str) -> str:
        scenario = place.scenario
        tls = f"""smtpd_tls_security_level = may
smtpd_tls_cert_file = {place.certificate}
smtpd_tls_key_file = {place.certificate}
smtp_tls_security_level = may
smtp_tls_session_cache_database = btree:{place.work}/data/smtp_scache"""
        return f"""compatibility_level = 3.6
queue_directory = {place.work}/queue
data_directory = {place.work}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = {DOMAIN}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{place.sink_port}
maillog_file = {place.work}/maillog
maillog_file_prefixes = {place.work}
default_destination_concurrency_limit = 20
initial_destination_concurrency = 20
default_process_limit = {max(100, scenario.connections + 50)}
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtputf8_enable = no
alias_maps =
local_recipient_maps =
{tls if scenario.tls else "smtp_tls_security_level = none"}
{more}
"""


def _master(port: int) -> str:
    """Debian's, with a listener of ours and nothing in a chroot."""
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
    return "\n".join(dict.fromkeys(unchrooted)) + "\n"


@contextlib.contextmanager
def _opendkim(place: Place) -> Iterator[int]:
    """The port of a signing milter."""
    if not Path(OPENDKIM).exists():
        raise MissingError("it signs by Debian's package opendkim, which is not installed")
    port = free_port()
    config = place.work / "opendkim.conf"
    config.write_text(f"""Domain {DOMAIN}
Selector {SELECTOR}
KeyFile {place.dkim_key}
Mode s
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.0/8
Socket inet:{port}@127.0.0.1
PidFile {place.work}/opendkim.pid
RequireSafeKeys no
Syslog no
""")
    command = [OPENDKIM, "-f", "-x", str(config)]
    if not place.scenario.durable:
        command = View(place.work, syncs=False).command(command)
    process = subprocess.Popen(place.processes.command(command))
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


def opendkim_version() -> str:
    found = re.search(r"v(\S+)", said_by(OPENDKIM, "-V"))
    return f"OpenDKIM {found[1]}" if found else ""
