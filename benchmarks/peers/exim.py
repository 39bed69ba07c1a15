"""Exim, from Debian's package, unpacked beside the system."""

import contextlib
import shutil
from collections.abc import Iterator

from benchmarks.machine import said_by, wait_for
from benchmarks.peers.place import DOMAIN, SELECTOR, Place
from benchmarks.peers.view import View, unpacked

PACKAGES = ("exim4-daemon-light", "libidn12", "libgnutls-dane0", "libnsl2")
USER = "Debian-exim"


class Exim:
    """A daemon that starts a delivery for each message, as Exim does."""

    name = "exim"
    pace = 0.1

    def version(self) -> str:
        archive = unpacked(*PACKAGES)
        docs = archive / "usr/share/doc/exim4-daemon-light/changelog.Debian.gz"
        said = said_by("zcat", str(docs)) if docs.exists() else ""
        return f"Exim {said.partition('(')[2].partition(')')[0]}".strip()

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[int]:
        package = unpacked(*PACKAGES)
        view = View(
            place.work, (package,), (USER,), ("/var/spool",), syncs=place.scenario.durable
        )  # fmt: skip
        config = place.work / "exim.conf"
        config.write_text(self._config(place))
        config.chmod(0o644)
        command = view.command(["/usr/sbin/exim4", "-C", str(config), "-bdf", "-q1m"])
        spool = view.own("/var/spool") / "exim"
        spool.mkdir()
        place.work.chmod(0o755)
        shutil.chown(spool, view.uid(USER), view.uid(USER))
        for path in [place.certificate] + [place.dkim_key] * place.scenario.dkim:
            shutil.chown(path, view.uid(USER), view.uid(USER))
            path.chmod(0o600)
        with place.running(command) as pid:
            wait_for(place.port)
            yield pid

    def _config(self, place: Place) -> str:
        scenario = place.scenario
        spool = "/var/spool/exim"
        signs = f"""
  dkim_domain = {DOMAIN}
  dkim_selector = {SELECTOR}
  dkim_private_key = {place.dkim_key}
  dkim_canon = relaxed"""
        tls = f"tls_advertise_hosts = *\ntls_certificate = {place.certificate}"
        return f"""
primary_hostname = {DOMAIN}
spool_directory = {spool}
log_file_path = {spool}/%slog
pid_file_path = {spool}/exim.pid
daemon_smtp_ports = {place.port}
local_interfaces = 127.0.0.1
disable_ipv6 = true
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 0
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 300
split_spool_directory = true
message_logs = false
acl_smtp_rcpt = accept
{tls if scenario.tls else "tls_advertise_hosts ="}
begin routers
route:
  driver = manualroute
  domains = *
  route_list = * 127.0.0.1 byname
  self = send
  transport = remote_smtp
begin transports
remote_smtp:
  driver = smtp
  port = {place.sink_port}
  allow_localhost
  tls_verify_certificates =
  tls_try_verify_hosts =
  hosts_avoid_tls = {"" if scenario.tls else "*"}{signs if scenario.dkim else ""}
begin retry
* * F,2h,15m
"""
