"""What a server answers (RFC 5321 §4.2, RFC 2034)."""

import re

from mta.model.frozen import frozen

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")


@frozen()
class Reply:
    """One reply: a code 200..599 and its text lines, without code and line ends.

    Text is decoded as UTF-8 with replacement, control characters turned to blanks, so
    it is safe in a log, a CSV cell and a terminal.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All lines joined by a blank."""
        return self.lines[0] if len(self.lines) == 1 else " ".join(self.lines)

    @property
    def enhanced(self) -> str:
        """The enhanced code `x.y.z` the text begins with, or the empty string."""
        match = _ENHANCED.match(self.lines[0]) if self.lines else None
        return match[0] if match else ""

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    def __str__(self) -> str:
        """Code and text on one line, as records and patterns see it: `250 2.1.5 ok`."""
        return f"{self.code} {self.text}"
