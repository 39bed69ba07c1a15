"""A header field as a configuration names or writes one (RFC 5322 §2.2)."""

import re
from typing import Final

LINE_OCTETS_MAX: Final = 998
"""RFC 5322 §2.1.1; without the line end."""
LINE_OCTETS_WANTED: Final = 78
"""The same; what a field that has to be folded is folded to, where it has blanks."""

_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_FIELD = re.compile(rf"({_NAME.pattern})[ \t]*:")
_WORD = re.compile(rf"{_NAME.pattern}[ \t]*:[ \t]*[^ \t]*|[ \t]+[^ \t]+")
"""The name with the first word, or another word with the blanks before it: none is blank alone."""


def is_field_name(text: str) -> bool:
    """Whether fields may have that name."""
    return _NAME.fullmatch(text) is not None


def field_name(field: str) -> str:
    """The name of `Name: value`; ValueError if it is no header field of one line.

    A name that begins with a dot is none: what we add to content is sent without stuffing.
    """
    match = _FIELD.match(field)
    if not match or field[0] == "." or not field.replace("\t", " ").isprintable():
        raise ValueError('expected a header field such as "Precedence: bulk"')
    return match[1]


def folded(field: str) -> str:
    """A field of one line in lines no longer than they may be, as it was if that is short enough.

    ValueError if a word is longer. RFC 5322 §2.1.1, §2.2.3.
    """
    if len(field) <= LINE_OCTETS_MAX:
        return field
    lines: list[str] = []
    for word in _WORD.findall(field):
        if lines and len(lines[-1]) + len(word) <= LINE_OCTETS_WANTED:
            lines[-1] += word
        else:
            lines.append(word)
    if max(map(len, lines)) > LINE_OCTETS_MAX:
        raise ValueError(
            f"expected blanks to fold it at, as a line has at most {LINE_OCTETS_MAX} octets"
        )
    return "\r\n".join(lines)
