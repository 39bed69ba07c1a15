"""Whatever a peer does at whatever stage, mail for it waits, mail for others goes, and it ends.

Each domain has a peer of its own that misbehaves on its first connection, at one stage and in
one way, and from then on takes mail as it should. So all mail arrives, once.
"""

import asyncio
import contextlib
import itertools

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

STAGES = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")
ALL_S = 60.0
RESIDENT_OCTETS_MAX = 400 << 20
"""Far below what all the long lines together would take."""
LONG_OCTETS = 10 << 20


async def stall(writer):
    await writer.wait_closed()


async def reset(writer):
    writer.transport.abort()


async def close_in_a_reply(writer):
    writer.write(b"250-half of a rep")
    writer.close()


async def garbage(writer):
    writer.write(bytes(range(256)) * 16 + b"\r\n")


async def no_such_code(writer):
    writer.write(b"999 what is this\r\n")


async def nul_octets(writer):
    writer.write(b"\x00250 ok\x00\r\n")


async def a_long_line(writer):
    writer.write(b"250 " + b"x" * LONG_OCTETS)
    await writer.wait_closed()


async def endless_lines(writer):
    while not writer.transport.is_closing():
        writer.write(b"250-and so on\r\n" * 1000)
        await asyncio.sleep(0)


async def replies_nobody_asked_for(writer):
    writer.write(b"250 ok\r\n" * 500)


WAYS = (
    stall, reset, close_in_a_reply, garbage, no_such_code, nul_octets, a_long_line,
    endless_lines, replies_nobody_asked_for,
)  # fmt: skip


class Peer:
    """Misbehaves on its first connection, then takes mail."""

    def __init__(self, stage, way):
        self.stage = stage
        self.way = way
        self.domain = f"{stage}.{way.__name__.replace('_', '-')}.example".lower()
        self.connections = 0
        self.taken = 0
        self._writers = []

    async def serve(self, reader, writer):
        self.connections += 1
        self._writers.append(writer)
        is_bad = self.connections == 1
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
            await self._talk(reader, writer, is_bad=is_bad)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def end(self):
        """Nothing is left open, not even what the daemon never read."""
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _talk(self, reader, writer, *, is_bad):
        if is_bad and self.stage == "greeting":
            return await self.way(writer)
        writer.write(b"220 peer.example ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].decode().upper().strip()
            if is_bad and verb == self.stage:
                return await self.way(writer)
            if verb == "QUIT":
                writer.write(b"221 bye\r\n")
                return None
            writer.write(b"354 go on\r\n" if verb == "DATA" else b"250 ok\r\n")
            if verb == "DATA":
                await reader.readuntil(b"\r\n.\r\n")
                if is_bad and self.stage == "content":
                    # The first of them is an answer, and a good one.
                    self.taken += self.way is replies_nobody_asked_for
                    return await self.way(writer)
                self.taken += 1
                writer.write(b"250 taken\r\n")
        return None


async def test_a_peer_that_misbehaves_at_any_stage_harms_only_itself(tmp_path):
    peers = [Peer(stage, way) for stage, way in itertools.product(STAGES, WAYS)]
    async with contextlib.AsyncExitStack() as stack:
        routes = []
        for peer in peers:
            server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, limit=1 << 22)
            stack.callback(server.close)
            stack.push_async_callback(peer.end)
            port = server.sockets[0].getsockname()[1]
            routes.append(f"<domain {peer.domain}>\nsmtp-hosts [127.0.0.1]:{port}\n</domain>")
        loopback = Loopback(tmp_path, 1)
        loopback.configure(
            top="\n".join(routes),
            domain="smtp-greeting-timeout 2s\nsmtp-multiple-line-response-timeout 2s\n"
            "smtp-data-termination-timeout 2s\nconnect-timeout 2s",
        )
        async with loopback.running() as daemon:
            await loopback.submit(*(Letter(f"someone@{peer.domain}") for peer in peers))
            top = 0

            def all_arrived():
                nonlocal top
                top = max(top, daemon.resident_octets())
                return all(peer.taken for peer in peers)

            def who_waits():
                waiting = [peer.domain for peer in peers if not peer.taken]
                return f"{waiting}\n{loopback.told()}"

            await until(all_arrived, ALL_S, who_waits)
            await until(lambda: len(loopback.rows("d")) == len(peers), ALL_S, loopback.told)
            assert 0 < top < RESIDENT_OCTETS_MAX
    assert {peer.domain: peer.taken for peer in peers} == {peer.domain: 1 for peer in peers}
    assert loopback.rows("b") == []
    assert "internal error" not in loopback.told()
