"""Where something stands in a configuration, and what is to be said about it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]

COMPARED_MAX: Final = 300_000
"""Names compared for what a slip may have meant: some two seconds. A file with more slips
than that is no configuration, or has one slip many times."""
WORD_CHARACTERS_MAX: Final = 100
"""A longer word is no slip of a name."""
MESSAGE_CHARACTERS_MAX: Final = 500
"""Of one message; a longer one quotes a value that nobody reads to its end."""
LINES_NAMED_MAX: Final = 8
"""Lines that a note names besides its own: those that fit on a line of a terminal."""


class Place(NamedTuple):
    """A file, a line and a column, both counted from 1."""

    file: str
    line: int
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something about a configuration that a person should know.

    An error keeps it from being used; a warning is probably not what was meant; a note
    says what is old, or has no effect. `line` is the line as written.
    """

    severity: Severity
    place: Place
    message: str
    hint: str = ""
    line: str = ""

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        file, line, column = self.place
        where = f"{file}:{line}:{column}" if line else file
        return f"{where}: {self.severity}: {self.message}{hint}"


def gathered(found: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Notes that say the same at many lines of a file as one, at the first of them."""
    lines: dict[tuple[str, str, str], list[int]] = {}
    for one in found:
        if one.severity == "note":
            lines.setdefault((one.place.file, one.message, one.hint), []).append(one.place.line)
    told = []
    for one in found:
        same = lines.pop((one.place.file, one.message, one.hint), [])
        if one.severity != "note":
            told.append(one)
        elif same:
            told.append(replace(one, message=one.message + _also(same[1:])))
    return told


def _also(lines: list[int]) -> str:
    if not lines:
        return ""
    more = len(lines) - LINES_NAMED_MAX
    named = ", ".join(map(str, lines[:LINES_NAMED_MAX])) + (f" and {more} more" if more > 0 else "")
    return f" (also line{'s' if len(lines) > 1 else ''} {named})"


class Diagnostics:
    """Collects what is found. Order is of no concern until the end."""

    def __init__(self) -> None:
        self._found: list[Diagnostic] = []
        self._seen: set[tuple[Place, str]] = set()
        self._compared = 0

    def add(
        self, severity: Severity, place: Place, message: str, *, hint: str = "", line: str = ""
    ) -> None:
        """Note something; the same thing at the same place only once."""
        if len(message) > MESSAGE_CHARACTERS_MAX:
            message = f"{message[:MESSAGE_CHARACTERS_MAX]}…"
        if (place, message) not in self._seen:
            self._seen.add((place, message))
            self._found.append(Diagnostic(severity, place, message, hint, line))

    def error(self, place: Place, message: str, *, hint: str = "", line: str = "") -> None:
        self.add("error", place, message, hint=hint, line=line)

    def warning(self, place: Place, message: str, *, hint: str = "", line: str = "") -> None:
        self.add("warning", place, message, hint=hint, line=line)

    def note(self, place: Place, message: str, *, hint: str = "", line: str = "") -> None:
        self.add("note", place, message, hint=hint, line=line)

    def nearest(self, word: str, known: Collection[str], cutoff: float) -> str:
        """What of the known somebody meant who wrote the word; empty if nothing is close."""
        self._compared += len(known)
        if self._compared > COMPARED_MAX or len(word) > WORD_CHARACTERS_MAX:
            return ""
        return next(iter(get_close_matches(word, known, 1, cutoff)), "")

    @property
    def has_errors(self) -> bool:
        return any(one.severity == "error" for one in self._found)

    def in_order(self) -> tuple[Diagnostic, ...]:
        """Everything, by file in the order they were first mentioned, then by line."""
        files = list(dict.fromkeys(one.place.file for one in self._found))
        order = {file: index for index, file in enumerate(files)}
        return tuple(sorted(self._found, key=lambda one: (order[one.place.file], one.place[1:])))
