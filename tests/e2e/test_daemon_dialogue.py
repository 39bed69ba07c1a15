"""However a client cuts its commands into segments, it gets the same answers."""

import asyncio
import re
import signal
import socket

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 30
DIALOGUE = [
    b"EHLO a.example\r\n",
    b"NOOP\r\n",
    b"RCPT TO:<early@example.com>\r\n",
    b"MAIL FROM:<a@example.com>\r\n",
    b"MAIL FROM:<again@example.com>\r\n",
    b"RCPT TO:<b@example.com>\r\n",
    b"RCPT TO:<broken\r\n",
    b"DATA\r\n",
    b"Subject: one\r\n\r\nbody\r\n.\r\n",
    b"RSET\r\n",
    b"WHAT\r\n",
    b"mail from:<a@example.com>\r\n",
    b"rcpt to:<c@example.com>\r\n",
    b"data\r\n",
    b"Subject: two\r\n\r\n..body\r\n.\r\n",
    b"QUIT\r\n",
]


@pytest.fixture
async def loopback(tmp_path):
    async with Provider() as provider:
        opened = Loopback(tmp_path, provider.port)
        opened.provider = provider
        async with opened.running():
            yield opened


def converse(address, segments, *, waits):
    """Everything answered; with `waits` each segment goes after the answer to the one before."""
    said = b""
    with socket.create_connection(address, timeout=WAIT_S) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said += peer.recv(4096)
        for segment in segments:
            peer.sendall(segment)
            if waits:
                said += peer.recv(4096)
        while octets := peer.recv(4096):
            said += octets
    return re.sub(rb"id \w+", b"id", said)


def codes(said):
    return re.findall(r"^(\d{3}) ", said.decode(), re.MULTILINE)


async def test_segments_make_no_difference(loopback):
    whole = b"".join(DIALOGUE)
    one_by_one = await asyncio.to_thread(converse, loopback.address, DIALOGUE, waits=True)
    assert codes(one_by_one) == [
        "220", "250", "250", "503", "250", "503", "250", "501", "354", "250", "250", "502", "250",
        "250", "354", "250", "221",
    ]  # fmt: skip
    for segments in (
        [whole],
        [whole[at : at + 1] for at in range(len(whole))],
        [whole[at : at + 7] for at in range(0, len(whole), 7)],
        [b"".join(DIALOGUE[at : at + 2]) for at in range(0, len(DIALOGUE), 2)],
    ):
        said = await asyncio.to_thread(converse, loopback.address, segments, waits=False)
        assert said == one_by_one
    await until(lambda: len(loopback.provider.journal) == 10, WAIT_S, loopback.told)


async def test_too_many_errors_end_the_connection(loopback):
    nonsense = [b"RCPT TO:<b@example.com>\r\n"] * 200
    segments = [b"EHLO a.example\r\n", b"".join(nonsense)]
    said = codes(await asyncio.to_thread(converse, loopback.address, segments, waits=False))
    assert said[-1] == "421"
    assert len(said) < 100

    def one_by_one():
        with socket.create_connection(loopback.address, timeout=WAIT_S) as peer:
            said = peer.recv(4096)
            while not said.startswith(b"421"):
                peer.sendall(nonsense[0])
                said = peer.recv(4096)
            return peer.recv(4096)

    assert await asyncio.to_thread(one_by_one) == b""


async def test_a_stop_tells_a_client_between_messages(loopback):
    with socket.create_connection(loopback.address, timeout=WAIT_S) as peer:
        await asyncio.to_thread(peer.recv, 4096)
        for line in (b"EHLO a.example\r\n", b"MAIL FROM:<a@example.com>\r\n", b"RSET\r\n"):
            peer.sendall(line)
            await asyncio.to_thread(peer.recv, 4096)
        loopback.daemon.signal(signal.SIGTERM)
        assert (await asyncio.to_thread(peer.recv, 4096)).startswith(b"421 ")
    assert await loopback.daemon.ended() == 0


async def test_a_client_that_talks_and_never_reads_is_cut_off(loopback):
    segment = b"NOOP\r\n" * 1000
    before = loopback.daemon.resident_octets()

    def talk():
        with socket.create_connection(loopback.address, timeout=WAIT_S) as peer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(100_000_000 // len(segment)):
                peer.sendall(segment)

    with pytest.raises(ConnectionError):
        await asyncio.to_thread(talk)
    assert loopback.daemon.resident_octets() - before < 100 << 20
