r"""Regular expressions of a configuration: how they are written, and what is wrong with them.

They are PCRE's; Python's own are close enough when a few spellings are replaced. What is
said about an expression is found on its parse tree, without running it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from re import _parser as parser  # type: ignore[attr-defined]  # the tree has no public name
from typing import Any, Final, NamedTuple

CHARACTERS: Final = 257
"""Latin-1 one by one, and one that stands for all others."""
ANYTHING: Final = frozenset(range(CHARACTERS))
MANY: Final = 10
"""A repeat that goes as far as this is as good as endless for the time it takes."""

SPANS_MAX: Final = 8
"""Repeats of one body that are looked at; one is enough to be slow."""
EXPRESSION_CHARACTERS_MAX: Final = 8192

Set = frozenset[int]


def _of(text: str) -> Set:
    return frozenset(map(ord, text))


class Start(NamedTuple):
    """What a subject always begins with, one set of characters for each position."""

    sets: tuple[Set, ...]
    example: str


REPLY: Final = Start((_of("2345"), *[_of("0123456789")] * 2, _of(" -")), "421 4.7.0 …")
"""A reply of a server, its code first."""
STATUS: Final = Start((_of("245"), _of("."), _of("0123456789")), "5.1.1;smtp;550 …")
"""A status and what a server said, as bounce categories are found by."""
FREE: Final = Start((ANYTHING,), "")
"""A text that may begin with anything."""


def split_expression(text: str) -> tuple[str, str]:
    r"""`/re/ rest` as (re, rest), `\/` undone; ValueError if it is not of that form."""
    if not text.startswith("/"):
        raise ValueError("expected a regular expression between slashes, such as /^421/")
    at = 1
    while at < len(text) and text[at] != "/":
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError("the regular expression has no closing slash")
    return text[1:at].replace("\\/", "/"), text[at + 1 :].strip()


def compile_expression(text: str) -> re.Pattern[str]:
    """A regular expression that ignores case unless it begins with `(?-i)`; ValueError."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise ValueError(f"expressions have at most {EXPRESSION_CHARACTERS_MAX} characters")
    flags = re.IGNORECASE
    if text.startswith("(?-i)"):
        text, flags = text[5:], re.NOFLAG
    text = re.sub(r"^\(\?i\)", "", text)
    try:
        return re.compile(_as_python(text), flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


_CLASSES: Final = {
    "digit": r"\d", "space": r"\s", "word": r"\w", "alpha": "a-zA-Z", "alnum": "a-zA-Z0-9",
    "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-fA-F", "blank": r" \t",
    "punct": r"!-/:-@\[-`{-~", "cntrl": r"\x00-\x1f\x7f", "print": " -~", "graph": "!-~",
}  # fmt: skip
_CLASS = re.compile(r"\[:(\^?)(\w+):\]")
_NEGATED: Final = {"digit": r"\D", "space": r"\S", "word": r"\W"}
_OUTSIDE: Final = {r"\Z": r"(?=\n?\Z)", r"\z": r"\Z", r"\h": r"[ \t]"}
_SET_BEGINS = re.compile(r"\[\^?\]?")
_DOUBLED: Final = frozenset({"--", "&&", "||", "~~"})
_NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z_])")


def _as_python(text: str) -> str:
    """The spellings of PCRE that Python writes otherwise; ValueError for a class it has not."""
    found: list[str] = []
    at, in_set = 0, False
    while at < len(text):
        took, became = text[at], ""
        if took == "\\":
            took, became = _escaped(text, at, in_set=in_set)
        elif not in_set and (match := _SET_BEGINS.match(text, at)):
            took, in_set = match[0], True
        elif not in_set and _NAMED_GROUP.match(text, at):
            took, became = "(?<", "(?P<"
        elif in_set and took == "]":
            in_set = False
        elif in_set and (match := _CLASS.match(text, at)):
            took, became = match[0], _class(match)
        elif in_set and (took == "[" or text[at : at + 2] in _DOUBLED):
            # Nothing in PCRE, and a set in a set to come in Python.
            took = text[at : at + (1 if took == "[" else 2)]
            became = f"{took[:-1]}\\{took[-1]}"
        found.append(became or took)
        at += len(took)
    return "".join(found)


def _escaped(text: str, at: int, *, in_set: bool) -> tuple[str, str]:
    """What a backslash begins, and what Python has for it."""
    took = text[at : at + 2]
    if took == r"\Q":
        literal, end, _ = text[at + 2 :].partition(r"\E")
        return took + literal + end, re.escape(literal) or "(?:)"
    if in_set:
        return took, r" \t" if took == r"\h" else took
    return took, _OUTSIDE.get(took, took)


