"""What one section says: values by directive, each with its place."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mta.config.place import Place
from mta.settings.directive import Directive


class Entry(NamedTuple):
    """A value as given."""

    value: Any
    place: Place


@dataclass(slots=True, eq=False)
class Block:
    """The directives of one section, or of several that are one because of their name."""

    scope: str
    name: str
    place: Place
    is_macro: bool = False
    """Whether the pattern came from a macro; one that is written out comes before it."""
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    """By attribute."""
    values: dict[str, Any] = field(default_factory=dict)
    """What counts: the last value, or all of a directive that repeats; by attribute."""

    def add(self, directive: Directive, value: object, place: Place) -> None:
        """Take one more value."""
        self.entries.setdefault(directive.attribute, []).append(Entry(value, place))
        if not directive.repeats:
            self.values[directive.attribute] = value
            return
        several = self.values.get(directive.attribute, ())
        if not isinstance(several, list):
            several = self.values[directive.attribute] = list(several)
        several.append(value)

    def seal(self) -> None:
        """All is read, for now: what repeats becomes a tuple, once and not with each line."""
        for attribute, value in self.values.items():
            if isinstance(value, list):
                self.values[attribute] = tuple(value)

    def place_of(self, attribute: str) -> Place | None:
        """Where the value that counts was given."""
        entries = self.entries.get(attribute)
        return entries[-1].place if entries else None
