"""The sections `<pattern-list>`, and the lists that rules of them lead into."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from mta.config.expressions import FREE, compile_expression, matches_everything, split_expression
from mta.config.grammar import Node, Section, Statement
from mta.config.names import VIRTUAL_MTA, Names
from mta.config.pattern_lists import PatternLists
from mta.config.place import Diagnostics, Place
from mta.model.header_field import is_field_name
from mta.model.pattern_list import PatternList, PatternRule, Selection
from mta.settings.kinds import first_word

TAG: Final = "pattern-list"
PRIORITY_MAX: Final = 100
DEPTH_MAX: Final = 50
"""Lists that a rule leads into one after another; as deep as sections may be, and more."""
_SUBJECTS: Final = ("mail-from", "rcpt-to", "header", "*")
_ITEM: Final = re.compile(r'(virtual-mta|recipient-priority)\s*=\s*("[^"]*"|[^\s,"]+)', re.I)
_CALL: Final = re.compile(r'call-to\s*:\s*"?([^\s",]+)"?', re.IGNORECASE)
_EXPECTED: Final = (
    "expected virtual-mta=NAME, recipient-priority=0..100 or both, call-to: LIST, or <pattern-list>"
)


@dataclass(slots=True)
class _Rule:
    """A line as written; whom it leads into is looked up when all lists are there."""

    subject: str
    pattern: re.Pattern[str] | None
    header: bytes
    selection: Selection
    calls: str
    place: Place
    inner: "_List | None" = None


@dataclass(slots=True)
class _List:
    name: str
    rules: list[_Rule] = field(default_factory=list)


class SubmissionPatterns:
    """Takes the sections as they are read."""

    def __init__(self, diagnostics: Diagnostics, names: Names, remarks: PatternLists) -> None:
        self._diagnostics = diagnostics
        self._names = names
        self._remarks = remarks
        self._lists: dict[str, _List] = {}

    def read(self, section: Section, name: str, other: Callable[[Node], None]) -> None:
        """A section of its own; `other` takes what is no rule."""
        self._read(section, self._lists.setdefault(name.lower(), _List(name)), other)

    def finish(self) -> dict[str, PatternList]:
        """The lists by name in lower case."""
        done: dict[str, PatternList] = {}
        for name in self._lists:
            self._finished(name, done, ())
        return done

    def _read(self, section: Section, into: _List, other: Callable[[Node], None]) -> None:
        met_by_all: Place | None = None
        last, last_place = None, section.place
        for node, following in zip_longest(section.body, section.body[1:]):
            if isinstance(node, Section):
                if not _is_inner(node, last_place):
                    other(node)
                    continue
                inner = _List("")
                self._read(node, inner, other)
                if last is not None:
                    last.inner = inner
            elif node.name not in _SUBJECTS:
                other(node)
            else:
                if met_by_all is not None:
                    self._never_tried(node, met_by_all)
                opens = isinstance(following, Section) and _is_inner(following, node.place)
                last, last_place = self._rule(node, opens=opens), node.place
                if last is not None:
                    into.rules.append(last)
                    if met_by_all is None and _is_met_by_all(last):
                        met_by_all = node.place

    def _never_tried(self, statement: Statement, by: Place) -> None:
        self._diagnostics.warning(
            statement.place,
            f"never tried: every message meets the rule of line {by.line}",
            hint="the first rule that matches decides; put that one last",
            line=statement.line,
        )

    def _rule(self, statement: Statement, *, opens: bool) -> _Rule | None:
        try:
            rule = _parsed(statement, opens=opens)
        except ValueError as error:
            self._remarks.error(statement, error)
            return None
        if rule.pattern is not None:
            self._remarks.remark(statement, rule.pattern, FREE)
        if rule.selection.virtual_mta:
            self._names.use(VIRTUAL_MTA, rule.selection.virtual_mta, statement)
        if rule.calls:
            self._names.use(TAG, rule.calls, statement)
        return rule

    def _finished(
        self, name: str, done: dict[str, PatternList], within: tuple[str, ...]
    ) -> PatternList | None:
        if name not in done and name in self._lists:
            done[name] = self._made(self._lists[name], done, (*within, name))
        return done.get(name)

    def _made(
        self, one: _List, done: dict[str, PatternList], within: tuple[str, ...]
    ) -> PatternList:
        rules = []
        for rule in one.rules:
            inner: PatternList | None = None
            called = rule.calls.lower()
            if rule.inner is not None:
                inner = self._made(rule.inner, done, within)
            elif called and len(within) > DEPTH_MAX:
                self._diagnostics.error(rule.place, f"more than {DEPTH_MAX} lists call one another")
            elif called in within:
                way = " → ".join((*within[within.index(called) :], called))
                self._diagnostics.error(rule.place, f"call-to: lists call one another: {way}")
            elif called:
                inner = self._finished(called, done, within)
            rules.append(
                PatternRule(
                    rule.subject,
                    rule.pattern,
                    rule.header,
                    rule.selection,
                    inner,
                    str(rule.place),
                )
            )
        return PatternList(one.name, tuple(rules))


def _is_inner(section: Section, place: Place) -> bool:
    """Whether the rule at a place opens that section."""
    return section.name == TAG and section.place[:2] == place[:2]


def _parsed(statement: Statement, *, opens: bool) -> _Rule:
    text, header, pattern = statement.value, b"", None
    if statement.name == "header":
        name, text = first_word(text)
        name = name.removesuffix(":")
        if not is_field_name(name):
            raise ValueError("expected NAME /re/ and a result, such as Subject /offer/ …")
        header, text = name.lower().encode(), text.strip()
    if statement.name != "*":
        expression, text = split_expression(text)
        pattern = compile_expression(expression)
    call = _CALL.fullmatch(text)
    if opens and text:
        raise ValueError("a rule that opens a <pattern-list> has no other result")
    selection = Selection() if opens or call else _selection(text)
    called = call[1] if call else ""
    return _Rule(statement.name, pattern, header, selection, called, statement.place)


def _selection(text: str) -> Selection:
    selection = Selection()
    for item in text.split(","):
        match = _ITEM.fullmatch(item.strip())
        if match is None:
            raise ValueError(_EXPECTED)
        name, value = match[1].lower(), match[2].strip('"')
        if name == "virtual-mta" and selection.virtual_mta is None:
            selection = selection._replace(virtual_mta=value)
        elif name == "recipient-priority" and selection.priority is None:
            if not (value.isascii() and value.isdigit() and int(value[:9]) <= PRIORITY_MAX):
                raise ValueError(f"expected a priority from 0 to {PRIORITY_MAX}")
            selection = selection._replace(priority=int(value))
        else:
            raise ValueError(f"{name} is given twice")
    return selection


def _is_met_by_all(rule: _Rule) -> bool:
    if rule.pattern is None:
        return True
    return rule.subject != "header" and matches_everything(rule.pattern)
