"""A peer that breaks off because of one message gets the others all the same."""

import asyncio

from mta.sim.loop import until
from mta.sim.node import Node
from mta.sim.policy import LISTENER, Policy, QueueRules, VmtaRules
from mta.sim.submitter import Letter, submit
from tests.scenario.small_world import IP, small_world

WITHIN_S = 3600.0


class Touchy:
    """Takes mail, but hangs up at a recipient whose name it does not like."""

    def __init__(self, to_data=b"354 go on", to_content=b"250 ok"):
        self.taken = []
        self.connections = 0
        self._to_data = to_data
        self._to_content = to_content

    async def serve(self, reader, writer):
        self.connections += 1
        writer.write(b"220 mx.example ESMTP\r\n")
        rcpt = b""
        try:
            while line := await reader.readline():
                word = line[:4].upper()
                if word == b"RCPT":
                    rcpt = line[8:].strip(b"<>\r\n")
                    if rcpt.startswith(b"bad"):
                        return
                if word == b"QUIT":
                    return
                if word != b"DATA":
                    writer.write(b"250 ok\r\n")
                    continue
                writer.write(self._to_data + b"\r\n")
                if self._to_data.startswith(b"354"):
                    await reader.readuntil(b"\r\n.\r\n")
                    self.taken.append(rcpt)
                    writer.write(self._to_content + b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def run(directory, peer, rcpts, is_over):
    """Have mail for these recipients delivered to the peer, one connection at a time."""
    network, zone = small_world("d.example")
    rules = QueueRules(source_connections=1)
    policy = Policy(vmtas={"vmta1": VmtaRules(ips=("10.0.1.1",))}, domains={"d.example": rules})
    node = Node(directory, network, zone, own=policy.own, say=lambda _: None)
    server = await asyncio.start_server(peer.serve, IP, 25)
    await node.start(policy.text(str(directory)))
    letters = [
        Letter(test_id=rcpt, mail_from="a@b.example", rcpts=(rcpt,), vmta="vmta1") for rcpt in rcpts
    ]
    assert len(await submit(LISTENER, letters)) == len(rcpts)
    found = await until(is_over, step_s=1, within_s=WITHIN_S)
    await node.stop()
    server.close()
    return found


async def test_one_message_a_peer_breaks_off_for_holds_up_no_other(tmp_path):
    peer = Touchy()
    rcpts = ["bad@d.example", *(f"u{number}@d.example" for number in range(5))]
    assert await run(tmp_path, peer, rcpts, lambda: len(peer.taken) == 5)
    assert peer.connections < 10


async def test_a_peer_that_answers_out_of_step_is_tried_as_often_as_one_that_fails(tmp_path):
    peer = Touchy(to_data=b"250 ok")
    assert not await run(tmp_path, peer, ["u@d.example"], lambda: peer.taken)
    assert 2 <= peer.connections < 20


async def test_a_peer_that_answers_content_out_of_step_is_tried_as_often_as_one_that_fails(
    tmp_path,
):
    peer = Touchy(to_content=b"354 go on")
    rcpts = [f"u{number}@d.example" for number in range(20)]
    assert not await run(tmp_path, peer, rcpts, lambda: len(peer.taken) > 20)
    assert 2 <= len(peer.taken) < 20


async def test_what_follows_a_reply_does_not_undo_it(tmp_path):
    peer = Touchy(to_content=b"250 ok\r\nnonsense")
    rcpts = [f"u{number}@d.example" for number in range(3)]
    assert not await run(tmp_path, peer, rcpts, lambda: len(peer.taken) > 3)
    assert sorted(peer.taken) == sorted(rcpt.encode() for rcpt in rcpts)
    assert peer.connections == 3
