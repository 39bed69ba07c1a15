"""Every benchmark in turn, and the page of what they found.

What fails is named at the end, and the others are done all the same. A quick run leaves its
results and its page under spool/, as they are not worth keeping.

    python -m benchmarks.every [--quick] [--only throughput,latency]
"""

import argparse
import subprocess
import sys
import time

from benchmarks.machine import ROOT
from benchmarks.page import ORDER, PAGE
from benchmarks.report import RESULTS

QUICK = ROOT / "spool" / "benchmarks"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fraction of it, some minutes")
    parser.add_argument("--only", default=",".join(ORDER), help="default %(default)s")
    given = parser.parse_args()
    results, page = (QUICK, QUICK / PAGE.name) if given.quick else (RESULTS, PAGE)
    failed = []
    for name in given.only.split(","):
        began = time.monotonic()
        command = [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            "--results",
            str(results.relative_to(ROOT)),
        ]
        print(f"\n=== {name}", flush=True)
        if subprocess.run([*command, *["--quick"] * given.quick], cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"=== {name}: {time.monotonic() - began:.0f} s", flush=True)
    command = [sys.executable, "-m", "benchmarks.page", "--results", str(results)]
    subprocess.run([*command, "--page", str(page)], cwd=ROOT, check=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
