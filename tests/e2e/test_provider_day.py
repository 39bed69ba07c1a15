"""A day of mixed providers in seconds: everything drains once, and refusals explain the gaps."""

import asyncio
import json
from collections import Counter
from itertools import pairwise

import pytest

from mta import clock
from mta.admin.client import ask
from mta.admin.protocol import Exit, Request
from mta.admin.socket_path import NAME
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PROFILES = {
    "limits.example": Profile(messages_per_second=20, unknown=("r1",)),
    "spent.example": Profile(messages_per_connection=4, defer=0.1),
    "greylist.example": Profile(greylist_tries=1),
    "tarpit.example": Profile(delay_s=0.2),
    "dead.example": Profile(),
    "*": Profile(),
}
EACH = 12
RATED = 40
GAP_S = 0.5
"""A pause in sending at a queue with mail that has to have been explained."""
DOMAIN = """max-smtp-out 4
max-msg-rate 10/2s
smtp-421-means-mx-unavailable no
</domain>
<domain dead.example>
smtp-hosts [127.0.0.1]:1,[127.0.0.1]:{port}
</domain>
<domain tarpit.example>
max-smtp-out 2
max-msg-rate unlimited"""

SAMPLE_S = 0.2


def queues(loopback):
    """By domain: recipients, connections, and the directive that refuses."""
    told = []
    request = Request(command="show topqueues", format="json")
    if ask(loopback.spool / NAME, request, out=told.append, error=told.append) is not Exit.DONE:
        return {}
    return {
        row["name"].partition("/")[0]: (
            row["rcp"],
            row["conn"],
            row.get("refusal", {}).get("directive", ""),
        )
        for row in json.loads("".join(told))["data"]["queues"]
    }


async def watch(loopback, seen):
    while True:
        seen.append((clock.now(), await asyncio.to_thread(queues, loopback)))
        await asyncio.sleep(SAMPLE_S)


def check_gaps(provider, seen):
    """While nothing arrived from a queue that had mail, it was at work or said why not."""
    explained = set()
    for domain in PROFILES:
        times = sorted(r.time for r in provider.journal if r.rcpt.endswith(f"@{domain}"))
        for before, after in pairwise(times):
            if after - before < GAP_S:
                continue
            within = [q for at, q in seen if before + 0.1 < at < after - 0.1 and domain in q]
            for recipients, connections, directive in (q[domain] for q in within):
                if recipients and not connections:
                    assert directive, (domain, before, after, within)
                explained.add((domain, directive))
    assert ("limits.example", "max-msg-rate") in explained
    assert ("tarpit.example", "max-smtp-out") in explained


async def test_a_day_of_mixed_providers_drains_and_its_gaps_are_explained(tmp_path):
    async with Provider(PROFILES, seed=3) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain=DOMAIN.format(port=provider.port))
        counts = {name: EACH for name in PROFILES if name != "*"} | {"limits.example": RATED}
        seen = []
        async with loopback.running():
            for domain, count in counts.items():
                await loopback.submit(*letters(count, domain))
            watching = asyncio.create_task(watch(loopback, seen))
            total = sum(counts.values())
            await until(lambda: len(loopback.rows("d,b")) == total, 25, loopback.told)
            watching.cancel()
    taken = Counter(received.rcpt for received in provider.journal)
    assert set(taken.values()) == {1}
    assert len(taken) == total - 1
    (bounced,) = loopback.rows("b")
    assert bounced["rcpt"] == "r1@limits.example"
    assert len({row["rcpt"] for row in loopback.rows("d")}) == total - 1
    check_gaps(provider, seen)
