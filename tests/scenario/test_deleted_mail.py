"""What an operator deletes has one outcome, whatever happens to it in the same moment."""

import asyncio
import csv

import pytest

from mta.admin.operations import RecipientFilter
from mta.admin.pattern import QueuePattern
from mta.daemon import giving_up, operations
from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Policy, QueueRules, VmtaRules
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from tests.scenario.small_world import IP, small_world

ALL = RecipientFilter(queue=QueuePattern.parse("*/*"))


@pytest.fixture
async def node(tmp_path):
    network, zone = small_world("d.example", "e.example")
    policy = Policy(
        vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={"d.example": QueueRules()}
    )
    made = Node(tmp_path, network, zone, own=policy.own, say=lambda _: None)
    async with Provider({"*": Profile()}, host=IP, port=25) as made.provider:
        await made.start(policy.text(str(tmp_path)))
        yield made


async def arrives(count):
    rcpts = tuple(f"u{number}@d.example" for number in range(count))
    letter = Letter(test_id="1", mail_from="a@b.example", rcpts=rcpts, vmta="vmta1")
    assert await submit(LISTENER, [letter]) == [letter]


def outcomes(directory):
    """Type and recipient of each row."""
    text = "".join(path.read_text() for path in sorted(directory.glob("acct*.csv")))
    rows = csv.DictReader(text.splitlines())
    return sorted((row["type"], row["rcpt"]) for row in rows if row["type"] in ("d", "b"))


async def test_a_queue_that_comes_about_during_a_delete_is_not_deleted_behind_its_delivery(
    node, tmp_path, monkeypatch
):
    find = node.shard.spool.find

    async def found_late(query, limit):
        """The first answer is old when it arrives: what it names is delivered."""
        if not node.provider.journal:
            await arrives(3)
            found = await find(query, limit)
            assert await until(lambda: len(node.provider.journal) == 3, step_s=0.1, within_s=60)
            return found
        return await find(query, limit)

    monkeypatch.setattr(node.shard.spool, "find", found_late)
    changed = await node.operations.delete(ALL, dsn=False, accounting=True)
    await node.stop()
    assert changed.count == 0
    assert outcomes(tmp_path) == [("d", f"u{number}@d.example") for number in range(3)]


@pytest.mark.parametrize("frozen_max", [0, 1000])
async def test_two_that_delete_the_same_account_for_it_once(
    node, tmp_path, monkeypatch, frozen_max
):
    monkeypatch.setattr(operations, "FROZEN_MAX", frozen_max)
    await node.operations.pause(QueuePattern.parse("d.example/*"), paused=True)
    await arrives(3)
    changed = await asyncio.gather(
        *(node.operations.delete(ALL, dsn=False, accounting=True) for _ in range(2))
    )
    await node.stop()
    assert sum(one.count for one in changed) == 3
    assert outcomes(tmp_path) == [("b", f"u{number}@d.example") for number in range(3)]


async def test_a_delete_among_many_queues_freezes_those_that_hold_what_it_is_about(
    node, tmp_path, monkeypatch
):
    """Each queue that was frozen reads its mail again."""
    await arrives(3)
    letter = Letter(test_id="2", mail_from="a@b.example", rcpts=("x@e.example",), vmta="vmta1")
    assert await submit(LISTENER, [letter]) == [letter]
    frozen = []
    freeze = giving_up.Frozen._freeze

    def noting(self, queue):
        frozen.append(queue.key.domain)
        freeze(self, queue)

    monkeypatch.setattr(operations, "FROZEN_MAX", 1)
    monkeypatch.setattr(giving_up.Frozen, "_freeze", noting)
    changed = await node.operations.delete(
        RecipientFilter(address="x@*"), dsn=False, accounting=True
    )
    await node.stop()
    assert changed.count == 1
    assert frozen == ["e.example"]
    assert [one for one in outcomes(tmp_path) if one[0] == "b"] == [("b", "x@e.example")]
