"""Mail that changes its queue is neither lost nor doubled nor forgotten.

The whole shard, in virtual time.
"""

import asyncio
import contextlib
import csv
import random
from collections import Counter

from mta.admin.explanation_text import explanation
from mta.admin.pattern import QueuePattern
from mta.model.queue_key import QueueKey
from mta.sim.loop import until
from mta.sim.network import Network
from mta.sim.node import Node
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from mta.sim.zone import Zone

LISTENER = ("10.0.0.1", 25)
SOURCES = {"a": "10.0.0.2", "b": "10.0.0.3", "c": "10.0.0.4"}
MX1, MX2 = "198.51.100.1", "198.51.100.2"
HOUR = 3600
DAY = 86400


class World:
    """A node that can be reloaded and restarted, a provider with two hosts, and the DNS."""

    def __init__(self, directory, profile):
        loop = asyncio.get_running_loop()
        dice = random.Random(4)
        self.directory = directory
        network = loop.wiring = Network(loop, dice)
        self.zone = Zone(dice)
        for domain in ("one.example", "two.example"):
            self.zone.add(domain, "MX", "10 mx1.p.example.", "10 mx2.p.example.")
        self.zone.add("mx1.p.example", "A", MX1)
        self.zone.add("mx2.p.example", "A", MX2)
        self.said = []
        self.node = Node(
            directory,
            network,
            self.zone,
            own=frozenset({"10.0.0.1", *SOURCES.values()}),
            say=self.said.append,
        )
        self.providers = [Provider({"*": profile}, host=ip, port=25) for ip in (MX1, MX2)]
        self._sent = 0

    def text(self, extra="", **domains):
        """The configuration: `a="…"` is what the `<domain *>` of VirtualMTA a says."""
        vmtas = "".join(
            f"<virtual-mta {name}>\nsmtp-source-host {ip} {name}.sender.example\n"
            f"<domain *>\n{domains.get(name, '')}\n</domain>\n</virtual-mta>\n"
            for name, ip in SOURCES.items()
        )
        return f"""
host-name mta.sender.example
postmaster pm@sender.example
sync-msg-create no
sync-msg-update no
<spool {self.directory}/spool>
</spool>
<acct-file {self.directory}/acct.csv>
records d,b,t,r
</acct-file>
<smtp-listener 10.0.0.1:25>
</smtp-listener>
<source 10.1.0.1>
always-allow-relaying yes
process-x-virtual-mta yes
</source>
{vmtas}
{extra}
<domain b.example>
deliver-local-dsn no
</domain>
"""

    async def send(self, count, domain="one.example", vmta="a", *, rcpts=1):
        letters = []
        for _ in range(count):
            self._sent += 1
            number = str(self._sent)
            letters.append(
                Letter(
                    test_id=number,
                    mail_from="s@b.example",
                    rcpts=tuple(f"u{number}-{n}@{domain}" for n in range(rcpts)),
                    vmta=vmta,
                )
            )
        assert await submit(LISTENER, letters) == letters

    @property
    def journal(self):
        return [received for provider in self.providers for received in provider.journal]

    def sources(self):
        return Counter(received.source_ip for received in self.journal)

    async def delivered(self, count, within_s=DAY):
        arrived = await until(lambda: len(self.journal) >= count, step_s=10, within_s=within_s)
        assert arrived, (len(self.journal), self.said)
        assert len(self.journal) == count

    def waiting(self):
        """Recipients by queue, as the scheduler has them."""
        queues = self.node.shard.scheduler.queues.values()
        return {str(queue.key): queue.recipients for queue in queues if queue.recipients}

    async def wait_for(self, waiting):
        assert await until(lambda: self.waiting() == waiting, step_s=1, within_s=HOUR), (
            self.waiting(),
            self.said,
        )

    async def spooled(self):
        """Recipients by queue, as the spool has them."""
        return {str(q.key): q.recipients for q in await self.node.shard.spool.queues()}

    async def passes(self, seconds):
        await until(lambda: False, step_s=seconds, within_s=seconds)

    async def set_mode(self, queue, mode):
        await self.node.operations.set_mode(QueuePattern.parse(queue), mode)

    def rows(self, kinds="d,b"):
        (piece,) = self.directory.glob("acct*.csv")
        with piece.open(newline="") as file:
            return [row for row in csv.DictReader(file) if row["type"] in kinds.split(",")]


@contextlib.asynccontextmanager
async def world(directory, profile=None):
    some = World(directory, profile or Profile())
    async with contextlib.AsyncExitStack() as stack:
        for provider in some.providers:
            await stack.enter_async_context(provider)
        yield some
        if some.node.is_up:
            await some.node.stop()


