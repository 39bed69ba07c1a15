"""Counts of what passed, and the periods `show status` derives from them.

Counting is six integers that the hot path adds to. Once a second the daemon calls
`sample`; the sliding minute and hour, and their highest values, come from the samples.
Memory is constant: 61 samples of a second, 61 of a minute.
"""

from collections import deque
from dataclasses import dataclass, field

from mta.admin.answers import Traffic, TrafficPeriod

MINUTE_S = 60
HOUR_S = 3600

_Totals = tuple[int, int, int, int, int, int]
_NOTHING: _Totals = (0, 0, 0, 0, 0, 0)


@dataclass(slots=True)
class _Window:
    """The last `length_s` seconds, seen through a sample every `step_s`."""

    length_s: int
    step_s: int
    samples: deque[tuple[float, _Totals]] = field(default_factory=deque)
    last: _Totals = _NOTHING
    top: _Totals = _NOTHING

    def sample(self, now: float, totals: _Totals) -> None:
        samples = self.samples
        while len(samples) > 1 and samples[1][0] <= now - self.length_s:
            samples.popleft()
        before = samples[0][1] if samples else _NOTHING
        a, b, c, d, e, f = (new - old for new, old in zip(totals, before, strict=True))
        self.last = (a, b, c, d, e, f)
        u, v, w, x, y, z = map(max, self.last, self.top)
        self.top = (u, v, w, x, y, z)
        if not samples or now >= samples[-1][0] + self.step_s:
            samples.append((now, totals))


@dataclass(slots=True)
class TrafficCounters:
    """Totals since the start or the last reset. Add to the first six fields directly."""

    in_recipients: int = 0
    in_messages: int = 0
    in_octets: int = 0
    out_recipients: int = 0
    out_messages: int = 0
    out_octets: int = 0
    _minute: _Window = field(default_factory=lambda: _Window(MINUTE_S, 1))
    _hour: _Window = field(default_factory=lambda: _Window(HOUR_S, MINUTE_S))

    def sample(self, now: float) -> None:
        """Take note of the totals; once a second is enough."""
        totals = self._totals()
        self._minute.sample(now, totals)
        self._hour.sample(now, totals)

    def reset(self) -> None:
        """Begin again at zero. Guide: pmta reset counters."""
        self.in_recipients = self.in_messages = self.in_octets = 0
        self.out_recipients = self.out_messages = self.out_octets = 0
        self._minute = _Window(MINUTE_S, 1)
        self._hour = _Window(HOUR_S, MINUTE_S)

    @property
    def total(self) -> TrafficPeriod:
        return _period(self._totals())

    @property
    def last_minute(self) -> TrafficPeriod:
        return _period(self._minute.last)

    @property
    def last_hour(self) -> TrafficPeriod:
        return _period(self._hour.last)

    @property
    def top_minute(self) -> TrafficPeriod:
        return _period(self._minute.top)

    @property
    def top_hour(self) -> TrafficPeriod:
        return _period(self._hour.top)

    def _totals(self) -> _Totals:
        return (
            self.in_recipients, self.in_messages, self.in_octets,
            self.out_recipients, self.out_messages, self.out_octets,
        )  # fmt: skip


def _period(totals: _Totals) -> TrafficPeriod:
    return TrafficPeriod(inbound=Traffic(*totals[:3]), outbound=Traffic(*totals[3:]))
