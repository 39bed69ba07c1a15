"""A configuration in its canonical layout: `mta fmt`. Only blanks, line ends and case change.

Four blanks for each section a line is in, one after the name of a directive, two before a
comment that follows text, one empty line at most, names of directives and sections in lower
case. The reader of the grammar itself says which section a line is in, so that what it
reads from the result is what it read before.
"""

from typing import Final

from mta.config.grammar import BRACE, CLOSE, OPEN, FileReader, Reader, Section
from mta.config.place import Diagnostics, Place

INDENT: Final = "    "


def laid_out(text: str) -> str:
    """The text in its layout; a text laid out stays as it is."""
    lines = _Lines(text)
    lines.read()
    return "\n".join(lines.found).rstrip("\n") + "\n" if any(lines.found) else ""


class _NoFiles:
    """What is included is laid out by itself."""

    def read(self, path: str) -> bytes:
        return b""

    def glob(self, pattern: str) -> list[str]:
        return []


class _Lines(FileReader):
    """Reads a file and notes its lines as they are to be."""

    def __init__(self, text: str) -> None:
        root = Section("", "", Place("", 0), "")
        super().__init__(Reader(_NoFiles(), Diagnostics()), root, "", text)
        self.found: list[str] = []

    def _line(self, number: int, line: str) -> None:
        before, continued = len(self._open), self._continued
        listed = continued.value if continued is not None else ""
        super()._line(number, line)
        depth = min(before, len(self._open)) - 1
        text = self._without_comment(number, line)
        words, comment = text.strip(), line[len(text) :].strip()
        if not line.strip():
            if self.found and self.found[-1]:
                self.found.append("")
            return
        if continued is not None and continued.value != listed:
            depth += 1
            shown = words
        else:
            shown = words if self._taken > number else _spelled(words)
        self.found.append(INDENT * depth + "  ".join(filter(None, (shown, comment))))
        for more in self._lines[number : max(self._taken, number)]:
            self.found.append(INDENT * (depth + 1) + more.strip())


def _spelled(words: str) -> str:
    """The words of a line in their one spelling; those of a damaged line as they are."""
    if match := CLOSE.fullmatch(words):
        return f"</{f'{match[1].lower()} {match[2].strip()}'.rstrip()}>"
    if words.startswith("<"):
        match = OPEN.fullmatch(words) if words.count(">") == 1 else None
        return f"<{f'{match[1].lower()} {match[2].strip()}'.rstrip()}>" if match else words
    if words.endswith("{") and (match := BRACE.fullmatch(words)):
        return " ".join(filter(None, (match[1].lower(), match[2].strip(), "{")))
    if not words or words.startswith(("/", "}")):
        return words
    name, *value = words.split(None, 1)
    return " ".join([name.lower(), *value])