async def test_new_mail_is_queued_where_it_is_rerouted_to(tmp_path):
    async with world(tmp_path) as some:
        await some.node.start(some.text(a="reroute-to-virtual-mta b", b="reroute-to-virtual-mta c"))
        await some.send(5)
        await some.delivered(5)
        assert some.sources() == {SOURCES["c"]: 5}
        await some.node.stop()
        assert {(row["queue"], row["vmta"]) for row in some.rows()} == {("one.example/c", "c")}


async def test_what_is_queued_moves_when_a_reload_reroutes_it(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        hold = "retry-recipients-after 1h"
        await some.node.start(some.text(a=hold, b=hold))
        await some.send(12, rcpts=100)
        await some.wait_for({"one.example/a": 1200})
        await some.passes(600)
        some.node.reload(some.text(a=f"{hold}\nreroute-to-virtual-mta b", b=hold))
        await some.wait_for({"one.example/b": 1200})
        assert await some.spooled() == {"one.example/b": 1200}
        await some.delivered(1200)
        assert some.sources() == {SOURCES["b"]: 1200}
        moves = [line for line in some.said if "moved to" in line]
        assert moves == [
            "one.example/a: 1200 recipients moved to one.example/b: reroute-to-virtual-mta"
        ]


async def test_a_paused_queue_holds_what_it_holds(tmp_path):
    async with world(tmp_path) as some:
        await some.node.start(some.text())
        await some.node.operations.pause(QueuePattern.parse("one.example/a"), paused=True)
        await some.send(3)
        some.node.reload(some.text(a="reroute-to-virtual-mta b"))
        await some.passes(HOUR)
        assert some.waiting() == {"one.example/a": 3}
        await some.node.operations.pause(QueuePattern.parse("one.example/a"), paused=False)
        await some.delivered(3)
        assert some.sources() == {SOURCES["b"]: 3}


async def test_backoff_sends_queued_and_new_mail_elsewhere_until_it_ends(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        hold = "retry-recipients-after 1h"
        await some.node.start(some.text(a=f"{hold}\nbackoff-reroute-to-virtual-mta b", b=hold))
        await some.send(10)
        await some.wait_for({"one.example/a": 10})
        await some.passes(60)
        await some.set_mode("one.example/a", "backoff")
        await some.wait_for({"one.example/b": 10})
        await some.send(5)
        assert some.waiting() == {"one.example/b": 15}
        await some.set_mode("one.example/a", "normal")
        await some.send(2)
        assert some.waiting() == {"one.example/a": 2, "one.example/b": 15}
        await some.delivered(17)
        assert some.sources() == {SOURCES["a"]: 2, SOURCES["b"]: 15}


async def test_two_in_backoff_that_point_at_each_other_do_not_spin(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        text = some.text(
            a="retry-recipients-after 1h\nbackoff-reroute-to-virtual-mta b",
            b="retry-recipients-after 1h\nbackoff-reroute-to-virtual-mta a",
        )
        await some.node.start(text)
        await some.send(4)
        await some.wait_for({"one.example/a": 4})
        await some.set_mode("one.example/b", "backoff")
        await some.set_mode("one.example/a", "backoff")
        await some.passes(600)
        assert some.waiting() == {"one.example/a": 4}
        told = sorted(line for line in some.said if "comes back" in line)
        assert len(told) == 2
        assert told[0] == (
            "error: backoff-reroute-to-virtual-mta of one.example/a (sim.conf:21) comes back to "
            "where it begins; it is ignored, and the mail stays"
        )
        # The one leaves backoff: it takes what the other holds.
        await some.set_mode("one.example/b", "normal")
        await some.wait_for({"one.example/b": 4})
        await some.delivered(4)


async def test_domains_of_the_same_hosts_share_a_queue(tmp_path):
    async with world(tmp_path) as some:
        some.zone.add("other.example", "MX", "10 mx1.p.example.")
        rollup = "<mx-rollup-list>\nmx mx1.p.example p.rollup\nmx mx2.p.example p.rollup\n"
        await some.node.start(some.text(f"{rollup}</mx-rollup-list>"))
        for domain in ("one.example", "two.example", "other.example"):
            await some.send(3, domain)
        await some.delivered(9)
        for domain in ("one.example", "two.example", "other.example"):
            await some.send(1, domain)
        await some.delivered(12)
        await some.node.stop()
        assert Counter(row["queue"] for row in some.rows()) == {
            "p.rollup/a": 8,
            "other.example/a": 4,
        }
        # The second time the answer was known, and the mail went there at once.
        assert len([line for line in some.said if "moved to p.rollup/a" in line]) == 2


async def test_mail_of_a_rollup_queue_that_is_gone_goes_home(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        rollup = "<mx-rollup-list>\nmx mx1.p.example p.rollup\n</mx-rollup-list>"
        hold = "retry-recipients-after 1h"
        await some.node.start(some.text(rollup, a=hold))
        await some.send(3, "one.example")
        await some.send(2, "two.example")
        await some.wait_for({"p.rollup/a": 5})
        await some.passes(60)
        some.node.reload(some.text(a=hold))
        await some.wait_for({"one.example/a": 3, "two.example/a": 2})
        await some.delivered(5)


async def test_dns_that_fails_holds_no_mail_of_a_domain_that_may_be_rolled_up(tmp_path):
    async with world(tmp_path) as some:
        rollup = "<mx-rollup-list>\nmx mx1.p.example p.rollup\n</mx-rollup-list>"
        await some.node.start(some.text(rollup, a="retry-after-dns-error 5m"))
        some.zone.failing.add("one.example")
        await some.send(2)
        await some.passes(HOUR)
        assert some.waiting() == {"one.example/a": 2}
        some.zone.failing.clear()
        await some.delivered(2, within_s=HOUR)
        await some.node.stop()
        assert {row["queue"] for row in some.rows()} == {"p.rollup/a"}


async def test_rollup_by_ip_joins_who_shares_addresses(tmp_path):
    async with world(tmp_path) as some:
        for name, ips in {
            "n1": [MX1, MX2], "n2": [MX2], "n3": ["198.51.100.9"],
        }.items():  # fmt: skip
            some.zone.add(f"{name}.example", "MX", f"10 {name}.out.example.")
            some.zone.add(f"{name}.out.example", "A", *ips)
        some.zone.add("vanity.example", "MX", "10 mx.vanity.example.")
        some.zone.add("mx.vanity.example", "A", MX1)
        rollup = "<mx-rollup-list>\nmx *.out.example out.rollup rollup-by-ip\n</mx-rollup-list>"
        await some.node.start(some.text(rollup))
        for name in ("n1", "n2", "vanity", "n3"):
            await some.send(1, f"{name}.example")
            await some.passes(60)
        await some.delivered(3)
        assert some.waiting() == {"n3.example/a": 1}
        await some.node.stop()
        assert Counter(row["queue"] for row in some.rows()) == {"out.rollup/a": 3}


async def test_cold_virtual_mtas_take_their_share_each_day_and_restarts_change_nothing(tmp_path):
    async with world(tmp_path) as some:
        cold = "<virtual-mta a>\ncold-virtual-mta b\ncold-virtual-mta c\n</virtual-mta>"
        text = some.text(cold, a="max-cold-virtual-mta-msg 1/day,2/day,3/day")
        per_day = []
        await some.node.start(text)
        for _ in range(4):
            before = some.sources()
            await some.send(5)
            await some.node.stop()
            await some.node.start(text)
            await some.send(5)
            await until(lambda: not some.waiting(), step_s=10, within_s=HOUR)
            per_day.append(some.sources() - before)
            await some.passes(DAY)
        await some.delivered(40)
        a, b, c = SOURCES.values()
        assert per_day == [
            {a: 8, b: 1, c: 1},
            {a: 6, b: 2, c: 2},
            {a: 4, b: 3, c: 3},
            {a: 4, b: 3, c: 3},
        ]


async def test_the_limit_of_a_cold_virtual_mta_is_that_of_the_rollup_queue(tmp_path):
    async with world(tmp_path) as some:
        extra = "<virtual-mta a>\ncold-virtual-mta b\n<domain p.rollup>\n"
        extra += "max-cold-virtual-mta-msg 3/d\n</domain>\n</virtual-mta>\n"
        extra += "<mx-rollup-list>\nmx mx1.p.example p.rollup\n</mx-rollup-list>"
        await some.node.start(some.text(extra, a="max-cold-virtual-mta-msg 100/d"))
        rollups = some.node.shard.rollups
        for domain in ("one.example", "two.example"):
            await rollups.look_up(domain, again_after=60)
        for domain in ("one.example", "two.example"):
            await some.send(4, domain)
        await some.delivered(8)
        assert some.sources() == {SOURCES["a"]: 5, SOURCES["b"]: 3}


async def test_a_restart_finds_mail_where_it_was_moved_to(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        hold = "retry-recipients-after 2h"
        await some.node.start(some.text(a=hold, b=hold))
        await some.send(20)
        await some.wait_for({"one.example/a": 20})
        await some.passes(60)
        some.node.reload(some.text(a=f"{hold}\nreroute-to-virtual-mta b", b=hold))
        await some.wait_for({"one.example/b": 20})
        await some.node.stop()
        await some.node.start(some.text(a=hold, b=hold))
        assert some.waiting() == {"one.example/b": 20}
        await some.delivered(20)


async def test_mail_of_a_virtual_mta_that_is_removed_bounces_when_its_rest_is_over(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        await some.node.start(some.text(c="retry-recipients-after 1h"))
        await some.send(3, vmta="c")
        await some.wait_for({"one.example/c": 3})
        await some.passes(60)
        start = some.text().index("<virtual-mta c>")
        end = some.text().index("</virtual-mta>", start) + len("</virtual-mta>")
        some.node.reload(some.text()[:start] + some.text()[end:])
        assert await until(lambda: not some.waiting(), step_s=60, within_s=2 * HOUR)
        await some.node.stop()
        rows = some.rows("b")
        assert len(rows) == 3
        assert all(row["dsnStatus"].startswith("5.3.5") for row in rows)
        assert some.journal == []


async def explained(some, queue):
    answer = await some.node.operations.explain_queue(QueueKey.parse(queue))
    return answer, [line for line in explanation(answer) if line]


async def test_explain_says_where_mail_goes_by_which_line(tmp_path):
    async with world(tmp_path) as some:
        extra = "<virtual-mta a>\ncold-virtual-mta c\n</virtual-mta>\n"
        extra += "<mx-rollup-list>\nmx mx1.p.example p.rollup\n</mx-rollup-list>"
        text = some.text(
            extra, a="max-cold-virtual-mta-msg 1/d,2/d", b="backoff-reroute-to-virtual-mta c"
        )
        await some.node.start(text)
        lines = text.splitlines()

        def place(what):
            return f"sim.conf:{lines.index(what) + 1}"

        answer, told = await explained(some, "one.example/a")
        assert (
            f"Goes to     p.rollup/a: mx mx1.p.example ({place('mx mx1.p.example p.rollup')})"
            in told
        )
        assert (
            f"Some go to  p.rollup/c: cold-virtual-mta c ({place('cold-virtual-mta c')}): 0 of 1 "
            "messages today, 1 left; day 1 of max-cold-virtual-mta-msg 1/d,2/d "
            f"({place('max-cold-virtual-mta-msg 1/d,2/d')})"
        ) in told
        assert answer.hosts == (f"mx1.p.example ({MX1})",)
        some.node.shard.scheduler.queue(QueueKey("two.example", "b"), 0.0)
        await some.set_mode("two.example/b", "backoff")
        _, told = await explained(some, "two.example/b")
        assert told[1:3] == [
            f"Goes to     p.rollup/b: mx mx1.p.example ({place('mx mx1.p.example p.rollup')})",
            "Recipients  0 waiting, 0 due, 0 in flight; 0.0 kbytes; 0 connections",
        ]
        await some.set_mode("p.rollup/b", "backoff")
        _, told = await explained(some, "two.example/b")
        where = place("backoff-reroute-to-virtual-mta c")
        assert told[2] == f"then to     p.rollup/c: backoff-reroute-to-virtual-mta c ({where})"


async def test_explain_says_what_is_ignored_and_what_is_gone(tmp_path):
    async with world(tmp_path, Profile(greylist_tries=1)) as some:
        await some.node.start(some.text(a="reroute-to-virtual-mta b", b="reroute-to-virtual-mta a"))
        _, told = await explained(some, "one.example/a")
        assert told[1] == (
            "But         reroute-to-virtual-mta b (sim.conf:20): ignored: from there mail for "
            "one.example/a would come back"
        )
        await some.send(1, vmta="c")
        await some.wait_for({"one.example/c": 1})
        text = some.text()
        some.node.reload(text[: text.index("<virtual-mta c>")])
        _, told = await explained(some, "one.example/c")
        assert told[1].startswith("But         virtual-mta c: it is not in the configuration any")


async def test_a_pool_has_cold_virtual_mtas_and_can_be_rerouted_to(tmp_path):
    async with world(tmp_path) as some:
        extra = "<virtual-mta-pool p>\nvirtual-mta b\ncold-virtual-mta c\n</virtual-mta-pool>"
        text = some.text(extra, a="reroute-to-virtual-mta p", b="max-cold-virtual-mta-msg 1/d")
        await some.node.start(text)
        await some.send(2, vmta="b")
        await some.send(1, vmta="a")
        await some.delivered(3)
        _, told = await explained(some, "one.example/b")
        line = text.splitlines().index("cold-virtual-mta c") + 1
        assert told[1].startswith(
            f"Some go to  one.example/c: cold-virtual-mta c (sim.conf:{line}): 1 of 1 messages"
        )
        await some.node.stop()
        found = sorted((row["queue"], row["vmtaPool"]) for row in some.rows())
        assert found == [("one.example/b", ""), ("one.example/b", "p"), ("one.example/c", "")]
