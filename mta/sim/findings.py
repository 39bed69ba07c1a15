"""What a simulation found wrong. The first is enough: it ends the run at the next rest."""

from typing import Final

FOUND_MAX: Final = 20
"""What is found after so much follows from it."""


class InvariantError(AssertionError):
    """An invariant does not hold."""


class Findings:
    """Kept rather than raised where it is found: that may be deep within the daemon."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, at: float, text: str) -> None:
        if len(self.found) < FOUND_MAX:
            self.found.append(f"at {at:.3f} s: {text}")

    def check(self) -> None:
        """InvariantError if anything was found."""
        if self.found:
            raise InvariantError("\n".join(self.found))
