"""The published smuggling probes, over sockets, from a client to the provider behind us."""

import asyncio
import socket

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.smuggling import FALSE_ENDS, probe

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

ENVELOPE = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<kim@d.example>\r\nDATA\r\n"


def told(address, content):
    """The reply codes to one message on a connection of its own."""
    with socket.create_connection(address, timeout=20) as peer:
        file = peer.makefile("rb")
        file.readline()
        peer.sendall(b"EHLO c.example\r\n" + ENVELOPE)
        lines = []
        while not lines or not lines[-1].startswith((b"354", b"5")):
            lines.append(file.readline())
        peer.sendall(content + b"QUIT\r\n")
        return [int(line[:3]) for line in file]


async def test_no_probe_becomes_two_messages(tmp_path):
    async with Provider() as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top="<source 127.0.0.1>\nalways-allow-relaying yes\n</source>")
        async with loopback.running():
            accepted = 0
            for false_end in FALSE_ENDS:
                codes = await asyncio.to_thread(told, loopback.address, probe(false_end))
                assert codes in ([250, 221], [554, 221]), false_end
                accepted += codes[0] == 250
            await until(lambda: len(loopback.rows("d")) == accepted, 30, loopback.told)
    assert accepted > 0
    assert len(provider.journal) == accepted
    assert {received.rcpt for received in provider.journal} == {"kim@d.example"}
    assert {received.mail_from for received in provider.journal} == {"a@sender.example"}
