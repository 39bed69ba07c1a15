"""Haraka, installed once by npm into the user's cache."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.machine import said_by, wait_for
from benchmarks.peers.place import DOMAIN, SELECTOR, MissingError, Place
from benchmarks.peers.view import CACHE

VERSION = "3.3.4"
_INSTALL_S = 300


class Haraka:
    """One process, as it ships. It never syncs: what it answered 250 is lost with the power."""

    name = "haraka"
    pace = 0.25

    def version(self) -> str:
        found = json.loads((self._home() / "package.json").read_text())["version"]
        return f"Haraka {found}, Node {said_by('node', '--version')}"

    def _home(self) -> Path:
        """Where it is installed; MissingError without npm."""
        package = CACHE / "node_modules" / "Haraka"
        if shutil.which("node") is None:
            raise MissingError("there is no node")
        if not package.exists():
            if shutil.which("npm") is None:
                raise MissingError("there is no npm")
            CACHE.mkdir(parents=True, exist_ok=True)
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
            try:
                subprocess.run(
                    [*command, f"Haraka@{VERSION}"], cwd=CACHE, check=True, timeout=_INSTALL_S
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise MissingError(f"npm cannot install it: {error}") from error
        return package

    @contextlib.contextmanager
    def running(self, place: Place) -> Iterator[int]:
        program = str(self._home() / "bin" / "haraka")
        instance = place.work / "haraka"
        subprocess.run(
            ["node", program, "-i", str(instance)], check=True, capture_output=True, timeout=60
        )
        self._configure(place, instance / "config")
        plugins = instance / "plugins"
        plugins.mkdir(exist_ok=True)
        (plugins / "route.js").write_text(
            "exports.hook_get_mx = (next, hmail, domain) => next(OK, "
            f"{{ priority: 0, exchange: '127.0.0.1', port: {place.sink_port} }});\n"
            "exports.hook_rcpt = (next, connection) => "
            "{ connection.relaying = true; next(OK); };\n"
        )
        with place.running(["node", program, "-c", str(instance)]) as pid:
            wait_for(place.port)
            yield pid

    def _configure(self, place: Place, config: Path) -> None:
        scenario = place.scenario
        (config / "smtp.ini").write_text(f"listen=127.0.0.1:{place.port}\nnodes=0\n")
        (config / "loglevel").write_text("error\n")
        outbound = "concurrency_max=100\n" + ("" if scenario.tls else "enable_tls=false\n")
        (config / "outbound.ini").write_text(outbound)
        plugins = ["route"]
        if scenario.tls:
            plugins.append("tls")
            certificate, key = _parts(place.certificate.read_text())
            (config / "tls_cert.pem").write_text(certificate)
            (config / "tls_key.pem").write_text(key)
        if scenario.dkim:
            plugins.append("dkim")
            sign = f"[sign]\nenabled=true\nselector={SELECTOR}\ndomain={DOMAIN}\n"
            (config / "dkim.ini").write_text(sign + "[canon]\nbody=relaxed\n[verify]\n")
            signer = config / "dkim" / DOMAIN
            signer.mkdir(parents=True)
            (signer / "private").write_bytes(place.dkim_key.read_bytes())
            (signer / "selector").write_text(f"{SELECTOR}\n")
        (config / "plugins").write_text("\n".join(plugins) + "\n")


def _parts(pem: str) -> tuple[str, str]:
    """The certificate, and the key."""
    found = re.findall(r"-----BEGIN ([^-]+)-----.*?-----END \1-----\n?", pem, re.DOTALL)
    blocks = re.findall(r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", pem, re.DOTALL)
    by_kind = dict(zip(found, blocks, strict=True))
    key = next(block for kind, block in by_kind.items() if "KEY" in kind)
    return by_kind["CERTIFICATE"] + "\n", key + "\n"
