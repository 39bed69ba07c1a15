"""A `<pattern-list>`: rules that choose a VirtualMTA or a priority by what a message says."""

import re
from dataclasses import dataclass
from typing import NamedTuple


class Selection(NamedTuple):
    """What a rule decides. None leaves it to what else there is."""

    virtual_mta: str | None = None
    """Of a VirtualMTA or pool; an empty name is `{default}`."""
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class PatternRule:
    """A line. Where `inner` is given, that list decides in its place."""

    subject: str
    """`mail-from`, `rcpt-to`, `header` or `*`."""
    pattern: re.Pattern[str] | None
    """None for `*`."""
    header: bytes
    """The name of the field for `header`, lower case."""
    selection: Selection
    inner: "PatternList | None"
    place: str
    """`file:line`."""


@dataclass(frozen=True, slots=True)
class PatternList:
    """Rules from top to bottom; a list within a rule has no name."""

    name: str
    rules: tuple[PatternRule, ...]
