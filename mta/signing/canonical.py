"""Canonical forms of header fields and of a body, simple and relaxed (RFC 6376 §3.4).

A body may come in pieces of any size. What cannot be judged yet, white space and empty lines
at the end of what came so far, is held as a count and at most three octets, so memory stays
constant. Lines end in CRLF, as in all content of the spool.
"""

import re
from collections.abc import Mapping
from typing import Final, Protocol

EMPTY_LINES_AT_ONCE: Final = 16 << 10
"""How many empty lines are written together when text follows them after all."""

# What an expression begins with decides its speed: two octets are looked for in one pass, one
# octet by memchr, which is slower where it is as common as a blank.
_RUN = re.compile(rb"   *")
_NAME = re.compile(rb"[\x21-\x39\x3b-\x7e]+")
_FIELD = re.compile(rb"(?m)^(%b)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*" % _NAME.pattern)


class Hash(Protocol):
    """What canonical octets go into."""

    def update(self, data: bytes, /) -> None: ...


class Field:
    """One field of a header block: its lower-case name and its octets, CRLF included."""

    __slots__ = ("name", "octets")

    def __init__(self, name: bytes, octets: bytes) -> None:
        self.name = name
        self.octets = octets


def fields(block: bytes) -> list[Field]:
    """The fields of a header block, in order; what is none is passed over."""
    return [Field(match[1].lower(), match[0]) for match in _FIELD.finditer(block)]


def selected(
    canon: str, block: bytes, names: Mapping[bytes, bytes]
) -> tuple[list[bytes], list[bytes]]:
    """Names and canonical forms, `simple` or `relaxed`, of fields of a header block.

    They go from the last field to the first, and each form has its CRLF. `names` has for each
    name, as it is written, that name in lower case, or nothing where such fields are left out.
    """
    found: list[bytes] = []
    forms: list[bytes] = []
    if canon == "relaxed" and b" :" not in (lines := _unfolded(block)):
        for line in reversed(lines.split(b"\r\n")):
            written, colon, value = line.partition(b":")
            if colon and (name := names[written]):
                found.append(name)
                forms.append(b"%b:%b\r\n" % (name, value.strip(b" ")))
        return found, forms
    # With blanks before a colon, there may have been a line end: that is no field.
    for match in reversed(list(_FIELD.finditer(block))):
        if name := names[match[1]]:
            found.append(name)
            is_simple = canon == "simple"
            forms.append(match[0] if is_simple else relaxed_field(match[0]) + b"\r\n")
    return found, forms


def field_name(written: bytes) -> bytes:
    """What stands before a colon, in lower case; nothing if it is not the name of a field."""
    return written.lower() if _NAME.fullmatch(written) else b""


def relaxed_field(octets: bytes) -> bytes:
    """A field in its relaxed form, without a CRLF (RFC 6376 §3.4.2)."""
    name, _, value = octets.partition(b":")
    text = collapsed(value.replace(b"\r\n", b"")).strip(b" ")
    return name.rstrip(b" \t").lower() + b":" + text


def _unfolded(block: bytes) -> bytes:
    """Each field in one line, blanks as the relaxed form has them (RFC 6376 §3.4.2).

    All fields together: a dozen calls for each would take several times what they do.
    """
    if b"\r\n " in block:
        block = block.replace(b"\r\n ", b" ")
    if b"\r\n\t" in block:
        block = block.replace(b"\r\n\t", b" ")
    return collapsed(block)


def collapsed(octets: bytes) -> bytes:
    """Runs of blanks and tabs as one blank."""
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    while b"  " in octets:  # each pass halves the longest run
        octets = octets.replace(b"  ", b" ")
    return octets


def relaxed_text(octets: bytes) -> bytes:
    """Lines in their relaxed form (§3.4.4). White space at the end of the last one stays.

    Passes over the octets are what a body costs beside its hash. In the interpreters that
    distributions build, `in` and `replace` take half the time for two blanks that a regular
    expression takes; that takes half of theirs for runs of any length.
    """
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    if b"  " in octets:
        is_deep = b"   " in octets
        octets = b" ".join(_RUN.split(octets)) if is_deep else octets.replace(b"  ", b" ")
    return octets.replace(b" \r\n", b"\r\n")


def whole_body(canon: str, octets: bytes) -> tuple[bytes, bytes]:
    """The canonical form of a body that is all here, and its last line end if it has one.

    It is what pieces of it come to, in fewer steps.
    """
    if canon == "simple":
        return octets.rstrip(b"\r\n"), b"\r\n"
    text = octets.rstrip(b" \t\r\n")
    return (relaxed_text(text), b"\r\n") if text else (b"", b"")


class SimpleBody:
    """The body as it is, but for empty lines at its end (RFC 6376 §3.4.3)."""

    __slots__ = ("_empty_lines", "_hash", "_rest", "length")

    def __init__(self, into: Hash) -> None:
        self._hash = into
        self._empty_lines = 0
        self._rest = b""
        self.length = 0
        """Octets of the canonical body so far; after `finish`, of all of it."""

    def update(self, octets: bytes) -> None:
        """Take the next piece."""
        octets = self._rest + octets if self._rest else octets
        text = octets.rstrip(b"\r\n")
        if text:
            self._lines()
            self._emit(text)
        self._hold(octets[len(text) :])

    def finish(self) -> None:
        """There is no more. An empty body is one empty line."""
        self._emit(b"\r\n")

    def _hold(self, end: bytes) -> None:
        """Empty lines are counted; a CR whose LF is still to come is kept."""
        lines = end.count(b"\r\n")
        self._empty_lines += lines
        self._rest = end[2 * lines :]

    def _lines(self) -> None:
        while self._empty_lines:
            count = min(self._empty_lines, EMPTY_LINES_AT_ONCE)
            self._emit(b"\r\n" * count)
            self._empty_lines -= count

    def _emit(self, octets: bytes) -> None:
        self._hash.update(octets)
        self.length += len(octets)


class RelaxedBody(SimpleBody):
    """White space shortened, none at ends of lines, no empty lines at the end (§3.4.4)."""

    __slots__ = ()

    def update(self, octets: bytes) -> None:
        octets = self._rest + octets if self._rest else octets
        text = octets.rstrip(b" \t\r\n")
        if text:
            self._lines()
            self._emit(relaxed_text(text))
        end = octets[len(text) :]
        self._hold(relaxed_text(end))

    def finish(self) -> None:
        """There is no more. An empty body stays empty."""
        if self.length:
            self._emit(b"\r\n")


BODIES: Final = {"simple": SimpleBody, "relaxed": RelaxedBody}