def _class(match: re.Match[str]) -> str:
    known = _NEGATED if match[1] else _CLASSES
    if match[2] not in known:
        raise ValueError(f"there is no class {match[0]}")
    return known[match[2]]


def matches_everything(pattern: re.Pattern[str]) -> bool:
    """Whether whatever comes is a match, so that no line after it is ever tried."""
    return pattern.pattern in ("", "^", "$", ".*", "^.*", ".*$", "^.*$", ".+", "^.+", "^.+$")


def can_match(pattern: re.Pattern[str], start: Start) -> bool:
    """Whether any subject that begins so is a match; True if that cannot be told."""
    if pattern.flags & re.MULTILINE:
        return True
    everywhere = frozenset(range(len(start.sets) + 1))
    try:
        return bool(_Walk(start).sequence(_tree(pattern), everywhere))
    except RecursionError:
        return True


def backtracks(pattern: re.Pattern[str]) -> bool:
    """Whether some subject takes time that doubles with each character.

    So it is where a repeat is in a repeat, what it takes may be taken in one turn of the
    outer one or in two, and something after it may fail.
    """
    try:
        return _is_slow(_tree(pattern), may_fail=False)
    except RecursionError:
        return False


# The tree of an expression


@dataclass(frozen=True, slots=True, eq=False)
class _One:
    """One character of a set."""

    characters: Set


@dataclass(frozen=True, slots=True, eq=False)
class _Choice:
    """One of several sequences; a group is a choice of one."""

    trees: "tuple[_Tree, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class _Repeat:
    """A sequence again and again."""

    least: int
    most: int
    tree: "_Tree"
    is_possessive: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """What takes no characters, or nobody knows which: `^`, `$`, `ref`, or anything else."""

    what: str


_Node = _One | _Choice | _Repeat | _Mark
_Tree = tuple[_Node, ...]


def _tree(pattern: re.Pattern[str]) -> _Tree:
    ignores_case = bool(pattern.flags & re.IGNORECASE)
    return _nodes(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE), ignores_case)


def _nodes(parsed: Any, ignores_case: bool) -> _Tree:  # noqa: ANN401, FBT001 - untyped; one step
    return tuple(_node(str(name), value, ignores_case) for name, value in parsed)


def _node(name: str, value: Any, ignores_case: bool) -> _Node:  # noqa: ANN401, FBT001 - as above
    match name:
        case "LITERAL":
            return _One(_folded([value], ignores_case))
        case "NOT_LITERAL":
            return _One(ANYTHING - _folded([value], ignores_case))
        case "ANY":
            return _One(ANYTHING - _of("\n"))
        case "IN":
            return _One(_of_class(value, ignores_case))
        case "SUBPATTERN":
            body = _nodes(value[-1], ignores_case)
            return body[0] if len(body) == 1 else _Choice((body,))
        case "ATOMIC_GROUP":
            return _Choice((_nodes(value, ignores_case),))
        case "BRANCH":
            return _Choice(tuple(_nodes(one, ignores_case) for one in value[1]))
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, repeated = value
            is_possessive = name == "POSSESSIVE_REPEAT"
            return _Repeat(int(least), int(most), _nodes(repeated, ignores_case), is_possessive)
        case "AT":
            return _Mark(_ANCHORS.get(str(value), "boundary"))
        case _:
            return _Mark("ref" if name.startswith("GROUPREF") else "look")


_ANCHORS: Final = {
    "AT_BEGINNING": "^", "AT_BEGINNING_STRING": "^", "AT_END": "$", "AT_END_STRING": "$",
}  # fmt: skip


def _of_class(items: Iterable[tuple[object, Any]], ignores_case: bool) -> Set:  # noqa: FBT001 - as above
    found: set[int] = set()
    is_negated = False
    for item, value in items:
        match str(item):
            case "NEGATE":
                is_negated = True
            case "LITERAL":
                found |= _folded([value], ignores_case)
            case "RANGE":
                first, last = value
                found |= _folded(range(first, min(last, CHARACTERS - 1) + 1), ignores_case)
            case _:
                found |= _category(str(value))
    return ANYTHING - found if is_negated else frozenset(found)


