"""From text to a tree: directives, sections, included files. Guide: configuration file.

    file      = { line }
    line      = [ directive | open | close | brace-open | "}" ] [ comment ]
    directive = WORD [ value ]
    open      = "<" WORD [ argument ] ">"          close = "</" WORD [ argument ] ">"
    brace-open = WORD [ argument ] "{"

A comment begins with `#` (`comments` says where). What a value means is decided by
its directive; here it is the rest of the line. Nothing here raises: what is wrong is said,
and reading goes on, so that one run finds every problem.
"""

import codecs
import posixpath
import re
from dataclasses import dataclass, field
from typing import Final, Protocol

from mta.config.comments import comment_start
from mta.config.hidden import without_secret
from mta.config.place import Diagnostics, Place
from mta.settings.kinds import unquote

LINE_CHARACTERS_MAX: Final = 100_000
"""A longer line is damage, not a directive."""
OCTETS_MAX: Final = 256 << 20
"""Of a file with all it includes."""
FILES_MAX: Final = 100_000
"""Files read; ten that include the next ten times each would be ten thousand million."""
PIECE_CHARACTERS: Final = 1 << 19
DEPTH_MAX: Final = 16
"""Sections in sections, and files in files."""

OPEN = re.compile(r"<\s*([A-Za-z][\w-]*)(.*)>")
_QUOTED_OPEN = re.compile(r'<\s*[A-Za-z][\w-]*\s+"(?:[^"\\]|\\.)*"\s*>')
CLOSE = re.compile(r"</\s*([A-Za-z][\w-]*)(.*)>")
BRACE = re.compile(r"([A-Za-z][\w-]*)(|\s.*)\{")
"""Blanks around the argument are for the reader to take off: here they would take time."""
LIST = re.compile(r"[^\s,<>{}]+(?:\s*,[\s,]*[^\s,<>{}]+)*[\s,]*")
"""Items with commas between them; a directive has its value behind a blank."""
OTHER_QUOTES: Final = frozenset("'\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u00ab")
"""How values in the quotes of other languages and of word processors begin."""
_WORD = re.compile(r"\S+")
CONTINUED: Final = frozenset({"domain-macro"})
"""Directives whose list goes on in the next line: after a comma, or if it has not begun."""
QUOTED_LINES_MAX: Final = 10
"""Lines that a quoted value may span."""


class Files(Protocol):
    """How files are read; the core opens none itself."""

    def read(self, path: str) -> bytes: ...

    def glob(self, pattern: str) -> list[str]: ...


@dataclass(slots=True)
class Statement:
    """A directive, with the rest of its line."""

    name: str
    value: str
    place: Place
    value_column: int
    line: str

    @property
    def value_place(self) -> Place:
        """Where its value begins."""
        return Place(self.place.file, self.place.line, self.value_column)


@dataclass(slots=True)
class Section:
    """A section and what is in it."""

    name: str
    argument: str
    place: Place
    line: str
    is_brace: bool = False
    body: "list[Statement | Section]" = field(default_factory=list)


Node = Statement | Section


def take_apart(section: Section) -> None:
    """Free what is in a section node by node: a large tree freed at once stops every thread."""
    while section.body:
        node = section.body.pop()
        if isinstance(node, Section):
            take_apart(node)


