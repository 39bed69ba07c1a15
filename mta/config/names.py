"""Names that one line gives and another uses: VirtualMTAs, pools, lists, sources."""

from collections.abc import Collection
from typing import Final, NamedTuple

from mta.config.grammar import Statement
from mta.config.place import Diagnostics, Place

VIRTUAL_MTA: Final = "virtual-mta"
"""VirtualMTAs and pools share their names."""
LISTS: Final = frozenset({"smtp-pattern-list", "pattern-list", "rewrite-list"})
"""Lists that do nothing until something names them."""


RESERVED_SOURCES: Final = frozenset({"{auth}", "{pickup}", "{transmissions-api}"})
"""Sources that count though nothing names them."""
NAMED_MAX: Final = 4
"""Names that are all named where one is not known: what a line holds."""


class _Use(NamedTuple):
    name: str
    directive: str
    place: Place
    line: str


class Names:
    """Everything defined and used in one configuration; names in any case."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics
        self._defined: dict[str, dict[str, tuple[str, Place]]] = {}
        self._uses: dict[str, list[_Use]] = {}

    def define(self, what: str, name: str, place: Place) -> None:
        """There is one of that name; of several, the first keeps its spelling."""
        known = self._defined.setdefault(what, {})
        first, where = known.setdefault(name.lower(), (name, place))
        if first != name:
            ending = "and are two" if what == "smtp-user" else "and are one"
            self._diagnostics.warning(
                place, f"<{what}> {name} and {first} ({where}) differ only in case, {ending}"
            )

    def use(self, what: str, name: str, statement: Statement) -> None:
        """Something is said to be there."""
        use = _Use(name, statement.name, statement.value_place, statement.line)
        self._uses.setdefault(what, []).append(use)

    def used(self, what: str, *, except_at: Collection[tuple[str, int]] = ()) -> set[str]:
        """The names used, in lower case, but for uses in some lines."""
        uses = self._uses.get(what, ())
        return {use.name.lower() for use in uses if use.place[:2] not in except_at}

    def report(self) -> None:
        """Say which names are used and not defined, spelled otherwise, or defined for nothing."""
        for what, uses in self._uses.items():
            for use in uses:
                self._check(what, use)
        for what in sorted(LISTS):
            used = self.used(what)
            for key, (name, place) in self._defined.get(what, {}).items():
                if key not in used:
                    self._diagnostics.warning(
                        place, f"<{what} {name}> is not used", hint=f"name it: {what} {name}"
                    )
        used = self.used("source")
        for key, (name, place) in self._defined.get("source", {}).items():
            if key not in used and key not in RESERVED_SOURCES:
                hint = "a name is for a listener or <smtp-user> to have; for clients give a network"
                self._diagnostics.warning(place, f"<source {name}> is not used", hint=hint)

    def _check(self, what: str, use: _Use) -> None:
        known = self._defined.get(what, {})
        found = known.get(use.name.lower())
        if found is None:
            close = self._diagnostics.nearest(use.name.lower(), known, 0.7)
            there_are = [name for name, place in known.values() if place.line]
            hint = f"define it with <{what} {use.name}>"
            if close:
                hint = f'did you mean "{known[close][0]}"?'
            elif 0 < len(there_are) <= NAMED_MAX:
                hint += f", or use one there is: {', '.join(there_are)}"
            message = f"{use.directive}: there is no {what} {use.name}"
            self._diagnostics.error(use.place, message, hint=hint, line=use.line)
        elif found[0] != use.name:
            self._diagnostics.note(
                use.place,
                f"{use.directive}: {use.name} is {found[0]} of {found[1]}; case does not count",
                line=use.line,
            )
