"""How many clients may be connected at once, in all and of each `<source-group>`.

What a group has reserved (`reserved-smtp-in`) is kept free for it: others are refused while
only that is left. Nothing awaits between `take`'s look and its taking.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mta.config.submitters import SourceGroup

WAITING_MAX: Final = 1000
"""Connections that may wait for a slot (`await-slot`); each costs as much as one served."""


class Slots:
    """Taken and free ones."""

    def __init__(self, total: int, groups: "Mapping[str, SourceGroup]") -> None:
        self._used: dict[str, int] = {}
        self._used_total = 0
        self.follow(total, groups)

    def follow(self, total: int, groups: "Mapping[str, SourceGroup]") -> None:
        """Go by other limits; who is inside stays."""
        self._total = total
        self._groups = groups
        self._reserved = {
            name: group.reserved_smtp_in for name, group in groups.items() if group.reserved_smtp_in
        }

    def take(self, group_name: str) -> str:
        """Take a slot for a client of a group (or of none, ""); else why there is none."""
        name = group_name.lower()
        used = self._used.get(name, 0)
        group = self._groups.get(name)
        if group is not None and used >= group.max_smtp_in:
            return f"max-smtp-in of source-group {group.name}"
        left = self._total - self._used_total
        if self._reserved and used >= self._reserved.get(name, 0):
            for other, reserved in self._reserved.items():
                if other != name:
                    left -= max(0, reserved - self._used.get(other, 0))
        if left <= 0:
            return "total-max-smtp-in"
        self._used_total += 1
        if name:
            self._used[name] = used + 1
        return ""

    def free(self, group_name: str) -> None:
        """A client is gone."""
        name = group_name.lower()
        self._used_total -= 1
        if name:
            self._used[name] -= 1
            if not self._used[name]:
                del self._used[name]
