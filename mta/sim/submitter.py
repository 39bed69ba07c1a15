"""A client of the daemon in a simulation: what it submitted, and what was answered 250."""

import asyncio
from dataclasses import dataclass

BODY = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit.\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message to submit."""

    test_id: str
    mail_from: str
    rcpts: tuple[str, ...]
    vmta: str = ""
    job_id: str = ""
    size: int = 500
    notify: str = ""


async def submit(address: tuple[str, int], letters: list[Letter]) -> list[Letter]:
    """Send letters over one connection; those answered 250. OSError where it breaks."""
    reader, writer = await asyncio.open_connection(*address)
    accepted = []
    try:
        await _reply(reader)
        await _say(reader, writer, "EHLO app.sender.example")
        for letter in letters:
            code = await _say(reader, writer, f"MAIL FROM:<{letter.mail_from}>")
            notify = f" NOTIFY={letter.notify}" if letter.notify else ""
            for rcpt in letter.rcpts:
                code = max(code, await _say(reader, writer, f"RCPT TO:<{rcpt}>{notify}"))
            if code != 250 or await _say(reader, writer, "DATA") != 354:
                await _say(reader, writer, "RSET")
                continue
            writer.write(content_of(letter) + b".\r\n")
            if await _reply(reader) == 250:
                accepted.append(letter)
        writer.write(b"QUIT\r\n")
    finally:
        writer.close()
    return accepted


def content_of(letter: Letter) -> bytes:
    """All octets of it, as they are between DATA and the dot."""
    lines = [
        f"From: <{letter.mail_from}>",
        f"X-Petrel-Test-Id: {letter.test_id}",
        *([f"X-Virtual-MTA: {letter.vmta}"] if letter.vmta else []),
        *([f"X-Job: {letter.job_id}"] if letter.job_id else []),
        "Subject: a simulation",
        "",
        "",
    ]
    head = "\r\n".join(lines).encode()
    return head + BODY * max(1, (letter.size - len(head)) // len(BODY))


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str) -> int:
    writer.write(f"{line}\r\n".encode())
    return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> int:
    while True:
        line = await reader.readline()
        if not line:
            raise ConnectionResetError("the daemon closed the connection")
        if line[3:4] != b"-":
            return int(line[:3])
