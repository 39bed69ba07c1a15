"""What does a DKIM signature cost beside the bare RSA operation, and beside OpenDKIM?

First the cost of signing a message of 50 KB with RSA-2048, in turns with the RSA operation
alone on the same thread. Then messages a second, in at one end and signed out at the other,
as a share of what `openssl speed` makes of RSA-2048 on all cores just before and after, and
beside the other servers; Postfix signs with OpenDKIM as its milter.

    python -m benchmarks.dkim [--quick] [--only petrel,postfix] [--sizes 5,50] [--results DIRECTORY]
"""

import os
import re
import subprocess
import sys
import time

from benchmarks import report
from benchmarks.machine import allow_many_files
from benchmarks.measure import FAILURES, Result, measure, reason, sample, tools_missing
from benchmarks.peers import PEERS
from benchmarks.peers.place import DOMAIN
from benchmarks.peers.postfix import opendkim_version
from benchmarks.report import Column, Table
from benchmarks.scenario import Scenario
from benchmarks.throughput import count, present
from mta.settings.domain import DomainSettings
from mta.signing import keys
from mta.signing.signature import Signatory, SignatureForm, body_hash, signature

MESSAGES = 12_000
SIGN_OCTETS = 50_000
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
        return signature(form, signatory, octets, body_hash(form.body, body), 0)

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


def signing(rounds: int) -> Table:
    """What the signing takes, of three kinds of text."""
    made = Table(
        f"signing {SIGN_OCTETS // 1000} KB with RSA-2048, relaxed/relaxed",
        [Column("text"), Column("CPU us", ".0f"), Column("of the RSA operation alone", ".2f")],
    )
    for name, line in (("plain text", TEXT), ("indented HTML", HTML), ("blanks all over", WORST)):
        bare, whole = cost(line, 300 * rounds)
        made.add(name, whole, whole / bare)
    return made


def end_to_end(size_kb: int, names: list[str], rounds: int, messages: int, seconds: int) -> Table:
    """Each run stands between two of openssl, as what else the machine does changes."""
    scenario = Scenario(size_kb=size_kb, dkim=True)
    made = Table(
        f"{scenario}, RSA-2048",
        [
            Column("server"), Column("msg/s", ",.0f"), Column("openssl/s", ",.0f"),
            Column("share", ".0%"), Column("Petrel is", ".1f"), Column("accepted/s", ",.0f"),
            Column("CPU us/msg", ",.0f"),
        ],
    )  # fmt: skip
    found: dict[str, list[tuple[float, Result, float]]] = {}
    for _ in range(rounds):
        for name in [name for name in names if name not in "".join(made.notes)]:
            try:
                if name not in found:
                    assert b"DKIM-Signature:" in sample(PEERS[name], scenario), f"{name}: unsigned"
                before = openssl_rate(seconds)
                one = measure(PEERS[name], scenario, count(name, scenario, messages))
                speed = (before + openssl_rate(seconds)) / 2
            except FAILURES as error:
                made.notes.append(f"{name} left out: {reason(error)}")
            else:
                found.setdefault(name, []).append((one.rate / speed, one, speed))
    middles = {
        name: sorted(some, key=lambda row: row[0])[len(some) // 2] for name, some in found.items()
    }
    ours = middles.get("petrel")
    for name, (share, one, speed) in middles.items():
        faster = f"{ours[1].rate / one.rate:.1f} x" if ours and name != "petrel" else ""
        made.add(name, one.rate, speed, share, faster, one.accepted_rate, one.cpu_us)
    return made


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--only", default="petrel,postfix,haraka,exim", help="servers")
    parser.add_argument("--sizes", default="5,50", help="kilobytes")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="of Petrel, at 5 KB")
    given = parser.parse_args()
    rounds, messages = (1, given.messages // 4) if given.quick else (3, given.messages)
    found = report.begin("dkim", __doc__, sys.argv[1:])
    found.show(signing(rounds))
    if missing := tools_missing():
        print(f"\n{missing}")
        return 1
    allow_many_files()
    names = present(given.only.split(","), found)
    found.versions.append(opendkim_version())
    for size in map(int, given.sizes.split(",")):
        found.show(end_to_end(size, names, rounds, messages, 1 if given.quick else 3))
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
