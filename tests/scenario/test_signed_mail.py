"""Mail is signed with RSA in virtual time, too."""

from mta.signing import keys
from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Policy, QueueRules, VmtaRules
from mta.sim.profile import Profile
from mta.sim.provider import Provider
from mta.sim.submitter import Letter, submit
from tests.scenario.small_world import IP, Overheard, small_world


async def test_mail_is_signed_with_rsa(tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(keys.new_key("rsa-1024").pem())
    overheard = Overheard()
    network, zone = small_world("d.example", observer=overheard)
    policy = Policy(
        vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={"d.example": QueueRules()}
    )
    node = Node(tmp_path, network, zone, own=policy.own, say=lambda _: None)
    text = f"domain-key s, b.example, {key}\n<domain *>\ndkim-sign yes\n</domain>\n"
    async with Provider({"*": Profile()}, host=IP, port=25):
        await node.start(policy.text(str(tmp_path)) + text)
        letter = Letter(test_id="1", mail_from="a@b.example", rcpts=("u@d.example",), vmta="vmta1")
        assert await submit(LISTENER, [letter]) == [letter]
        assert await until(lambda: b"QUIT" in overheard.said, step_s=1, within_s=600)
        await node.stop()
    assert overheard.said.count(b"DKIM-Signature: v=1; a=rsa-sha256;") == 1
