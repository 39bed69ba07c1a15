"""Load: many messages over kept-open connections, and exactly which were answered 250."""

import asyncio
import itertools
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

DOMAINS: Final = ("one.example", "flaky.example", "greylist.example", "corp.example")
SIZE: Final = 1000
REPLY_S: Final = 30.0


@dataclass(slots=True)
class Injected:
    """What the server said."""

    accepted: list[str] = field(default_factory=list)
    """Test ids of messages answered 250."""
    refused: int = 0
    """Messages answered otherwise."""
    broken: int = 0
    """Messages whose answer never came."""


async def inject(
    host: str,
    port: int,
    *,
    messages: int,
    connections: int = 10,
    size: int = SIZE,
    domains: Sequence[str] = DOMAINS,
    sender: str = "load@sender.example",
    on_accepted: Callable[[str], None] | None = None,
) -> Injected:
    """Submit messages, each to one recipient with an X-Petrel-Test-Id of its own.

    Returns early, with what was answered, when the server goes away.
    """
    injected = Injected()
    numbers = iter(range(messages))
    run = uuid.uuid4().hex[:12]
    turn = itertools.cycle(domains)
    body = (
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do.\r\n" * (size // 66)
    ).encode()

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await _reply(reader)
            writer.write(b"EHLO load.sender.example\r\n")
            await _reply(reader)
            for number in numbers:
                test_id = f"{run}-{number}"
                rcpt = f"user{number}@{next(turn)}"
                injected.broken += 1
                code = await _submit(reader, writer, sender, rcpt, test_id, body)
                injected.broken -= 1
                if code == 250:
                    injected.accepted.append(test_id)
                    if on_accepted is not None:
                        on_accepted(test_id)
                else:
                    injected.refused += 1
            writer.write(b"QUIT\r\n")
        finally:
            writer.close()

    await asyncio.gather(
        *(one_connection() for _ in range(min(connections, messages))), return_exceptions=True
    )
    return injected


async def _submit(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    sender: str,
    rcpt: str,
    test_id: str,
    body: bytes,
) -> int:
    """One message, its commands pipelined; the code that decided."""
    writer.write(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{rcpt}>\r\nDATA\r\n".encode())
    codes = [await _reply(reader) for _ in range(3)]
    if codes[2] != 354:
        return codes[2]
    head = (
        f"From: <{sender}>\r\nTo: <{rcpt}>\r\nSubject: load\r\nX-Petrel-Test-Id: {test_id}\r\n\r\n"
    )
    writer.write(head.encode() + body + b".\r\n")
    return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(REPLY_S):
        while True:
            line = await reader.readline()
            if not line:
                raise ConnectionResetError
            if line[3:4] != b"-":
                return int(line[:3])
