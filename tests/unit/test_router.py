"""Which queue new mail goes into, and what is counted on the way."""

import asyncio

from mta.daemon.rollups import Rollups
from mta.daemon.router import Router
from mta.model.queue_key import QueueKey
from mta.net.resolver import Resolver
from mta.routing.cold import ColdCounts
from mta.settings.kinds import ROLLUP_RULE
from tests.texts import configured

WARM = (
    "<virtual-mta w>\ncold-virtual-mta c\ncold-virtual-mta w\n<domain *>\n"
    "max-cold-virtual-mta-msg 7/d\n</domain>\n</virtual-mta>\n<virtual-mta c>\n</virtual-mta>\n"
)


class FakeSpool:
    def __init__(self):
        self.saved = []

    def save_cold(self, count):
        self.saved.append(count)
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        return future


def router(text, spool=None, **shards):
    some = Router(spool or FakeSpool(), ColdCounts(), lambda _: False, print, **shards)
    some.follow(configured(text), Rollups(Resolver()))
    return some


def test_a_configuration_that_sends_nothing_elsewhere_is_not_asked():
    assert not router(
        "<domain *>\nmax-cold-virtual-mta-msg 7/d\nmax-smtp-out 3\n</domain>\n"
    ).is_used
    for line in ("queue-to x.com", "reroute-to-virtual-mta {default}", "smtp-hosts a.com"):
        expected = not line.startswith("smtp-hosts")
        assert router(f"<domain *>\n{line}\n</domain>\n").is_used is expected
    assert router("reroute-to-virtual-mta {default}\n").is_used
    assert router(WARM).is_used


async def test_a_message_is_counted_once_however_many_recipients_it_has():
    spool = FakeSpool()
    some = router(WARM, spool)
    diverted = {}
    key = QueueKey("x.com", "w")
    assert [some.end(key, "", diverted)[0].vmta for _ in range(3)] == ["c"] * 3
    assert [count.messages for count in spool.saved] == [1]
    assert [some.end(key, "p", {}) for _ in range(7)][-1] == (key, "p")
    assert [count.messages for count in spool.saved] == [1, 2, 3, 4, 5, 6, 7]


async def test_mail_that_did_not_come_over_smtp_is_not_diverted():
    assert router(WARM).end(QueueKey("x.com", "w"), "", None)[0].vmta == "w"


async def test_several_shards_together_let_no_more_through():
    taken = 0
    for shard in range(3):
        some = router(WARM, shard=shard, shards=3)
        ends = [some.end(QueueKey("x.com", "w"), "", {})[0].vmta for _ in range(9)]
        taken += ends.count("c")
    assert taken == 7


def test_with_several_shards_no_queue_borrows_hosts():
    rules = [
        ROLLUP_RULE.parse(line) for line in ("*.a.com a.rollup rollup-by-ip", "m.b.com b.rollup")
    ]
    assert Rollups(Resolver(), rules).list.queue("a.rollup")
    rolled = Rollups(Resolver(), rules, shards=2).list
    assert rolled.queue("a.rollup") is None
    assert rolled.queue("b.rollup")
