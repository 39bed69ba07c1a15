"""Content with variables: `[name]` stands for a value, `[[` for a bracket. Guide: mail merge.

What stands in brackets and is no name, as in `<!--[if mso]>`, is text. A value is put in as it
is, once: what it contains is no variable. Values have no line end, so where lines end the parts
decide alone; and an empty value does not end a header block, see `merged`.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

Values = Mapping[bytes, bytes]
"""By lower-case name."""

_REFERENCE: Final = re.compile(rb"\[(?:\[|(\*?[A-Za-z][A-Za-z0-9_]*)\])")
_LONE: Final = re.compile(rb"^[ \t]*(?:\[\*?[A-Za-z][A-Za-z0-9_]*\][ \t]*)+\r$", re.MULTILINE)


class Template:
    """Text with variables."""

    __slots__ = ("_octets", "_pieces", "_slots", "references")

    def __init__(self, octets: bytes) -> None:
        self.references = 0
        """How many variables and `[[` stand in it."""
        self._pieces: list[bytes] = []
        self._slots: list[tuple[int, bytes]] = []
        """Which of the pieces stand for values, and their names."""
        at = 0
        for match in _REFERENCE.finditer(octets):
            self.references += 1
            if match[1] is None:
                self._pieces.append(octets[at : match.start() + 1])
            else:
                self._pieces += (octets[at : match.start()], match[0])
                self._slots.append((len(self._pieces) - 1, match[1].lower()))
            at = match.end()
        self._pieces.append(octets[at:])
        references = sum(len(self._pieces[place]) for place, _ in self._slots)
        self._octets = sum(map(len, self._pieces)) - references

    def size(self, values: Values) -> int:
        """How many octets it has with these values, at most."""
        return self._octets + sum(
            len(values.get(name, self._pieces[place])) for place, name in self._slots
        )

    def filled(self, values: Values, *, expands: bool) -> bytes:
        """It with these values; `expands` says that what has no value becomes nothing."""
        pieces = self._pieces.copy()
        for place, name in self._slots:
            value = values.get(name)
            if value is not None:
                pieces[place] = value
            elif expands:
                pieces[place] = b""
        return b"".join(pieces)


class Part:
    """Whole lines of a message."""

    __slots__ = ("_fields", "_rest", "_whole", "closes_head")

    def __init__(self, octets: bytes) -> None:
        self._whole = Template(octets)
        empty = -1 if octets.startswith(b"\r\n") else octets.find(b"\r\n\r\n")
        self.closes_head = empty >= 0 or octets.startswith(b"\r\n")
        """Whether it has an empty line, which ends a header block."""
        end = empty + 2 if empty >= 0 else 0 if self.closes_head else len(octets)
        self._fields: list[Template] = []
        """The lines of its header block, if variables alone stand in one of them."""
        if _LONE.search(octets, 0, end):
            self._fields = [Template(line) for line in octets[:end].splitlines(keepends=True)]
        self._rest = Template(octets[end:]) if self._fields else self._whole

    @property
    def references(self) -> int:
        """How many variables and `[[` stand in it."""
        return self._whole.references

    def size(self, values: Values) -> int:
        """How many octets it has with these values, at most."""
        return self._whole.size(values)

    def filled(self, values: Values, *, is_head: bool, expands: bool) -> bytes:
        """It with these values, where the header block may go on, or not."""
        if not (is_head and self._fields):
            return self._whole.filled(values, expands=expands)
        lines = [(field, field.filled(values, expands=expands)) for field in self._fields]
        kept = [line for field, line in lines if line.strip() or not field.references]
        return b"".join([*kept, self._rest.filled(values, expands=expands)])


def references(octets: bytes, most: int) -> int:
    """How many variables and `[[` stand in text; one above `most` if there are more."""
    return sum(1 for _ in islice(_REFERENCE.finditer(octets), most + 1))


def merged(parts: Sequence[Part], values: Values, *, expands: bool) -> bytes:
    """Content made of parts.

    A line of the header block in which variables alone stand, and that becomes empty, is left
    out. Else it would end the block, and what somebody is called would decide that the fields
    after it are text.
    """
    done = []
    is_head = True
    for part in parts:
        done.append(part.filled(values, is_head=is_head, expands=expands))
        is_head = is_head and not part.closes_head
    return b"".join(done)
