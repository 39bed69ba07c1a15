"""`domain-macro` lists, and patterns written with them. Guide: domain-macro."""

import re
from itertools import product
from typing import Final

from mta.config.place import Diagnostics, Place
from mta.settings.kinds import first_word, unquote

EXPANDED_MAX: Final = 100_000
"""Patterns from one line; more is a mistake in a product of macros."""
TOTAL_MAX: Final = 3_000_000
"""Patterns from all lines, those of macros within macros counted again: half a minute and a
few GB at the most."""

DEPTH_MAX: Final = 50
"""Macros in macros; as deep as that is a circle or a mistake."""

_USE = re.compile(r"\$([A-Za-z0-9_]+)")


class Macros:
    """All macros of a configuration; names in any case."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._items: dict[str, tuple[list[str], Place, str]] = {}
        self._used: set[str] = set()
        self._total = 0

    def define(self, value: str, place: Place, line: str) -> None:
        """`NAME item, item, …`."""
        name, rest = first_word(value)
        items = [unquote(item.strip()) for item in unquote(rest).split(",") if item.strip()]
        if not re.fullmatch(r"[A-Za-z0-9_]+", name) or not items:
            message = f"domain-macro needs a name and a list, not {value!r}"
            hint = "write: domain-macro yahoo yahoo.com,ymail.com"
            self._diagnostics.error(place, message, hint=hint, line=line)
            return
        if name.lower() in self._items:
            first = self._items[name.lower()][1]
            message = f"macro ${name} is defined again; the one of {first} is forgotten"
            self._diagnostics.warning(place, message, line=line)
        for item in items:
            if len(item.split()) > 1:
                message = f"domain-macro {name}: a comma is missing in {item!r}"
                self._diagnostics.error(place, message, line=line)
        self._items[name.lower()] = (items, place, line)

    def expand(self, text: str, place: Place, line: str) -> list[str]:
        """Every spelling of a pattern that uses macros; empty after an error."""
        if "$" not in text:
            return [text]
        try:
            found = self._expand(text, ())
        except ValueError as error:
            self._diagnostics.error(place, str(error), line=line)
            return []
        return list(dict.fromkeys(found))

    def _expand(self, text: str, within: tuple[str, ...]) -> list[str]:
        parts: list[list[str]] = []
        at = 0
        for use in _USE.finditer(text):
            parts.append([text[at : use.start()]])
            parts.append(self._items_of(use[1], within))
            at = use.end()
        parts.append([text[at:]])
        size = 1
        for part in parts:
            size *= len(part)
        if size > EXPANDED_MAX:
            raise ValueError(
                f"{text} expands to {size} patterns; at most {EXPANDED_MAX} make sense"
            )
        self._total += size
        if self._total > TOTAL_MAX:
            raise ValueError(f"the macros expand to more than {TOTAL_MAX} patterns in all")
        return ["".join(combination) for combination in product(*parts)]

    def _items_of(self, name: str, within: tuple[str, ...]) -> list[str]:
        key = name.lower()
        if key in within:
            way = " → ".join(f"${one}" for one in (*within, key))
            raise ValueError(f"macros refer to one another: {way}")
        if len(within) >= DEPTH_MAX:
            way = " → ".join(f"${one}" for one in within[:3]) + f" → … → ${key}"
            raise ValueError(f"macros in macros more than {DEPTH_MAX} deep: {way}")
        if key not in self._items:
            close = self._diagnostics.nearest(key, self._items, 0.7)
            hint = f'did you mean "${close}"?' if close else f"add a line `domain-macro {name} …`"
            raise ValueError(f"macro ${name} is not defined; {hint}")
        self._used.add(key)
        return [
            spelled
            for item in self._items[key][0]
            for spelled in self._expand(item, (*within, key))
        ]

    def report_unused(self) -> None:
        """Say which macros nothing uses."""
        for name, (_, place, line) in self._items.items():
            if name not in self._used:
                self._diagnostics.note(place, f"macro ${name} is not used", line=line)
