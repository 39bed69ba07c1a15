"""Messages put into a daemon the way software does it: over SMTP."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import aiosmtplib

SENDER = "news@sender.example"


@dataclass(frozen=True)
class Letter:
    """One message to one recipient."""

    rcpt: str
    head: str = ""
    """More header fields, each line ending in CRLF."""
    body: str = "Hello.\r\n"
    mail_from: str = SENDER

    @property
    def content(self) -> bytes:
        fields = f"From: {SENDER}\r\nTo: {self.rcpt}\r\nSubject: a test\r\n{self.head}"
        return f"{fields}\r\n{self.body}".encode()


def letters(count: int, domain: str, head: str = "") -> list[Letter]:
    """Messages to `r0@domain`, `r1@domain` and so on."""
    return [Letter(f"r{number}@{domain}", head) for number in range(count)]


@contextlib.asynccontextmanager
async def client(
    address: tuple[str, int],
    inside: AbstractContextManager[None] | None = None,
    *,
    source: str | None = None,
    timeout: float = 30,
) -> AsyncIterator[aiosmtplib.SMTP]:
    """A connection that has said EHLO, opened in a namespace if one is entered by `inside`."""
    smtp = aiosmtplib.SMTP(
        hostname=address[0],
        port=address[1],
        local_hostname="client.sender.example",
        source_address=(source, 0) if source else None,
        start_tls=False,
        timeout=timeout,
    )
    with inside or nullcontext():
        await smtp.connect()
    try:
        await smtp.ehlo()
        yield smtp
    finally:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await smtp.quit()
        smtp.close()


async def submit(
    address: tuple[str, int],
    messages: Iterable[Letter],
    inside: AbstractContextManager[None] | None = None,
) -> int:
    """Send them all over one connection; how many there were. Any refusal raises."""
    count = 0
    async with client(address, inside) as smtp:
        for letter in messages:
            await smtp.sendmail(letter.mail_from, [letter.rcpt], letter.content)
            count += 1
    return count