class Reader:
    """Reads one configuration with all it includes."""

    def __init__(self, files: Files, diagnostics: Diagnostics) -> None:
        self._files = files
        self._diagnostics = diagnostics
        self._reading: list[str] = []
        self._files_left = FILES_MAX
        self._octets_left = OCTETS_MAX
        self._is_full = False
        self._base = ""

    def read(self, path: str) -> Section:
        """The whole configuration as the body of one section without a name."""
        self._base = posixpath.dirname(path)
        root = Section("", "", Place(path, 0), "")
        self._read_into(root, path, Place(path, 0), "")
        return root

    def _read_into(self, parent: Section, path: str, asked_at: Place, line: str) -> None:
        if path in self._reading or len(self._reading) >= DEPTH_MAX:
            way = " → ".join([*self._reading, path])
            self._diagnostics.error(asked_at, f"files include one another: {way}", line=line)
            return
        if self._is_full:
            return
        try:
            octets = self._files.read(path)
        except OSError as error:
            reason = error.strerror or str(error)
            self._diagnostics.error(asked_at, f"cannot read {path}: {reason}", line=line)
            return
        self._files_left -= 1
        self._octets_left -= len(octets)
        if self._files_left < 0 or self._octets_left < 0:
            if not self._is_full:
                what = f"{OCTETS_MAX >> 20} MiB" if self._octets_left < 0 else f"{FILES_MAX} files"
                message = f"{path} is too large: a configuration has at most {what} in all"
                self._diagnostics.error(asked_at, message, line=line)
            self._is_full = True
            return
        self._reading.append(path)
        FileReader(self, parent, path, self._text(octets, path)).read()
        self._reading.pop()

    def _text(self, octets: bytes, path: str) -> str:
        if octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self._diagnostics.error(Place(path, 1), "the file is UTF-16", hint="save it as UTF-8")
            return ""
        try:
            return octets.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = octets.count(b"\n", 0, error.start) + 1
            message = "not UTF-8; octets that are none are read as Latin-1"
            self._diagnostics.warning(Place(path, line), message)
            return decoded(octets)

    def include(self, parent: Section, statement: Statement) -> None:
        """Read what an include names, in its place."""
        pattern = unquote(statement.value)
        place, line = statement.place, statement.line
        if re.match(r"https?://", pattern, re.IGNORECASE):
            message = "configurations are not read over HTTP yet"
            self._diagnostics.error(place, message, hint="include a file", line=line)
            return
        if not pattern:
            self._diagnostics.error(place, "include needs a file name", line=line)
            return
        path = posixpath.normpath(posixpath.join(self._base, pattern))
        if not any(character in pattern for character in "*?["):
            self._read_into(parent, path, place, line)
            return
        found = sorted(self._files.glob(path))
        if not found:
            self._diagnostics.note(place, f"no file matches {path}", line=line)
        for one in found:
            self._read_into(parent, one, place, line)

    @property
    def diagnostics(self) -> Diagnostics:
        return self._diagnostics


