"""How many messages clients are sending: a commit may wait for them, so one sync is for all."""


class Arrivals:
    """Counted where clients are listened to, asked where messages are committed."""

    __slots__ = ("expected",)

    def __init__(self) -> None:
        self.expected = 0
        """Messages that have begun and are not handed over."""


class Arrival:
    """Whether one client is within a message."""

    __slots__ = ("_arrivals", "_is_expected")

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._is_expected = False

    def expect(self, *, is_expected: bool) -> None:
        """Note that a message has begun, or that it is handed over or will not come."""
        if is_expected is not self._is_expected:
            self._is_expected = is_expected
            self._arrivals.expected += 1 if is_expected else -1
