"""Fills a spool with mail that waits for a provider that takes no connection.

It writes through the spool itself, as a daemon that accepted the mail would have, without
SMTP: a million recipients take a minute so. The process ends before a daemon starts, so that
what is measured of the daemon begins with its start.

    python -m benchmarks.fill DIRECTORY --recipients 1000000 [--domains 1] [--each 1]
"""

import argparse
import asyncio
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.probe import LIVE
from mta.ids import message_id, printed, recipient_id
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.spool.store import Spool

SIZE = 2 << 10
BATCH = 500
"""Messages in one transaction."""
FAILURES = 5
"""In a row, of a queue of a dead provider: the spool remembers them."""
FIRST_MESSAGE = printed(message_id(1, 0))


async def fill(
    directory: Path, recipients: int, domains: int, each: int, failures: int = FAILURES
) -> None:
    """So many recipients over so many dead domains, so many in a message; then a live one."""
    directory.mkdir(parents=True)
    spool = Spool.open(directory)
    content = b"Subject: scale\r\n\r\n" + (b"x" * 74 + b"\r\n") * (SIZE // 76)
    now = time.time()

    def message(addresses: list[str]) -> "asyncio.Future[None]":
        number = spool.next_message_id()
        envelope = Envelope(
            message_id=number,
            mail_from="sender@bench.example",
            time_queued=now,
            size=len(content),
            head_size=18,
        )
        rcpts = [
            Recipient(
                recipient_id(number, index),
                envelope,
                address,
                QueueKey(address.rpartition("@")[2], DEFAULT_VMTA),
                now,
            )
            for index, address in enumerate(addresses)
        ]
        return spool.begin_accept(envelope, content, rcpts)

    starts = range(0, recipients, each)
    for first in range(0, len(starts), BATCH):
        await asyncio.gather(
            *(
                message(
                    [
                        f"r{n}@d{n % domains}.dead.example"
                        for n in range(start, min(start + each, recipients))
                    ]
                )
                for start in starts[first : first + BATCH]
            )
        )
    for first in range(0, domains, BATCH):
        await asyncio.gather(
            *(
                spool.save_queue(
                    QueueKey(f"d{n}.dead.example", DEFAULT_VMTA),
                    paused=False,
                    retry_position=failures,
                )
                for n in range(first, min(first + BATCH, domains))
            )
        )
    await message([f"first@{LIVE}"])
    await spool.close()


def filled(
    directory: Path, recipients: int, domains: int, each: int = 1, failures: int = FAILURES
) -> float:
    """The same in a process of its own; the seconds it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.fill", str(directory)]
    command += ["--recipients", str(recipients), "--domains", str(domains), "--each", str(each)]
    command += ["--failures", str(failures)]
    subprocess.run(command, cwd=ROOT, check=True)
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="of the spool; it must not exist")
    parser.add_argument("--recipients", type=int, required=True)
    parser.add_argument("--domains", type=int, default=1, help="d0.dead.example and so on")
    parser.add_argument("--each", type=int, default=1, help="recipients of a message")
    parser.add_argument("--failures", type=int, default=FAILURES, help="0: never tried before")
    given = parser.parse_args()
    asyncio.run(fill(given.directory, given.recipients, given.domains, given.each, given.failures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
