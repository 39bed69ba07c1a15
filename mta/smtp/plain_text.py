"""Lines of text that we write ourselves, no longer than a message may have them."""

import re
import textwrap
from collections.abc import Iterable
from typing import Final

LINE_CHARACTERS_MAX: Final = 240
"""Longer lines are wrapped: with four octets to a character they stay below the 998 octets of
RFC 5322 §2.1.1."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")


def wrapped(lines: Iterable[str]) -> list[str]:
    """The lines without control characters, the long ones wrapped at blanks where they have any."""
    found: list[str] = []
    for line in lines:
        plain = one_line(line)
        if len(plain) > LINE_CHARACTERS_MAX:
            # Not at hyphens: addresses have some.
            found += textwrap.wrap(plain, LINE_CHARACTERS_MAX, break_on_hyphens=False)
        else:
            found.append(plain)
    return found


def one_line(text: str) -> str:
    """Text whose control characters, line ends among them, are blanks."""
    return _CONTROL.sub(" ", text)
