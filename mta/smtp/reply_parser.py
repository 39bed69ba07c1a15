"""Replies out of a stream of octets (RFC 5321 §4.2). Bounded; what is no reply raises."""

import re
from collections.abc import Iterator
from typing import Final

from mta.errors import RemoteProtocolError
from mta.model.reply import Reply

LINE_OCTETS_MAX: Final = 8192
"""RFC 5321 §4.5.3.1.5 allows 512; large providers write longer ones."""
LINES_MAX: Final = 500
TEXT_CHARACTERS_MAX: Final = 8192
"""Of a reply of several lines that is kept: it is in the record of each recipient and attempt."""
KNOWN_MAX: Final = 8
"""Lines a peer has said that need not be read again: to MAIL, RCPT and DATA it says the same."""

_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ReplyParser:
    """Fed with octets in any pieces, gives whole replies."""

    __slots__ = ("_buffer", "_characters", "_code", "_known", "_lines", "_number")

    def __init__(self) -> None:
        self._buffer = b""
        self._known: dict[bytes, Reply] = {}
        self._lines: list[str] = []
        self._code = 0
        self._number = 0
        """Lines of the reply so far, and how many characters they have."""
        self._characters = 0

    def feed(self, octets: bytes) -> Iterator[Reply]:
        """The replies that are now complete; RemoteProtocolError if the peer talks nonsense.

        What comes before the nonsense counts: it may be the reply to a message.
        """
        buffer = self._buffer + octets if self._buffer else octets
        *lines, self._buffer = buffer.split(b"\n")
        known = self._known
        for line in lines:
            reply = known.get(line) if not self._lines else None
            if reply is None:
                reply = self._line(line.removesuffix(b"\r"))
                if reply is None:
                    continue
                if len(known) < KNOWN_MAX and len(reply.lines) == 1:
                    known[line] = reply
            yield reply
        if len(self._buffer) > LINE_OCTETS_MAX:
            raise RemoteProtocolError(f"a reply line of more than {LINE_OCTETS_MAX} octets")

    def _line(self, line: bytes) -> Reply | None:
        match = _LINE.fullmatch(line)
        if match is None or len(line) > LINE_OCTETS_MAX:
            shown = line[:60].decode("ascii", "backslashreplace")
            raise RemoteProtocolError(f"not a reply: {shown!r}")
        code = int(match[1])
        text = (match[3] or b"").decode("utf-8", "replace")
        if not text.isprintable():
            text = _CONTROL.sub(" ", text)
        if match[2] != b"-" and not self._lines:
            return Reply(code, (text,))
        if self._lines and code != self._code:
            raise RemoteProtocolError(f"a reply with two codes, {self._code} and {code}")
        self._code = code
        self._number += 1
        self._characters += len(text)
        if not self._lines or self._characters <= TEXT_CHARACTERS_MAX:
            self._lines.append(text)
        if self._number > LINES_MAX:
            raise RemoteProtocolError(f"a reply of more than {LINES_MAX} lines")
        if match[2] == b"-":
            return None
        lines, self._lines = tuple(self._lines), []
        self._number = self._characters = 0
        return Reply(code, lines)
