"""A provider of the benchmarks: what Postfix's smtp-sink cannot be, as cheap as Python allows.

It answers at once or after a while, defers and refuses a share of the recipients, wants
STARTTLS if it has a certificate, and says how much came when. It ends when it has answered for
so many recipients for the first time. Notifications, which have no sender, are taken and not
counted.

    python -m benchmarks.sink --port 2626 --messages 1000 [--delay-ms 50] [--defers 0.05]
                              [--refuses 0.01] [--certificate FILE] [--arrivals FILE]
"""

import argparse
import asyncio
import collections
import random
import signal
import ssl
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import uvloop

TICK_S: Final = 1.0
"""What one line of the file of arrivals covers."""
END: Final = b"\r\n.\r\n"
TAKEN, DEFERRED, REFUSED = b"250 2.1.5 ok", b"450 4.2.1 not now", b"550 5.1.1 nobody of that name"


@dataclass
class Behaviour:
    """What is the same for all connections, and what they count together."""

    delay_s: float
    defers: float
    refuses: float
    context: ssl.SSLContext | None
    messages_max: int
    done: asyncio.Event
    dice: random.Random
    answered: int = 0
    """Recipients that have had their first answer."""
    taken: int = 0
    last: float = 0.0
    gap_s: float = 0.0
    """The longest time without a message since the last tick."""
    deferred: set[bytes] = field(default_factory=set)

    def rcpt(self, address: bytes) -> bytes:
        """The answer to a recipient; one that was deferred once is taken."""
        if address in self.deferred:
            return TAKEN
        roll = self.dice.random() if self.defers or self.refuses else 1.0
        if roll < self.defers:
            self.deferred.add(address)
            self.count()
            return DEFERRED
        if roll < self.defers + self.refuses:
            self.count()
            return REFUSED
        return TAKEN

    def take(self) -> None:
        now = time.monotonic()
        if self.taken:
            self.gap_s = max(self.gap_s, now - self.last)
        self.last = now
        self.taken += 1

    def count(self) -> None:
        self.answered += 1
        if self.answered >= self.messages_max:
            self.done.set()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._buffer = b""
        self._content = False
        self._tail = b""
        self._sender = self._rcpt = b""
        self._rcpts: list[bytes] = []
        self._later: collections.deque[bytes] = collections.deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if transport.get_extra_info("ssl_object") is None:
            self._say(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        replies = []
        data = self._buffer + data
        self._buffer = b""
        while data:
            if self._content:
                seen = self._tail + data
                at = seen.find(END)
                if at < 0:
                    self._tail = seen[-4:]
                    break
                data = seen[at + len(END) :]
                self._content = False
                self._taken()
                replies.append(b"250 2.0.0 ok\r\n")
                continue
            line, end, data = data.partition(b"\r\n")
            if not end:
                self._buffer = line
                break
            replies.append(self._answer(line))
        if replies:
            self._say(b"".join(replies))

    def _taken(self) -> None:
        if self._sender == b"<>":
            return
        self._behaviour.take()
        for rcpt in self._rcpts:
            if rcpt in self._behaviour.deferred:
                self._behaviour.deferred.discard(rcpt)
            else:
                self._behaviour.count()

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                tls = self._behaviour.context and not self._transport.get_extra_info("ssl_object")
                more = b"250-STARTTLS\r\n" if tls else b""
                return (
                    b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n"
                    b"250-ENHANCEDSTATUSCODES\r\n" + more + b"250 SIZE 100000000\r\n"
                )
            case b"MAIL":
                if self._behaviour.context and not self._transport.get_extra_info("ssl_object"):
                    return b"530 5.7.0 only over TLS\r\n"
                self._sender = line[10:].partition(b" ")[0].strip()
                self._rcpts = []
                return b"250 2.1.0 ok\r\n"
            case b"RCPT":
                address = line[8:].partition(b" ")[0].strip()
                said = TAKEN if self._sender == b"<>" else self._behaviour.rcpt(address)
                if said is TAKEN:
                    self._rcpts.append(address)
                return said + b"\r\n"
            case b"DATA":
                if not self._rcpts:
                    return b"554 5.5.1 no valid recipients\r\n"
                self._content = True
                self._tail = b"\r\n"
                return b"354 go on\r\n"
            case b"STAR":
                self._transport.pause_reading()
                self._task = asyncio.get_running_loop().create_task(self._secure())
                return b"220 2.0.0 go ahead\r\n"
            case b"QUIT":
                asyncio.get_running_loop().call_later(
                    self._behaviour.delay_s + 0.01, self._transport.close
                )
                return b"221 2.0.0 bye\r\n"
            case _:
                return b"250 2.0.0 ok\r\n"

    def _say(self, replies: bytes) -> None:
        """Calls that are due after the same delay are made in their order."""
        if self._behaviour.delay_s:
            loop = asyncio.get_running_loop()
            loop.call_later(self._behaviour.delay_s, self._transport.write, replies)
        else:
            self._transport.write(replies)

    async def _secure(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._behaviour.delay_s)
        try:
            self._transport = await loop.start_tls(
                self._transport, self, self._behaviour.context, server_side=True
            )
        except OSError:
            self._transport.abort()


async def _tell(behaviour: Behaviour, file: IO[str]) -> None:
    """A line a second: when, messages in it, and the longest time without one in milliseconds."""
    before = 0
    while True:
        await asyncio.sleep(TICK_S)
        now = time.monotonic()
        waiting = now - behaviour.last if behaviour.taken else 0.0
        gap = max(behaviour.gap_s, waiting)
        file.write(f"{now:.2f} {behaviour.taken - before} {gap * 1e3:.0f}\n")
        file.flush()
        before, behaviour.gap_s = behaviour.taken, 0.0


async def _serve(given: argparse.Namespace) -> None:
    context = None
    if given.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.certificate)
    behaviour = Behaviour(
        given.delay_ms / 1e3, given.defers, given.refuses, context, given.messages,
        asyncio.Event(), random.Random(1),
    )  # fmt: skip
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, behaviour.done.set)
    server = await loop.create_server(
        lambda: Connection(behaviour), "127.0.0.1", given.port, backlog=4096
    )
    async with server:
        if given.arrivals:
            with given.arrivals.open("w") as file:
                told = asyncio.create_task(_tell(behaviour, file))
                await behaviour.done.wait()
                told.cancel()
        else:
            await behaviour.done.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, default=sys.maxsize, help="then it ends")
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--defers", type=float, default=0.0, help="share of the recipients")
    parser.add_argument("--refuses", type=float, default=0.0, help="share of the recipients")
    parser.add_argument("--certificate", help="PEM file with its key: wants STARTTLS")
    parser.add_argument("--arrivals", type=Path, help="where to say how much came when")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
