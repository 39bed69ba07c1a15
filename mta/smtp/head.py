"""The header block a message leaves with: our Received field, added fields, fields removed.

The stored content is never copied for it. A `Head` is what is sent instead of the first
`skip` octets of the content; where nothing is removed, `skip` is 0 and the message's own
header block follows as it came. RFC 5321 §4.4, RFC 3848; Guide: add-received-header,
hide-message-source.
"""

import re
from collections.abc import Sequence
from email.header import Header
from typing import NamedTuple

from mta import ids
from mta.model.header_field import field_name, folded
from mta.model.message import Envelope
from mta.model.return_path import verp
from mta.smtp.rewriting import NO_REWRITES, RewriteList, with_domains

PRODUCT = "Petrel"

PATTERNS_MAX = 256
"""Sets of removed names remembered; a few sources have a few each."""

# One whole field with its folded lines, in any case, from the line end before it to before its
# own; the name is filled in. A search for an octet skips what one for `^` stops at.
_FIELD = rb"(?i:\n(?:%s)[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*)"

_HELO = re.compile(r"[\w.:\[\]-]+", re.ASCII)
"""What a client may call itself in our Received field: nothing that has a meaning there."""


class Head(NamedTuple):
    """`octets` go first, then the content from `skip` on."""

    octets: bytes
    skip: int


class HeadRules:
    """What the configuration wants of every header block that leaves through one queue.

    `included` are whole fields that go right below our Received field. `added` are fields
    `Name: value`. A later one replaces an earlier one of its name, and all replace fields of
    their name that the message came with, or got at reception. `removed` are names of fields
    that leave neither as they came nor as they were added at reception.
    """

    __slots__ = (
        "_added", "_hide_received", "_host_name", "_included", "_names", "_not_ours",
        "_patterns", "_received", "_rewrites", "_vmta",
    )  # fmt: skip

    def __init__(
        self,
        *,
        host_name: str,
        added: Sequence[str],
        add_received: bool,
        hide_received: bool,
        included: bytes = b"",
        removed: Sequence[str] = (),
        vmta: str = "",
        rewrites: RewriteList = NO_REWRITES,
    ) -> None:
        names = [name.lower() for name in removed]
        self._host_name = host_name
        self._received = add_received and "received" not in names
        self._hide_received = hide_received
        self._vmta = vmta if vmta.isascii() else Header(vmta, "utf-8").encode(linesep="\r\n")
        self._rewrites = rewrites
        fields = {field_name(field).lower(): folded(field) for field in added}
        self._included = included
        self._added = "".join(f"{field}\r\n" for field in fields.values()).encode()
        self._names = (*fields, *names)
        self._not_ours = _matching(self._names)
        if hide_received:
            self._names += ("received",)
        self._patterns: dict[tuple[str, ...], re.Pattern[bytes] | None] = {}

    def pattern(self, envelope: Envelope) -> re.Pattern[bytes] | None:
        """What matches the fields of this message's own header block that do not stay as they are.

        None if there are none; then `render` needs no header block.
        """
        names = envelope.remove_fields
        if self._rewrites.domains or envelope.from_domains:
            names = (*names, "from")
        try:
            return self._patterns[names]
        except KeyError:
            if len(self._patterns) >= PATTERNS_MAX:
                self._patterns.clear()
            pattern = self._patterns[names] = _matching((*self._names, *names))
            return pattern

    def render(
        self, envelope: Envelope, recipient: str, date: str, head: bytes, *, sent: str = ""
    ) -> Head:
        """The header block of one transaction.

        `recipient` is named in the Received field; empty if there are several. `date` is
        the time of reception (RFC 5322 form), `sent` that of delivery. `head` is the
        message's own header block; it may be empty if `pattern` is None.
        """
        octets = self._included
        if self._received and envelope.add_received:
            octets = self._received_field(envelope, recipient, date) + octets
        if envelope.added_fields or envelope.adds_date or envelope.shows_vmta:
            octets += self._ours(envelope, sent)
        octets += self._added
        if octets and not envelope.head_size:
            # Content that begins without a header block is a body as a whole.
            return Head(octets + b"\r\n", 0)
        pattern = self.pattern(envelope)
        if pattern is None:
            return Head(octets, 0)
        lines = b"\n" + head
        if not pattern.search(lines):
            return Head(octets, 0)
        if self._rewrites.domains or envelope.from_domains:
            own = pattern.sub(lambda match: self._edited(match[0], envelope), lines)
        else:
            own = pattern.sub(b"", lines)
        return Head(octets + own[1:], len(head))

    def sender(self, envelope: Envelope, recipient: str) -> str:
        """The sender that the peer is told; `recipient` is the only one if it is in the sender."""
        sender = envelope.mail_from
        if self._rewrites.senders:
            sender = self._rewrites.sender(sender)
        return verp(sender, recipient) if envelope.is_verp and sender else sender

    def _edited(self, matched: bytes, envelope: Envelope) -> bytes:
        """A field that is not sent on, or the From field rewritten; as `_FIELD` matches it."""
        name = matched.partition(b":")[0].strip().lower()
        if name != b"from" or "from" in self._names or "from" in envelope.remove_fields:
            return b""
        by_source, rewrites = envelope.from_domains, self._rewrites
        field = with_domains(
            matched[1:] + b"\n", lambda domain: rewrites.domain(by_source.get(domain, domain))
        )
        return b"\n" + field[:-1]

    def _ours(self, envelope: Envelope, sent: str) -> bytes:
        """What reception decided to add."""
        text = envelope.added_fields
        if envelope.adds_date:
            text += f"Date: {sent}\r\n"
        if envelope.shows_vmta:
            text += f"X-Virtual-MTA: {self._vmta}\r\n"
        octets = text.encode()
        return self._not_ours.sub(b"", b"\n" + octets)[1:] if self._not_ours else octets

    def _received_field(self, envelope: Envelope, recipient: str, date: str) -> bytes:
        source = ""
        if not (self._hide_received or envelope.hide_source) and envelope.source_ip:
            literal = (
                f"IPv6:{envelope.source_ip}" if ":" in envelope.source_ip else envelope.source_ip
            )
            helo = envelope.source_helo if _HELO.fullmatch(envelope.source_helo) else literal
            source = f"from {helo} ([{literal}])\r\n\t"
        addressee = f" for <{recipient}>" if recipient else ""
        return (
            f"Received: {source}by {self._host_name} ({PRODUCT}) with {envelope.with_protocol}"
            f" id {ids.printed(envelope.message_id)}{addressee};\r\n\t{date}\r\n"
        ).encode()


def _matching(names: Sequence[str]) -> re.Pattern[bytes] | None:
    """What matches all fields of some names."""
    alternatives = b"|".join(re.escape(name.encode()) for name in names)
    return re.compile(_FIELD % alternatives) if alternatives else None
