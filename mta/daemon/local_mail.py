"""Mail the daemon writes itself, from its text to its queues.

It takes the road of all mail: routed by the configuration, on disk before it counts, delivered
with retries. A letter leaves with the null sender (RFC 5321 §4.5.5) and asks for no report, so
one that cannot be delivered causes no other; a copy leaves with the sender of what it is a copy
of, whom we do not tell of it either. How many letters there are is for their writers to bound;
here nothing is held back.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime
from typing import TYPE_CHECKING

from mta import clock, ids
from mta.daemon.intake import DISK_FULL
from mta.model.header_field import folded
from mta.model.message import LOCAL, Content, Envelope
from mta.net.spill import MEMORY_OCTETS_MAX, Spill
from mta.smtp.command import RcptParameters
from mta.smtp.plain_text import one_line, wrapped

if TYPE_CHECKING:
    from mta.daemon.intake import Intake
    from mta.model.reply import Reply
    from mta.spool.store import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that is ready to go.

    `content` is canonical: header block and body with CRLF, no NUL, not dot-stuffed.
    """

    recipients: tuple[str, ...]
    content: bytes
    vmta: str = ""
    """The VirtualMTA or pool it goes through; empty to be chosen as for any mail."""
    requires_tls: bool = False
    """REQUIRETLS, as the message that it is about had it (RFC 8689 §5)."""


class LocalMail:
    """Brings letters of one shard to their queues."""

    def __init__(self, intake: "Intake", spool: "Spool") -> None:
        self._intake = intake
        self._spool = spool

    async def write(self, recipients: tuple[str, ...], subject: str, text: str) -> "Reply | None":
        """Send plain text from the postmaster of this host; the answer is that of `submit`."""
        number = self._spool.next_message_id()
        host_name = self._intake.configuration.root.host_name
        content = composed(
            recipients, subject, text, number=number, host_name=host_name, now=clock.now()
        )
        return await self._submit(number, Letter(recipients=recipients, content=content))

    async def submit(self, letter: Letter) -> "Reply | None":
        """None once the letter is on disk and in its queues; else why it is not."""
        return await self._submit(self._spool.next_message_id(), letter)

    async def copy(self, envelope: Envelope, content: bytes, address: str) -> "Reply | None":
        """Send a message to somebody else, too; the answer is that of `submit`.

        It is a message of its own, with the fields that were added to the other one.
        """
        copied = replace(
            envelope,
            message_id=self._spool.next_message_id(),
            time_queued=clock.now(),
            source_type=LOCAL,
            ret="",
            env_id="",
            suppresses_dsn=True,
            is_verp=False,
            vmta_by="",
            refusals={},
            windows=(),
        )
        rcpts = [RcptParameters(address, notify="NEVER")]
        if len(content) <= MEMORY_OCTETS_MAX:
            return await self._intake.submit(copied, content, rcpts, vmta="")
        spill = Spill(self._intake.spill_directory)
        try:
            await asyncio.to_thread(spill.write, content, keep=True)
            kept: Content = spill.content(len(content))
            if spill.is_full:
                return DISK_FULL
            return await self._intake.submit(copied, kept, rcpts, vmta="")
        finally:
            spill.discard()

    async def _submit(self, number: int, letter: Letter) -> "Reply | None":
        content = letter.content
        head_size = content.find(b"\r\n\r\n") + 4
        assert head_size >= 4, "a letter has a header block"
        envelope = Envelope(
            message_id=number,
            mail_from="",
            time_queued=clock.now(),
            size=len(content),
            head_size=head_size,
            has_leading_dot=content.startswith(b".") or b"\n." in content,
            is_8bit=not content.isascii(),
            is_smtputf8=not all(address.isascii() for address in letter.recipients),
            requires_tls=letter.requires_tls,
            source_type=LOCAL,
            source_helo=self._intake.configuration.root.host_name,
            add_received=False,
        )
        rcpts = [RcptParameters(address, notify="NEVER") for address in letter.recipients]
        return await self._intake.submit(envelope, content, rcpts, vmta=letter.vmta)


def composed(
    recipients: Sequence[str],
    subject: str,
    text: str,
    *,
    number: int,
    host_name: str,
    now: float,
) -> bytes:
    """Canonical content with that text; `number` is the id of the message."""
    words = one_line(subject)
    if not words.isascii():
        words = Header(words, "utf-8", header_name="Subject").encode(linesep="\r\n")
    lines = [
        f"Date: {format_datetime(datetime.fromtimestamp(int(now), UTC).astimezone())}",
        f"From: postmaster@{host_name}",
        f"Subject: {words}",
        folded(f"To: {', '.join(recipients)}"),
        f"Message-ID: <{ids.printed(number)}@{host_name}>",
        "Auto-Submitted: auto-generated",  # RFC 3834 §5
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
    ]
    lines += wrapped(text.split("\n"))
    return "".join(f"{one}\r\n" for one in lines).encode()
