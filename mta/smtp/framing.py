"""Where content ends, and what is in it (RFC 5321 §4.1.1.4, §4.5.2).

Content ends at CRLF.CRLF and nowhere else. It is made canonical as it passes: a dot at the
beginning of a line is taken away, and a CR or LF alone, or a NUL, is noted, as it must never
be passed on. A message that comes in one piece is looked at with a few operations on the
whole of it, not line by line.
"""

import re
from typing import Final

END: Final = b"\r\n.\r\n"
# A regular expression that begins with one octet is several times faster than `find` of two.
_DOT: Final = re.compile(rb"\n\.")
_BARE_CR: Final = re.compile(rb"\r(?!\n)")
NO_LINE_END: Final = bytes(octet for octet in range(256) if octet not in b"\r\n")
LINE_OCTETS_MAX: Final = 1 << 20
"""RFC 5322 allows 998; senders of bad HTML write longer ones. A line is held in memory."""


class ContentFramer:
    """Takes content in any pieces.

    `feed` returns what follows the end once it is there, else None; `take` gives the
    canonical octets of the complete lines so far.
    """

    __slots__ = (
        "_buffer",
        "_is_chunked",
        "_is_start",
        "_is_stuffed",
        "_search_from",
        "_unended",
        "has_bare",
        "has_long",
        "has_nul",
        "is_8bit",
        "leading_dot",
        "octets",
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._search_from = 0
        self._is_start = True
        self._is_stuffed = False
        """Whether some line may begin with a dot."""
        self._is_chunked = False
        self._unended = 0
        """No line ends before it."""
        self.octets = 0
        """Canonical octets given out, and those of a line that grew too long."""
        self.has_bare = False
        """A CR or LF that is no line end."""
        self.has_nul = False
        self.has_long = False
        self.is_8bit = False
        self.leading_dot = False

    @property
    def buffered(self) -> int:
        return len(self._buffer)

    def feed(self, octets: bytes) -> bytes | None:
        """What comes after the end of the content; None if it goes on."""
        buffer = self._buffer
        buffer += octets
        if self._is_start:
            if buffer.startswith(b".\r\n"):
                rest = bytes(buffer[3:])
                buffer.clear()
                return rest
            self._is_start = len(buffer) < 3
        at = self._search_from
        while (dot := _DOT.search(buffer, at)) is not None:
            at = dot.start()
            if at and buffer.startswith(END, at - 1):
                rest = bytes(buffer[at - 1 + len(END) :])
                del buffer[at + 1 :]
                return rest
            if at - 1 + len(END) > len(buffer):
                break
            self._is_stuffed = True
            at += 1
        self._search_from = max(0, len(buffer) - len(END) + 1)
        return None

    def feed_chunk(self, octets: bytes) -> None:
        """Take octets as they are (RFC 3030). A message comes either so or by `feed`."""
        self._is_chunked = True
        self._buffer += octets

    def take_lines(self) -> bytes:
        """Complete lines so far, canonical; a line that grows too long is noted.

        A line end stays while it may begin the end of the content.
        """
        buffer = self._buffer
        end = buffer.rfind(b"\r\n", self._unended)
        if end >= 0 and len(buffer) - end < len(END):
            end = buffer.rfind(b"\r\n", self._unended, end)
        if end < 0:
            if self.has_long or len(buffer) > LINE_OCTETS_MAX:
                # It is refused at its end, and only that is looked for.
                self.has_long = True
                self.octets += max(0, len(buffer) - len(END))
                del buffer[: -len(END)]
                self._search_from = 0
            # What is there need not be looked through for each piece that comes.
            self._unended = max(0, len(buffer) - len(END))
            return b""
        raw = bytes(buffer[: end + 2])
        del buffer[: end + 2]
        self._search_from = self._unended = 0
        return self._canonical(raw)

    def take_rest(self) -> bytes:
        """What is left at the end, canonical. A last line without its end gets one."""
        if self._is_chunked and self._buffer and not self._buffer.endswith(b"\r\n"):
            self._buffer += b"\r\n"
        raw = bytes(self._buffer)
        self._buffer.clear()
        return self._canonical(raw)

    def _canonical(self, raw: bytes) -> bytes:
        """Whole lines without their stuffing; what is wrong with them is noted."""
        ends = raw.translate(None, NO_LINE_END)
        # Each CR has its LF, and there is nothing but pairs: no LF is alone either.
        if ends != b"\r\n" * (len(ends) // 2) or _BARE_CR.search(raw):
            self.has_bare = True
        if b"\0" in raw:
            self.has_nul = True
        if not raw.isascii():
            self.is_8bit = True
        if self._is_chunked:
            self.leading_dot = self.leading_dot or raw[:1] == b"." or b"\r\n." in raw
        elif self._is_stuffed or raw[:1] == b".":
            raw = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:]
            self.leading_dot = self.leading_dot or raw[:1] == b"." or b"\r\n." in raw
        self.octets += len(raw)
        return raw