class FileReader:
    """The lines of one file."""

    def __init__(self, reader: Reader, parent: Section, path: str, text: str) -> None:
        self._reader = reader
        self._diagnostics = reader.diagnostics
        self._path = path
        self._lines = lines_of(text)
        self._open: list[Section] = [parent]
        self._continued: Statement | None = None
        self._taken = 0
        """The last line that the lines before have taken."""

    def read(self) -> None:
        """Add everything to the section the file was included in."""
        for number, line in enumerate(self._lines, 1):
            if number > self._taken:
                self._line(number, line)
        if self._continued is not None:
            self._ended(self._continued)
        for section in self._open[1:]:
            closing = "}" if section.is_brace else f"</{section.name}>"
            self._diagnostics.error(
                section.place,
                f"<{section.name}> is not closed before the end of the file",
                hint=f'add "{closing}" after its last line',
                line=section.line,
            )

    def _line(self, number: int, line: str) -> None:
        if len(line) > LINE_CHARACTERS_MAX:
            message = f"a line of {len(line)} characters; at most {LINE_CHARACTERS_MAX} are read"
            self._diagnostics.error(Place(self._path, number), message, line=line[:80])
            return
        if "\0" in line:
            message = "a NUL character; is this a text file?"
            self._diagnostics.error(Place(self._path, number), message)
            return
        text = self._without_comment(number, line)
        stripped = text.strip()
        if not stripped:
            return
        place = Place(self._path, number, len(text) - len(text.lstrip()) + 1)
        if self._goes_on(stripped, place, line):
            return
        if stripped.startswith("</"):
            self._close(stripped, place, line)
        elif stripped == "}":
            self._close_brace(place, line)
        elif stripped.startswith("<"):
            self._section(stripped, place, line)
        elif stripped.endswith("{") and (match := BRACE.fullmatch(stripped)):
            self._enter(Section(match[1].lower(), match[2].strip(), place, line, is_brace=True))
        else:
            self._statement(stripped, place, line, text)

    def _without_comment(self, number: int, line: str) -> str:
        at = comment_start(line)
        if at < 0:
            return line
        value = line.split(None, 1)[1:] if '"' in line else []
        if value and self._last_line(value[0].strip(), number) > number:
            return line
        self._warn_swallowed(number, line, at)
        return line[:at]

    def _warn_swallowed(self, number: int, line: str, at: int) -> None:
        """A comment right after other text may be half of a value."""
        before = line[:at]
        if not before.strip() or before[-1:].isspace():
            return
        message = f"the comment cuts the value short: it is {without_secret(before.strip())!r}"
        hint = 'write a blank before the "#", \\x23 in a regular expression, or use quotes'
        place = Place(self._path, number, at + 1)
        self._diagnostics.warning(place, message, hint=hint, line=line)

    def _goes_on(self, text: str, place: Place, line: str) -> bool:
        """Whether the line is more of a list that ended in a comma, or was wrapped."""
        statement, self._continued = self._continued, None
        if statement is None:
            return False
        if not LIST.fullmatch(text):
            self._ended(statement)
            return False
        statement.value = f"{statement.value} {text}"
        message = f"taken as more of the {statement.name} list of line {statement.place.line}"
        self._diagnostics.note(place, message, line=line)
        if text.endswith(","):
            self._continued = statement
        return True

    def _ended(self, statement: Statement) -> None:
        """Say that a list ends in a comma and does not go on."""
        if statement.value.endswith(","):
            message = f"the {statement.name} list ends in a comma; what follows is no part of it"
            hint = "take the comma away, or write the whole list on this line"
            self._diagnostics.warning(statement.place, message, hint=hint, line=statement.line)

    def _section(self, text: str, place: Place, line: str) -> None:
        head, end, rest = text.partition(">")
        if _QUOTED_OPEN.fullmatch(text):
            rest = ""
        if rest and OPEN.fullmatch(head + end):
            self._one_line(head + end, rest, place, line)
            return
        match = OPEN.fullmatch(text)
        if match is None:
            hint = "write the section's name between < and >, alone on its line"
            self._diagnostics.error(place, f"not a section: {text}", hint=hint, line=line)
            return
        self._enter(Section(match[1].lower(), match[2].strip(), place, line))

    def _one_line(self, head: str, rest: str, place: Place, line: str) -> None:
        """A section whose lines were joined: it is there, what is in it cannot be told apart."""
        name = head.strip("< ").split()[0].rstrip(">")
        self._diagnostics.error(
            Place(place.file, place.line, place.column + len(head)),
            f"there is more after {head} on its line",
            hint="its start, each directive and its end are lines of their own",
            line=line[:200],
        )
        self._section(head, place, line)
        if re.search(rf"</\s*{re.escape(name)}\s*>", rest, re.IGNORECASE):
            self._close(f"</{name}>", place, line)

    def _enter(self, section: Section) -> None:
        self._open[-1].body.append(section)
        self._open.append(section)
        if len(self._open) > DEPTH_MAX:
            self._diagnostics.error(section.place, "sections too deep in one another")
            self._open.pop()

    def _close(self, text: str, place: Place, line: str) -> None:
        match = CLOSE.fullmatch(text)
        if match is None:
            self._diagnostics.error(place, f"not the end of a section: {text}", line=line)
            return
        name = match[1].lower()
        names = [section.name for section in self._open[1:]]
        if name not in names:
            aliases = {"define-virtual-mta": "virtual-mta", "virtual-mta": "define-virtual-mta"}
            if aliases.get(name) in names:
                name = aliases[name]
            else:
                close = self._diagnostics.nearest(name, names[-1:], 0.7)
                hint = f'did you mean "</{close}>"?' if close else ""
                message = f"</{name}> closes nothing"
                self._diagnostics.error(place, message, hint=hint, line=line)
                if close:
                    self._open.pop()
                return
        while self._open[-1].name != name:
            inner = self._open.pop()
            self._diagnostics.error(
                inner.place,
                f"<{inner.name}> is not closed before </{name}> in line {place.line}",
                line=inner.line,
            )
        self._open.pop()

    def _close_brace(self, place: Place, line: str) -> None:
        if len(self._open) > 1 and self._open[-1].is_brace:
            self._open.pop()
        else:
            self._diagnostics.error(place, '"}" closes nothing', line=line)

    def _statement(self, stripped: str, place: Place, line: str, text: str) -> None:
        match = _WORD.match(stripped)
        assert match is not None
        word = match[0]
        if stripped.startswith("/"):
            # A rule of a list of patterns: the expression is the first part of the value.
            statement = Statement("/regex/", stripped, place, place.column, line)
        else:
            value = self._whole(stripped[match.end() :].strip(), place, line)
            start = len(stripped) - len(stripped[match.end() :].lstrip())
            column = place.column + start if value else len(text) + 1
            statement = Statement(word.lower(), value, place, column, line)
        section = self._open[-1]
        if stripped.endswith("<pattern-list>"):
            statement.value = statement.value.removesuffix("<pattern-list>").rstrip()
            section.body.append(statement)
            self._enter(Section("pattern-list", "", place, line))
            return
        if statement.name == "include":
            self._reader.include(section, statement)
            return
        section.body.append(statement)
        if statement.name in CONTINUED and (
            statement.value.endswith(",") or len(statement.value.split()) == 1
        ):
            self._continued = statement

    def _whole(self, value: str, place: Place, line: str) -> str:
        """A quoted value with the lines it goes on in, if there is an end to it."""
        last = self._last_line(value, place.line)
        if last == place.line:
            if value.startswith('"') and _quotes(value) == 1:
                message = "the quote is not closed, and so is part of the value"
                hint = "close it at the end of the value"
                self._diagnostics.warning(place, message, hint=hint, line=line)
            elif value[:1] in OTHER_QUOTES and (value[:1] != "'" or value[1:].endswith("'")):
                message = f"{value[:1]} is no quote here, but part of the value"
                hint = f"write {chr(34)} around a value that needs quotes"
                self._diagnostics.warning(place, message, hint=hint, line=line)
            return value
        self._taken = last
        message = f"the quoted value goes on to line {last}, a blank for each end"
        self._diagnostics.note(place, message, line=line)
        return " ".join([value, *(one.strip() for one in self._lines[place.line : last])])

    def _last_line(self, value: str, number: int) -> int:
        """The line in which a value of a line ends, if its quote is closed in another."""
        if not value.startswith('"') or _quotes(value) != 1:
            return number
        following = self._lines[number : number + QUOTED_LINES_MAX]
        for index, more in enumerate(following, 1):
            if quotes := _quotes(more):
                return number + index if quotes == 1 and more.rstrip().endswith('"') else number
        return number


def decoded(octets: bytes) -> str:
    """UTF-8, and Latin-1 where it is none."""
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def lines_of(text: str) -> list[str]:
    """The lines, whatever ends them, without byte order marks: files are put together from several.

    A piece at a time, each in few milliseconds, as nothing else of the process runs meanwhile.
    """
    lines: list[str] = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
        piece = text[start:end].removesuffix("\n").replace("\r\n", "\n").replace("\r", "\n")
        lines += [line.lstrip("\ufeff") for line in piece.split("\n")]
        start = end
    return lines


def _quotes(text: str) -> int:
    """How many quotes that no backslash escapes."""
    return len(re.findall(r'(?<!\\)(?:\\\\)*"', text))
