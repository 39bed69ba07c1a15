"""A submitter of the benchmarks: what Postfix's smtp-source cannot be, as cheap as Python allows.

Each message has one recipient of its own, in one of many domains by turns. It waits for every
reply, as smtp-source does. It ends when every message is answered 250, and fails if one is not.

    python -m benchmarks.source --port 2525 --messages 1000 [--connections 20] [--size 5120]
                                [--domains 10000] [--reconnects] [--tls]
"""

import argparse
import asyncio
import ssl
import sys
from typing import Final

import uvloop

from benchmarks.machine import allow_many_files

SENDER: Final = b"sender@bench.example"
LINE: Final = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod te\r\n"


class RefusedError(Exception):
    """The server answered otherwise than with what was hoped for."""


class Load:
    """What is left to be sent, and what was answered."""

    def __init__(self, given: argparse.Namespace, done: "asyncio.Future[None]") -> None:
        self.given = given
        self.done = done
        self.context = _context() if given.tls else None
        self._numbers = iter(range(given.messages))
        self._taken = 0

    def next(self) -> tuple[bytes, bytes] | None:
        """A recipient and a content; None when all are under way."""
        number = next(self._numbers, None)
        if number is None:
            return None
        rcpt = b"rcpt%d@d%d.dest.example" % (number, number % self.given.domains)
        head = (
            b"From: Sender <%s>\r\nTo: <%s>\r\nSubject: benchmark\r\nMessage-ID: <%d@bench.example>"
            b"\r\nDate: Mon, 02 Mar 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\r\n"
            % (SENDER, rcpt, number)
        )
        lines = max(1, (self.given.size - len(head)) // len(LINE))
        return rcpt, head + LINE * lines + b".\r\n"

    def taken(self) -> None:
        self._taken += 1
        if self._taken == self.given.messages and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Connection(asyncio.Protocol):
    """One dialogue: each reply decides what is said next."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = b""
        self._state = "greeting"
        self._message: tuple[bytes, bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        while True:
            line, end, rest = data.partition(b"\r\n")
            if not end:
                break
            data = rest
            if line[3:4] != b"-":
                self._replied(line)
        self._buffer = data

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state not in ("quit", "rest"):
            self._load.failed(RefusedError(f"connection lost after {self._state}: {exc}"))

    def _replied(self, line: bytes) -> None:
        if line[:1] not in (b"2", b"3"):
            self._load.failed(RefusedError(f"{self._state}: {line!r}"))
            self._transport.abort()
            return
        match self._state:
            case "greeting":
                self._say("ehlo", b"EHLO bench.example\r\n")
            case "ehlo":
                if self._load.context is not None:
                    self._say("starttls", b"STARTTLS\r\n")
                else:
                    self._next()
            case "starttls":
                self._task = asyncio.get_running_loop().create_task(self._secure())
            case "tls":
                self._next()
            case "mail":
                assert self._message is not None
                self._say("rcpt", b"RCPT TO:<%s>\r\n" % self._message[0])
            case "rcpt":
                self._say("data", b"DATA\r\n")
            case "data":
                assert self._message is not None
                self._say("content", self._message[1])
            case "content":
                self._load.taken()
                if self._load.given.reconnects:
                    self._say("quit", b"QUIT\r\n")
                    _connect(self._load)
                else:
                    self._next()
            case "quit":
                self._transport.close()

    def _next(self) -> None:
        self._message = self._load.next()
        if self._message is None:
            self._say("quit", b"QUIT\r\n")
        else:
            self._say("mail", b"MAIL FROM:<%s>\r\n" % SENDER)

    def _say(self, state: str, words: bytes) -> None:
        self._state = state
        self._transport.write(words)

    async def _secure(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._transport = await loop.start_tls(self._transport, self, self._load.context)
        except OSError as error:
            self._load.failed(error)
            return
        self._say("tls", b"EHLO bench.example\r\n")


def _connect(load: Load) -> None:
    def opened(task: "asyncio.Task[object]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            load.failed(RefusedError(f"cannot connect: {error}"))

    loop = asyncio.get_running_loop()
    opening = loop.create_connection(lambda: Connection(load), "127.0.0.1", load.given.port)
    task = loop.create_task(opening)
    task.add_done_callback(opened)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _run(given: argparse.Namespace) -> None:
    load = Load(given, asyncio.get_running_loop().create_future())
    for _ in range(min(given.connections, given.messages)):
        _connect(load)
    await load.done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--size", type=int, default=5120, help="octets")
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--reconnects", action="store_true", help="a connection for each message")
    parser.add_argument("--tls", action="store_true", help="STARTTLS, the certificate unchecked")
    given = parser.parse_args()
    allow_many_files()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(given))
    except RefusedError as error:
        print(f"source: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
