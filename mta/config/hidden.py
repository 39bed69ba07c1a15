"""Lines of a configuration as they may be shown to anybody: without passwords and keys."""

import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from mta.config.sections import SECTIONS
from mta.settings.directive import directives

HIDDEN: Final = "(hidden)"
NEAR: Final = 0.75
"""How close a name is to that of a directive with a secret, of which it may be a slip."""
TELLING: Final = ("pass", "secret", "token", "api-key", "apikey")
"""What a name has in it that is no directive's and yet probably a secret's."""
NAME_CHARACTERS_MAX: Final = 40
"""The longest has 27."""
_STEM = re.compile("cert|tifi|icat|assw|swor|word|cess|tok|ken|api|key|priv|poli")
"""Something of it is left by any slip. Files may hold 100,000 slips, and to compare takes long."""


def without_secret(line: str) -> str:
    """A line whose value, or the secret part of it, is hidden if its directive has one."""
    words = line.split(maxsplit=1)
    if len(words) < 2:
        return line
    shown = _shown_words(words[0].lower())
    if shown is None:
        return line
    value = words[1].split(maxsplit=shown)
    if len(value) <= shown:
        return line
    return f"{line[: line.index(words[0])]}{' '.join([words[0], *value[:shown], HIDDEN])}"


def _shown_words(name: str) -> int | None:
    """How many words of its value may be shown; None if all of them."""
    secret = _secret_directives()
    if name in secret:
        return secret[name]
    if name in _open_directives():
        return None
    if any(part in name for part in TELLING):
        return 0
    if len(name) > NAME_CHARACTERS_MAX:
        return None
    if _STEM.search(name) is None:
        return None
    close = get_close_matches(name, secret, 1, NEAR)
    return secret[close[0]] if close else None


@lru_cache(1)
def _secret_directives() -> dict[str, int]:
    """By name, how many words of the value come before the secret one."""
    found: dict[str, int] = {}
    for rule in SECTIONS.values():
        for one in directives(rule.scope).values():
            before = one.kind.secret_after
            if before is not None:
                found[one.name] = min(before, found.get(one.name, before))
    return found


@lru_cache(1)
def _open_directives() -> frozenset[str]:
    return frozenset(name for rule in SECTIONS.values() for name in directives(rule.scope))
