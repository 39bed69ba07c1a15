"""What does a DKIM signature cost beside the bare RSA operation, and beside OpenDKIM?

First the cost of signing a message of 50 KB with RSA-2048, in turns with the RSA operation
alone on the same thread. Then messages a second, in at one end and signed out at the other,
as a share of what `openssl speed` makes of RSA-2048 on all cores just before and after, and
beside Postfix with OpenDKIM as its milter.

    python -m benchmarks.dkim [--quick] [--only petrel,postfix] [--sizes 5,50]
"""

import argparse
import contextlib
import functools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import throughput
from mta.settings.domain import DomainSettings
from mta.signing import keys
from mta.signing.canonical import fields
from mta.signing.signature import BodyHasher, Signatory, SignatureForm, signature

DOMAIN = "bench.example"
SIGN_OCTETS = 50_000
OPENDKIM = "/usr/sbin/opendkim"
HEAD = b"".join(
    b"%s: what stands in a field of this name, more or less\r\n" % name
    for name in (
        b"Received", b"From", b"To", b"Subject", b"Date", b"Message-ID", b"MIME-Version",
        b"Content-Type", b"List-Unsubscribe", b"Reply-To", b"X-Mailer",
    )
)  # fmt: skip
TEXT = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.\r\n"
HTML = b"".join(
    b" " * (2 * depth)
    + b"<td style='padding: 0'><a href='https://example.com/'>A link</a></td>\r\n"
    for depth in (*range(9), *range(8, 0, -1))
)
WORST = b"  <td style='padding: 0'>\t<a href='https://example.com/'>A link</a>  </td> \r\n"


def cost(line: bytes, rounds: int) -> tuple[float, float]:
    """Microseconds of CPU of the RSA operation alone, and of the whole signing."""
    key = keys.new_key("rsa-2048")
    form = SignatureForm.of(DomainSettings(dkim_sign="yes"), "dkim_")
    signatory = Signatory(key, "s", DOMAIN, f"news@{DOMAIN}")
    body = line * (SIGN_OCTETS // len(line))
    octets = HEAD

    def whole() -> bytes:
        hasher = BodyHasher(form.body)
        hasher.update(body)
        return signature(form, signatory, fields(octets), hasher.finish(), 0)

    bare, signing = [], []
    for _ in range(rounds):
        for work, times in ((lambda: key.sign(form.algorithm, octets), bare), (whole, signing)):
            began = time.thread_time()
            work()
            times.append((time.thread_time() - began) * 1e6)
    return sorted(bare)[rounds // 10], sorted(signing)[rounds // 10]


def openssl_rate(seconds: int) -> float:
    """RSA-2048 signatures a second of all cores together."""
    said = subprocess.run(
        ["openssl", "speed", "-multi", str(os.cpu_count()), "-seconds", str(seconds), "rsa2048"],
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    return float(re.findall(r"^rsa +2048 bits +\S+ +\S+ +(\S+)", said, re.MULTILINE)[0])


@contextlib.contextmanager
def petrel(key: Path, work: Path, port: int, sink: int) -> Iterator[int]:
    with throughput.petrel(
        work, port, sink,
        top=f"domain-key s,{DOMAIN},{key}", domain="dkim-sign yes",
    ) as pid:  # fmt: skip
        yield pid


@contextlib.contextmanager
def postfix(key: Path, work: Path, port: int, sink: int) -> Iterator[int]:
    """Postfix, and OpenDKIM as its milter."""
    milter = throughput.free_port()
    config = work / "opendkim.conf"
    config.write_text(f"""Domain {DOMAIN}
Selector s
KeyFile {key}
Mode s
Canonicalization relaxed/relaxed
InternalHosts 127.0.0.0/8
Socket inet:{milter}@127.0.0.1
PidFile {work}/opendkim.pid
RequireSafeKeys no
Syslog no
""")
    process = subprocess.Popen([OPENDKIM, "-f", "-x", str(config)])
    try:
        with throughput.postfix(
            work, port, sink,
            more=f"smtpd_milters = inet:127.0.0.1:{milter}\nmilter_default_action = tempfail\n",
        ) as pid:  # fmt: skip
            yield pid
    finally:
        process.terminate()
        process.wait(30)


SERVERS = {"postfix": postfix, "petrel": petrel}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the messages, one round")
    parser.add_argument("--only", default=",".join(SERVERS), help="default %(default)s")
    parser.add_argument("--sizes", default="5,50", help="kilobytes; default %(default)s")
    given = parser.parse_args()
    rounds = 1 if given.quick else 3
    print(f"signing {SIGN_OCTETS // 1000} KB with RSA-2048, relaxed/relaxed\n")
    for name, line in (("plain text", TEXT), ("indented HTML", HTML), ("blanks all over", WORST)):
        bare, signing = cost(line, 300 * rounds)
        print(f"  {name:<16} {signing:6.0f} us, {signing / bare:.2f} times the RSA operation alone")
    if not Path(throughput.SOURCE).exists():
        print("\nsmtp-source is missing: install Debian's postfix package")
        return 1
    throughput.allow_many_files()
    print("\nend to end with RSA-2048, 20 connections kept open; the median of", rounds, "rounds")
    with tempfile.TemporaryDirectory(prefix="petrel-dkim-") as directory:
        key = Path(directory) / "key.pem"
        key.write_bytes(keys.new_key("rsa-2048").pem())
        for size in map(int, given.sizes.split(",")):
            table(size, key, given.only.split(","), rounds, 4 if given.quick else 1)
    return 0


def table(size: int, key: Path, servers: list[str], rounds: int, divisor: int) -> None:
    """Each run stands between two of openssl, as what else the machine does changes."""
    results: dict[str, list[throughput.Result]] = {}
    speeds: dict[str, list[float]] = {}
    for _ in range(rounds):
        before = openssl_rate(3)
        for server in servers:
            if server == "postfix" and not Path(OPENDKIM).exists():
                print("  postfix left out: Debian's packages postfix and opendkim are missing")
                continue
            run = functools.partial(SERVERS[server], key)
            if not results.get(server):
                assert b"DKIM-Signature:" in throughput.sample(run, size), f"{server} does not sign"
                before = openssl_rate(3)
            messages = (12000 if server == "petrel" else 3000) // (1 if size < 20 else 2)
            one = throughput.measure(run, size, messages // divisor)
            after = openssl_rate(3)
            results.setdefault(server, []).append(one)
            speeds.setdefault(server, []).append((before + after) / 2)
            before = after
    print(f"\n{size} KB        msg/s   openssl/s   share   accepted/s   CPU us/msg")
    for server, found in results.items():
        shares = sorted(
            (
                (one.rate / speed, one, speed)
                for one, speed in zip(found, speeds[server], strict=True)
            ),
            key=lambda row: row[0],
        )
        share, one, speed = shares[len(shares) // 2]
        print(
            f"  {server:<10}{one.rate:>9.0f}{speed:>12.0f}{share:>8.0%}"
            f"{one.accepted_rate:>13.0f}{one.cpu_us:>13.0f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
