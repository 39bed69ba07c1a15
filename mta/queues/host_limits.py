"""Connections to one host, over all queues. Guide: mx-connection-limit, ip-connection-limit.

Which host a connection goes to is known only when it connects, so these are the last limits
on its way: an MX host by name, for each of our addresses by itself, and a remote address,
over all of ours.
"""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from mta.queues.limits import Slots
from mta.queues.source_limits import most_specific
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from mta.settings.root import RootSettings

LEVEL: Final = "global"
MX: Final = "mx-connection-limit"
IP: Final = "ip-connection-limit"
REMEMBERED_MAX: Final = 20_000
"""Hosts whose ceiling is remembered, so that patterns are not tried for each connection."""


class HostLimits:
    """The slots of hosts that have connections, or that queues wait for."""

    def __init__(self, root: "RootSettings", *, is_lent: bool) -> None:
        self._is_lent = is_lent
        self._slots: dict[tuple[str, str], tuple[str, Slots]] = {}
        self._ceilings: dict[tuple[str, str], int] = {}
        self.reload(root)

    def reload(self, root: "RootSettings") -> None:
        """Follow a new configuration."""
        self._mx = root.mx_connection_limit
        self._ip = root.ip_connection_limit
        self._ceilings.clear()
        for (directive, _), (name, slots) in self._slots.items():
            slots.follow(self._ceiling(directive, name))

    def __iter__(self) -> Iterator[Slots]:
        return (slots for _, slots in self._slots.values())

    @property
    def is_empty(self) -> bool:
        """Whether no host is limited."""
        return not (self._mx or self._ip)

    def of(self, mx: str, ip: str, source_ip: str) -> list[Slots]:
        """What a connection to that host from that address needs."""
        found = []
        for directive, name, from_ip in ((MX, mx, source_ip), (IP, ip, "")):
            ceiling = self._ceiling(directive, name)
            if ceiling == UNLIMITED:
                continue
            scope = f"{name} from {from_ip}" if from_ip else name
            entry = self._slots.get((directive, scope))
            if entry is None:
                slots = Slots(directive, scope, ceiling, LEVEL, is_host=True, is_lent=self._is_lent)
                entry = self._slots[directive, scope] = name, slots
            found.append(entry[1])
        return found

    def forget(self, slots: Slots) -> None:
        """Forget a host that nobody uses or waits for."""
        key = (slots.directive, slots.scope)
        entry = self._slots.get(key)
        is_unused = not (slots.used or slots.line.places or slots.called)
        if is_unused and entry is not None and entry[1] is slots:
            del self._slots[key]

    def _ceiling(self, directive: str, name: str) -> int:
        key = (directive, name)
        ceiling = self._ceilings.get(key)
        if ceiling is None:
            given = _by_name(self._mx, name) if directive == MX else most_specific(self._ip, name)
            if len(self._ceilings) >= REMEMBERED_MAX:
                self._ceilings.clear()
            ceiling = self._ceilings[key] = UNLIMITED if given is None else given
        return ceiling


def _by_name(pairs: Sequence[tuple[str, int]], name: str) -> int | None:
    """The value of the pattern that says most of a name; the later of equals."""
    best: tuple[int, int | None] = (-1, None)
    for pattern, value in pairs:
        if fnmatchcase(name.lower(), pattern):
            weight = len(name) + 1 if "*" not in pattern else len(pattern.replace("*", ""))
            if weight >= best[0]:
                best = (weight, value)
    return best[1]
