"""Queues that lead to others: on a network with DNS, and in several workers."""

from collections import Counter
from pathlib import Path

import pytest

from mta.daemon.partition import owner
from mta.model.queue_key import QueueKey
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import WORKERS, Loopback
from tests.e2e.netns import MX1, MX2, SENDER_ADDRESSES
from tests.e2e.site import ZONE, Site
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

CONFIG = f"""host-name mta.sender.example
postmaster postmaster@sender.example
log-file log
<spool spool>
</spool>
<smtp-listener {SENDER_ADDRESSES[0]}:25>
</smtp-listener>
<acct-file log/pmta/acct/acct.csv>
records d,b
</acct-file>
<virtual-mta warm>
smtp-source-host {SENDER_ADDRESSES[1]} warm.sender.example
cold-virtual-mta cold
<domain two.rollup>
max-cold-virtual-mta-msg 1/day,2/day
</domain>
</virtual-mta>
<virtual-mta cold>
smtp-source-host {SENDER_ADDRESSES[2]} cold.sender.example
</virtual-mta>
<virtual-mta old>
<domain *>
reroute-to-virtual-mta warm
</domain>
</virtual-mta>
<mx-rollup-list>
mx mx1.provider.example two.rollup
mx mx2.provider.example two.rollup
mx *.wild.example wild.rollup
</mx-rollup-list>
<domain wild.rollup>
smtp-hosts lookup-mx:lead.wild.example
</domain>
<source 0/0>
process-x-virtual-mta yes
always-allow-relaying yes
</source>
allow-open-relay yes
"""
RECORDS = f"""
a.two.example. 60 IN MX 10 mx1.provider.example.
a.two.example. 60 IN MX 10 mx2.provider.example.
b.two.example. 60 IN MX 5 mx2.provider.example.
b.two.example. 60 IN MX 5 mx1.provider.example.
b.two.example. 60 IN MX 50 mx3.provider.example.
one.example. 60 IN MX 10 mx1.provider.example.
c.wild.example. 60 IN MX 10 c.mx.wild.example.
lead.wild.example. 60 IN MX 10 lead.mx.wild.example.
lead.mx.wild.example. 60 IN A {MX2}
c.mx.wild.example. 60 IN A {MX1}
"""


def letter(domain: str, vmta: str, number: int = 0) -> Letter:
    return Letter(f"r{number}@{domain}", f"X-Virtual-MTA: {vmta}\r\n")


async def test_domains_of_the_same_hosts_share_limits_hosts_and_rows(network, tmp_path):
    (network.directory / "log/pmta/acct").mkdir(parents=True, exist_ok=True)
    config = tmp_path / "redirects.conf"
    config.write_text(CONFIG)
    async with Site.open(network) as site:
        site.nameserver.replace(ZONE + RECORDS)
        async with site.running(config) as daemon:
            await site.submit(letter("a.two.example", "old"), letter("b.two.example", "old"))
            await site.submit(letter("one.example", "warm"), letter("c.wild.example", "warm"))
            await site.received(4)
            await site.submit(*(letter("a.two.example", "warm", n) for n in range(1, 4)))
            await site.received(7)
            explained = await daemon.command("explain", "b.two.example/old")
            wild = await daemon.command("explain", "c.wild.example/warm")
            shown = await daemon.command("explain", "two.rollup/warm")
        rows = Counter(row["queue"] for row in site.rows())
        sources = site.sources()
    # The share of one worker is all of this limit, and another may have taken the mail.
    cold = rows.pop("two.rollup/cold", 0)
    assert cold == 1 or (cold == 0 and WORKERS > 1)
    assert rows == {
        "two.rollup/warm": 5 - cold,
        "one.example/warm": 1,
        "wild.rollup/warm": 1,
    }
    assert sources[SENDER_ADDRESSES[2]] == cold
    assert "Goes to     two.rollup/old: mx mx1.provider.example, mx2.provider" in explained.text
    assert "then to     two.rollup/warm: reroute-to-virtual-mta warm" in explained.text
    assert f"mx1.provider.example ({MX1})" in explained.text
    assert f"mx2.provider.example ({MX2})" in explained.text
    assert f"lead.mx.wild.example ({MX2})" in wild.text
    assert "moved to two.rollup/warm" not in shown.text
    if WORKERS == 1:
        assert "1 of 1 messages today, 0 left; day 1" in shown.text
    else:
        assert f"left (the part of one of {WORKERS} workers); day 1" in shown.text


VMTAS = "<virtual-mta a>\n{}</virtual-mta>\n<virtual-mta bb>\n</virtual-mta>\nworkers 2\n"
DOMAINS = [
    domain
    for domain in map("d{}.example".format, range(9))
    if owner(QueueKey(domain, "a"), 2) != owner(QueueKey(domain, "bb"), 2)
][:3]


@pytest.mark.own_workers
async def test_mail_moves_to_queues_that_another_worker_owns(tmp_path: Path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=VMTAS.format(""))
        async with loopback.running() as daemon:
            # Workers greet before the supervisor takes commands.
            await until((loopback.spool / "control").exists, 20)
            for domain in DOMAINS:
                assert (await daemon.command("pause", "queue", f"{domain}/a")).code == 0
            await loopback.submit(*(letter(domain, "a", n) for domain in DOMAINS for n in (1, 2)))
            rerouted = "<domain *>\nreroute-to-virtual-mta bb\n</domain>\n"
            loopback.configure(top=VMTAS.format(rerouted))
            assert (await daemon.command("reload")).code == 0
            assert (await daemon.command("resume", "queue", "*/a")).code == 0
            await until(lambda: len(loopback.rows("d")) >= 2 * len(DOMAINS), 20, loopback.told)
    assert {row["vmta"] for row in loopback.rows("d")} == {"bb"}
    assert len(provider.journal) == 2 * len(DOMAINS)
    assert len(DOMAINS) == 3
    assert len({one.rcpt for one in provider.journal}) == 2 * len(DOMAINS)