def _folded(codes: Iterable[int], ignores_case: bool) -> Set:  # noqa: FBT001 - as above
    texts = [chr(min(code, CHARACTERS - 1)) for code in codes]
    if ignores_case:
        texts = [c for text in texts for c in (text, *text.lower(), *text.upper())]
    return frozenset(min(ord(text), CHARACTERS - 1) for text in texts)


@lru_cache(maxsize=16)
def _category(name: str) -> Set:
    letter = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}[name.rpartition("_")[2]]
    found = frozenset(c for c in range(CHARACTERS) if re.match(letter, chr(c)))
    return ANYTHING - found if "_NOT_" in name else found


class _Walk:
    """Where in a subject an expression can be after each of its parts.

    A place is the number of characters before it; the last counts for all from there on, and
    one more for the very end.
    """

    def __init__(self, start: Start) -> None:
        self._start = start.sets
        self._far = len(start.sets)
        self._end = self._far + 1
        self._may_be_short = start is FREE
        self._known: dict[tuple[int, Set], Set] = {}

    def sequence(self, tree: _Tree, places: Set) -> Set:
        key = (id(tree), places)
        if key not in self._known:  # Repeats in repeats ask the same again and again.
            reached = places
            for node in tree:
                reached = self._after(node, reached)
            self._known[key] = reached
        return self._known[key]

    def _after(self, node: _Node, places: Set) -> Set:
        match node:
            case _One(characters):
                return self._step(characters, places)
            case _Choice(trees):
                return frozenset().union(*(self.sequence(tree, places) for tree in trees))
            case _Repeat(least, most, tree):
                return self._repeated(least, most, tree, places)
            case _Mark("^"):
                return places & {0}
            case _Mark("$"):
                may_end = places if self._may_be_short else places & {self._far, self._end}
                return frozenset({self._end}) if may_end else frozenset()
            case _Mark("ref"):
                return frozenset({*places, self._far, self._end}) if places else places
            case _Mark():
                return places

    def _step(self, characters: Set, places: Set) -> Set:
        found = {at + 1 for at in places if at < self._far and characters & self._start[at]}
        if self._far in places and characters:
            found.add(self._far)
        return frozenset(found)

    def _repeated(self, least: int, most: int, tree: _Tree, places: Set) -> Set:
        turns = self._end + 1
        """After as many turns as there are places nothing new is reached."""
        reached = places if least == 0 else frozenset()
        for turn in range(1, min(most, 2 * turns) + 1):
            places = self.sequence(tree, places)
            if turn >= min(least, turns):
                reached |= places
        return reached


# Repeats within repeats


def _is_slow(tree: _Tree, *, may_fail: bool) -> bool:
    """Whether one of them takes without bound; `may_fail`: something after the tree can."""
    for node in reversed(tree):
        match node:
            case _Choice(trees):
                if any(_is_slow(one, may_fail=may_fail) for one in trees):
                    return True
            case _Repeat(_, most, body, is_possessive):
                if may_fail and most >= MANY and not is_possessive and _spans(body):
                    return True
                if _is_slow(body, may_fail=may_fail):
                    return True
            case _:
                pass
        may_fail = may_fail or not _is_optional(node)
    return False


def _is_optional(node: _Node) -> bool:
    """Whether a part can always match nothing, and so never fails."""
    match node:
        case _Choice(trees):
            return any(all(map(_is_optional, tree)) for tree in trees)
        case _Repeat(least, _, tree):
            return least == 0 or all(map(_is_optional, tree))
        case _:
            return False


def _spans(body: _Tree) -> list[Set]:
    """For each repeat in the body that all of it may consist of, its characters."""
    found: list[Set] = []
    for index, node in enumerate(body):
        others = [*body[:index], *body[index + 1 :]]
        found += [one for one in _spans_of(node) if all(_fits(other, one) for other in others)]
        if len(found) > SPANS_MAX:
            break
    return found


def _spans_of(node: _Node) -> list[Set]:
    match node:
        case _Choice(trees):
            return [one for tree in trees for one in _spans(tree)]
        case _Repeat(least, most, (_One(characters),)):
            return [characters] if least != most and most > 1 else []
        case _Repeat(_, _, tree):
            return _spans(tree)
        case _:
            return []


def _fits(node: _Node, characters: Set) -> bool:
    """Whether a part can match a text of these characters only."""
    match node:
        case _One(own):
            return bool(own & characters)
        case _Choice(trees):
            return any(all(_fits(part, characters) for part in tree) for tree in trees)
        case _Repeat(least, _, tree):
            return least == 0 or all(_fits(part, characters) for part in tree)
        case _Mark():
            return False
