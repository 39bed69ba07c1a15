"""The header block a message leaves with: our Received field, added fields, fields removed.

The stored content is never copied for it. A `Head` is what is sent instead of the first
`skip` octets of the content; where nothing is removed, `skip` is 0 and the message's own
header block follows as it came. RFC 5321 §4.4, RFC 3848; Guide: add-received-header,
hide-message-source.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mta import ids
from mta.model.header_field import field_name
from mta.model.message import Envelope

PRODUCT = "Petrel"

PATTERNS_MAX = 256
"""Sets of removed names remembered; a few sources have a few each."""

# One whole field with its folded lines; the name is filled in, lower or upper case.
_FIELD = rb"(?im:^(?:%s)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)"


class Head(NamedTuple):
    """`octets` go first, then the content from `skip` on."""

    octets: bytes
    skip: int


class HeadRules:
    """What the configuration wants of every header block that leaves through one VMTA.

    `added` are fields `Name: value`. A later one replaces an earlier one of its name, and
    all replace fields of their name that the message came with.
    """

    __slots__ = ("_added", "_hide_received", "_host_name", "_names", "_patterns", "_received")

    def __init__(
        self, *, host_name: str, added: Sequence[str], add_received: bool, hide_received: bool
    ) -> None:
        self._host_name = host_name
        self._received = add_received
        self._hide_received = hide_received
        fields = {field_name(field).lower(): field for field in added}
        self._added = "".join(f"{field}\r\n" for field in fields.values()).encode()
        self._names = (*fields, *(["received"] if hide_received else []))
        self._patterns: dict[tuple[str, ...], re.Pattern[bytes] | None] = {}

    def pattern(self, envelope: Envelope) -> re.Pattern[bytes] | None:
        """What matches the fields to be removed from this message's own header block.

        None if there are none; then `render` needs no header block.
        """
        names = envelope.remove_fields
        try:
            return self._patterns[names]
        except KeyError:
            if len(self._patterns) >= PATTERNS_MAX:
                self._patterns.clear()
            alternatives = b"|".join(re.escape(n.encode()) for n in (*self._names, *names))
            pattern = re.compile(_FIELD % alternatives) if alternatives else None
            self._patterns[names] = pattern
            return pattern

    def render(self, envelope: Envelope, recipient: str, date: str, head: bytes) -> Head:
        """The header block of one transaction.

        `recipient` is named in the Received field; empty if there are several. `date` is
        the time of reception (RFC 5322 form). `head` is the message's own header block;
        it may be empty if `pattern` is None.
        """
        octets = self._added
        if envelope.added_fields:
            octets = envelope.added_fields.encode() + octets
        if self._received and envelope.add_received:
            octets = self._received_field(envelope, recipient, date) + octets
        pattern = self.pattern(envelope)
        if pattern is None or not pattern.search(head):
            return Head(octets, 0)
        return Head(octets + pattern.sub(b"", head), len(head))

    def _received_field(self, envelope: Envelope, recipient: str, date: str) -> bytes:
        source = ""
        if not (self._hide_received or envelope.hide_source) and envelope.source_ip:
            literal = (
                f"IPv6:{envelope.source_ip}" if ":" in envelope.source_ip else envelope.source_ip
            )
            source = f"from {envelope.source_helo or literal} ([{literal}])\r\n\t"
        addressee = f" for <{recipient}>" if recipient else ""
        return (
            f"Received: {source}by {self._host_name} ({PRODUCT}) with {envelope.with_protocol}"
            f" id {ids.printed(envelope.message_id)}{addressee};\r\n\t{date}\r\n"
        ).encode()
