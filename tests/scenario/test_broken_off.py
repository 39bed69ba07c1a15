"""What a stop breaks off in the middle of a transaction hears nothing more from us."""

from mta.daemon.shard import STOP_WITHIN_S
from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Policy, QueueRules, VmtaRules
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from tests.scenario.small_world import IP, Overheard, small_world


async def stopped_after(directory, line):
    """What was said in all to a provider that takes its time, if we stop after that line."""
    overheard = Overheard()
    network, zone = small_world("d.example", observer=overheard)
    policy = Policy(
        vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={"d.example": QueueRules()}
    )
    node = Node(directory, network, zone, own=policy.own, say=lambda _: None)
    slow = {"*": Profile(delay_s=STOP_WITHIN_S + 10, pipelining=False)}
    async with Provider(slow, host=IP, port=25):
        await node.start(policy.text(str(directory)))
        letter = Letter(test_id="1", mail_from="a@b.example", rcpts=("u@d.example",), vmta="vmta1")
        assert await submit(LISTENER, [letter]) == [letter]
        assert await until(lambda: line in overheard.said, step_s=1, within_s=600)
        await node.stop()
    return overheard.said


async def test_a_transaction_that_is_broken_off_ends_without_quit(tmp_path):
    for number, line in enumerate((b"MAIL FROM", b"RCPT TO", b"DATA\r\n", b"\r\n.\r\n")):
        directory = tmp_path / str(number)
        directory.mkdir()
        said = await stopped_after(directory, line)
        assert line in said
        assert b"QUIT" not in said, line


async def test_a_connection_that_gives_way_before_it_began_gives_its_slot_back(tmp_path):
    """Both queues ask in the same moment, and the one that matters less is the first."""
    rules = {"less.example": QueueRules(priority=10), "more.example": QueueRules(priority=90)}
    network, zone = small_world(*rules)
    policy = Policy(total=1, vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains=rules)
    node = Node(tmp_path, network, zone, own=policy.own, say=lambda _: None)
    async with Provider({"*": Profile()}, host=IP, port=25) as provider:
        await node.start(policy.text(str(tmp_path)))
        rcpts = tuple(f"u@{domain}" for domain in rules)
        letter = Letter(test_id="1", mail_from="a@b.example", rcpts=rcpts, vmta="vmta1")
        assert await submit(LISTENER, [letter]) == [letter]
        assert await until(lambda: len(provider.journal) == 2, step_s=1, within_s=600)
        await node.stop()
    assert [received.rcpt for received in provider.journal] == ["u@more.example", "u@less.example"]
