r"""Where the comment of a line begins.

A "#" begins one wherever it stands but in double quotes. A quote opens where a word or an
item of a list begins and closes at the next that no backslash escapes; one that does not
close protects nothing. Within a word, a password say, and within an /expression/ a quote is
a character as others are. Guide: a "#" of an expression is written \x23.
"""

import re
from functools import lru_cache
from typing import Final

from mta.config.sections import SECTIONS
from mta.settings.directive import directives

_QUOTED: Final = r'(?<![^\s,])"(?:[^"\\]|\\.)*"'
_MARK = re.compile(rf"{_QUOTED}|(?P<comment>#)")
_MARK_OR_EXPRESSION = re.compile(
    rf"{_QUOTED}|(?<![^\s,])/(?:[^/\\#]|\\(?:[^#]|(?=#)|$))*/?|(?P<comment>#)"
)


def comment_start(line: str) -> int:
    """The index of its "#"; -1 for a line without a comment."""
    if '"' not in line:
        return line.find("#")
    words = line.split(None, 1)
    name = words[0].lower() if words else ""
    has_expression = name.startswith("/") or name in _with_expressions()
    marks = _MARK_OR_EXPRESSION if has_expression else _MARK
    return next((mark.start() for mark in marks.finditer(line) if mark["comment"]), -1)


@lru_cache(1)
def _with_expressions() -> frozenset[str]:
    """The directives in whose values an expression may stand."""
    return frozenset(
        one.name
        for rule in SECTIONS.values()
        for one in directives(rule.scope).values()
        if one.kind.is_regex
    )
