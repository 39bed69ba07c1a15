"""What a large configuration costs: 10,000 VirtualMTAs and 100,000 domain blocks.

Prints the time to load it and the memory it takes, beside the time Python needs to split
the same text into words, which is the least anybody could need; then the time to resolve
the settings of a queue, cold and warm; and how long an event loop stood still at most
while the file was loaded on a thread beside it, 100,000 queues with mail went over to it, and
the one before was let go of: a reload, step by step.

    python -m benchmarks.config_scale [--quick] [--results DIRECTORY]
"""

import asyncio
import random
import resource
import sys
import time

from benchmarks import report
from benchmarks.peers.petrel import Petrel
from benchmarks.report import Column, Table
from mta.config.load import load
from mta.daemon.loading import let_go, made_to_last
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.scheduler import Scheduler

PATH = "/etc/pmta/config"
RESOLVED = 20_000
NOW = 1_000_000.0


class Text:
    """One file in memory."""

    def __init__(self, text):
        self._octets = text.encode()

    def read(self, path):
        return self._octets

    def glob(self, pattern):
        return []


def configuration(vmtas, domains):
    """A file as a large sender's program would write it."""
    lines = ["host-name mta.example.com", "spool /var/spool/pmta", "<domain *>",
             "    max-smtp-out 20", "    bounce-after 2d", "</domain>"]  # fmt: skip
    for number in range(vmtas):
        address = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        lines += [
            f"<virtual-mta v{number}>",
            f"    smtp-source-host {address} v{number}.example.com",
            "    <domain gmail.com>",
            f"        max-msg-rate {number % 900 + 100}/h",
            "    </domain>",
            "</virtual-mta>",
        ]
    for number in range(domains):
        lines += [
            f"<domain d{number}.example>",
            f"    max-smtp-out {number % 50 + 1}",
            f"    max-msg-rate {number % 900 + 100}/h",
            "</domain>",
        ]
    return "\n".join(lines) + "\n"


def mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(what):
    begin = time.perf_counter()
    result = what()
    return time.perf_counter() - begin, result


def loaded_as_by_a_reload(text):
    with made_to_last():
        loaded = load(PATH, Text(text), host_name="mta.example.com")
    assert loaded.configuration is not None, loaded.diagnostics[:3]
    return loaded.configuration


def with_mail(configuration, queues, vmtas, domains):
    """A scheduler with so many queues, each with a recipient that is due in an hour."""
    scheduler = Scheduler(configuration, frozenset())
    for number in range(queues):
        key = QueueKey(f"d{number % domains}.example", f"v{number % vmtas}")
        envelope = Envelope(
            message_id=number << 6, mail_from="a@b", time_queued=NOW, size=100, head_size=10
        )
        address = f"r@{key.domain}"
        recipient = Recipient(number << 22, envelope, address, key, NOW + 3600)
        scheduler.arrive([recipient], NOW)
    while scheduler.has_decisions:
        scheduler.run(NOW)
    return scheduler


async def stalls(text, queues, vmtas, domains):
    """For each step of a reload, the longest time the loop stood still, in seconds."""
    before = [await asyncio.to_thread(loaded_as_by_a_reload, text)]
    with made_to_last():
        scheduler = with_mail(before[0], queues, vmtas, domains)
    longest = {}

    async def watched(step, coroutine):
        task = asyncio.create_task(coroutine)
        worst, last, used = 0.0, time.perf_counter(), time.process_time()
        while not task.done():
            await asyncio.sleep(0.001)
            now, now_used = time.perf_counter(), time.process_time()
            # Other programs of a busy machine are not the point.
            worst = max(worst, min(now - last, now_used - used))
            last, used = now, now_used
        longest[step] = worst
        return task.result()

    async def go_over(configuration):
        with made_to_last():
            scheduler.reload(configuration, frozenset(), NOW)
            while scheduler.has_decisions:
                await asyncio.sleep(0)
                scheduler.run(NOW)

    after = await watched("load", asyncio.to_thread(loaded_as_by_a_reload, text))
    await watched("queues follow", go_over(after))
    await watched("let go", let_go(before))
    return longest


def main() -> int:
    given = report.parser(__doc__).parse_args()
    scale = 10 if given.quick else 1
    vmtas, domains = 10_000 // scale, 100_000 // scale
    text = configuration(vmtas, domains)
    found = report.begin("config_scale", __doc__, sys.argv[1:])
    found.versions.append(Petrel().version())
    made = Table(
        f"{vmtas:,} VirtualMTAs, {domains:,} domain blocks, {len(text) >> 10:,} KB",
        [Column("what"), Column("value"), Column("beside")],
    )
    splitting, _ = timed(lambda: [line.split() for line in text.splitlines()])
    before = mib()
    loading, loaded = timed(lambda: load(PATH, Text(text), host_name="mta.example.com"))
    assert loaded.configuration is not None, loaded.diagnostics[:3]
    made.add("load", f"{loading:.2f} s", f"{loading / splitting:.1f} times splitting words")
    made.add("memory", f"{mib() - before:.0f} MiB", "")
    dice = random.Random(1)
    keys = [
        QueueKey(
            dice.choice(["gmail.com", f"d{dice.randrange(domains)}.example", f"x{n}.example"]),
            f"v{dice.randrange(vmtas)}",
        )
        for n in range(RESOLVED)
    ]
    for temperature in ("cold", "warm"):
        took, _ = timed(lambda: [loaded.configuration.domain(key) for key in keys])
        made.add("a queue's settings", f"{took / RESOLVED * 1e6:.1f} us", temperature)
    queues = 100_000 // scale
    for step, longest in asyncio.run(stalls(text, queues, vmtas, domains)).items():
        made.add("longest stall", f"{longest * 1000:.0f} ms", f"{step}, {queues:,} queues")
    found.show(made)
    return report.end(found, given.results)


if __name__ == "__main__":
    sys.exit(main())
