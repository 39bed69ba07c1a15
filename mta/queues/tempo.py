"""How fast a queue goes: recipients attempted in the last minute or two, at constant cost."""

from typing import Final

PERIOD_S: Final = 60.0


class Tempo:
    """Counts the present period, and knows the count of the one before."""

    __slots__ = ("_before", "_count", "_since")

    def __init__(self) -> None:
        self._since = 0.0
        self._count = 0
        self._before = 0

    def count(self, recipients: int, now: float) -> None:
        """So many were attempted."""
        if now - self._since >= PERIOD_S:
            self._turn(now)
        self._count += recipients

    def per_second(self, now: float) -> float:
        """Recipients a second, over the period before and what there is of the present one."""
        if now - self._since >= PERIOD_S:
            self._turn(now)
        return (self._before + self._count) / (PERIOD_S + now - self._since)

    def _turn(self, now: float) -> None:
        """A period is over; if more than one is, nothing happened in the last."""
        is_next = now - self._since < 2 * PERIOD_S
        self._before = self._count if is_next else 0
        self._since = self._since + PERIOD_S if is_next else now
        self._count = 0
