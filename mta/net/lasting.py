"""What is known for a time, and of how many things at most."""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Lasting(Generic[K, V]):
    """Values by key, none of them None; of too many, the one that was kept first goes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[K, tuple[V, float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: K, now: float) -> V | None:
        """What holds at that time; None if nothing does."""
        known = self._known.get(key)
        return known[0] if known is not None and known[1] > now else None

    def until(self, key: K) -> float | None:
        """When what was kept last stops to hold; None if nothing was."""
        known = self._known.get(key)
        return known[1] if known is not None else None

    def keep(self, key: K, value: V, until: float) -> None:
        """Know a value, which holds until then."""
        self._known.pop(key, None)
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = value, until

    def forget(self, is_meant: Callable[[K], bool]) -> None:
        """Know no more what is meant."""
        self._known = {key: known for key, known in self._known.items() if not is_meant(key)}
