"""The Authentication-Results field (RFC 8601): what was found out, so that it can be believed."""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

COMMENT_MAX: Final = 200
LINE_MAX: Final = 900
"""Of a result that is not folded, and of a property: a line has at most 998 octets."""
TRACE_MAX: Final = 20
"""Lines of a trace that are shown; with ten lookups there are seldom more."""
NESTED_MAX: Final = 16
"""Comments within comments; who nests them deeper has something to hide."""

_FIELD = re.compile(
    rb"^Authentication-Results[ \t]*:(?P<value>[^\n]*\n(?:[ \t][^\n]*\n)*)",
    re.IGNORECASE | re.MULTILINE,
)
_COMMENT = re.compile(rb"\((?:[^()\\]|\\.)*\)")
_QUOTED_PAIR = re.compile(rb"\\(.)")
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.:@-]+")
_UNSAFE = re.compile(r"[^A-Za-z0-9 !#$%&'*+,./:=?@_`{|}~^-]")


class Finding(NamedTuple):
    """One result of one method; `properties` are `ptype.property` and value."""

    method: str
    result: str
    comment: str = ""
    properties: Sequence[tuple[str, str]] = ()
    trace: Sequence[str] = ()

    def __str__(self) -> str:
        parts = [f"{self.method}={self.result}"]
        if self.comment:
            parts.append(f"({_safe(self.comment)})")
        named = [f"{name}={_value(value)}" for name, value in self.properties if value]
        # One that is cut would be another's name.
        parts += [one for one in named if len(one) <= LINE_MAX]
        line = " ".join(parts)
        lines = [line] if len(line) <= LINE_MAX else parts
        lines += [f"({_safe(step)})" for step in self.trace[:TRACE_MAX]]
        return "\r\n\t".join(lines)


def field(authserv_id: str, findings: Iterable[Finding]) -> str:
    """The whole field with its line end."""
    results = ";\r\n\t".join(map(str, findings)) or "none"
    return f"Authentication-Results: {authserv_id};\r\n\t{results}\r\n"


def without_forged(head: bytes, authserv_id: str) -> bytes:
    """A header block without the fields that pretend to be ours. RFC 8601 §5."""
    ours = authserv_id.lower().encode()

    def kept(found: "re.Match[bytes]") -> bytes:
        value = found["value"]
        for _ in range(NESTED_MAX):
            without = _COMMENT.sub(b"", value)
            if without == value:
                return b"" if _claims(value.lower(), ours) else found[0]
            value = without
        return b""

    return _FIELD.sub(kept, head)


def _claims(value: bytes, ours: bytes) -> bool:
    identifier = value.partition(b";")[0].split()
    if not identifier:
        return False
    name = _QUOTED_PAIR.sub(rb"\1", identifier[0].strip(b'"'))
    return name.removesuffix(b".") == ours


def _safe(text: str) -> str:
    return _UNSAFE.sub("?", text)[:COMMENT_MAX]


def _value(text: str) -> str:
    # What a message says of itself may be more than text.
    text = "".join(c if c.isprintable() else "?" for c in text)
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii", "replace").decode()
