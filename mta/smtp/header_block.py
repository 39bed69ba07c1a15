"""The header block at the beginning of content (RFC 5322 §2.2)."""

import re
from functools import lru_cache
from typing import Final

_START = re.compile(rb"[\x21-\x39\x3b-\x7e]+[ \t]*:")
_FOLD = re.compile(r"\r\n(?=[ \t])")
HEAD_OCTETS_MAX: Final = 200 << 10
"""It has to lie in the part of a message that is in memory."""


def head_size(content: bytes) -> int:
    """Octets of the header block with its empty line; 0 if the content begins without one."""
    if not _START.match(content):
        return 2 if content[:2] == b"\r\n" else 0
    end = content.find(b"\r\n\r\n")
    return len(content) if end < 0 else end + 4


def is_whole(content: bytes) -> bool:
    """Whether the header block ends in what is there of a message, or is larger than it may be."""
    if len(content) > HEAD_OCTETS_MAX:
        return True
    size = head_size(content)
    return bool(content) and (size < len(content) or content[-4:] in (b"\r\n\r\n", b"\r\n"))


def find(head: bytes, names: frozenset[bytes]) -> dict[bytes, str]:
    """The first value of each field that is there, by lower-case name; unfolded, stripped."""
    found: dict[bytes, str] = {}
    if not names:
        return found
    for match in _fast_pattern(names).finditer(b"\n" + head):
        name = match[1].lower()
        if name not in found:
            text = match[2].decode("utf-8", "replace")
            found[name] = _printable(_FOLD.sub("", text).strip())
    return found


def fields(head: bytes, name: bytes) -> list[bytes]:
    """Each field of a lower-case name, whole."""
    lines = b"\n" + head
    found = _fast_pattern(frozenset({name})).finditer(lines)
    return [match[0][1:] + b"\n" for match in found if match.end() < len(lines)]


def values(head: bytes, name: bytes) -> list[str]:
    """The value of each field of a lower-case name as it stands there, but for its line end."""
    return [
        match[2].decode("utf-8", "replace").removesuffix("\r")
        for match in _fast_pattern(frozenset({name})).finditer(b"\n" + head)
    ]


def without(head: bytes, names: frozenset[bytes]) -> bytes:
    """The header block without the fields of these lower-case names."""
    return _pattern(names).sub(b"", head) if names else head


@lru_cache(1024)
def _fast_pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    """As `_pattern`, but from a line end to before the next.

    A search for an octet skips over what is not looked for; one for `^` stops everywhere.
    """
    alternatives = b"|".join(re.escape(name) for name in sorted(names))
    return re.compile(
        rb"\n(" + alternatives + rb")[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE
    )


@lru_cache(1024)
def _pattern(names: frozenset[bytes]) -> re.Pattern[bytes]:
    alternatives = b"|".join(re.escape(name) for name in sorted(names))
    return re.compile(
        rb"^(" + alternatives + rb")[ \t]*:([^\n]*\n(?:[ \t][^\n]*\n)*)",
        re.IGNORECASE | re.MULTILINE,
    )


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text).strip()
