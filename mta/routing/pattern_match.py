"""Which rule of a `<pattern-list>` a message meets. Guide: pattern-list.

The first rule that matches ends it. Where that rule leads into another list and nothing there
matches, nothing does: the outer list is not gone on with. A message has one choice, so the
first `rcpt-to` that matches any recipient decides for all of them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from mta.model.pattern_list import PatternList, PatternRule, Selection

Values = Callable[[bytes], Sequence[str]]
"""The values of all fields of a lower-case name, as they stand in the message: folded, with
the blank after the colon, without the last line end."""


class Match(NamedTuple):
    """What was decided, and the list and line that did."""

    selection: Selection
    name: str
    place: str


def first_match(
    patterns: PatternList, mail_from: str, rcpts: Sequence[str], values: Values
) -> Match | None:
    """The decision for a message; None if no rule is met."""
    current: PatternList | None = patterns
    name = patterns.name
    while current is not None:
        name = current.name or name
        rule = next((r for r in current.rules if _matches(r, mail_from, rcpts, values)), None)
        if rule is not None and rule.inner is None:
            return Match(rule.selection, name, rule.place)
        current = rule.inner if rule is not None else None
    return None


def _matches(rule: PatternRule, mail_from: str, rcpts: Sequence[str], values: Values) -> bool:
    if rule.pattern is None:
        return True
    match rule.subject:
        case "mail-from":
            subjects: Sequence[str] = (mail_from,)
        case "rcpt-to":
            subjects = rcpts
        case _:
            subjects = values(rule.header)
    for subject in subjects:  # noqa: SIM110 - for each message and rule: no generator
        if rule.pattern.search(subject):
            return True
    return False
