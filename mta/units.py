"""Quantities as configurations write them: intervals, rates, sizes.

Parsing raises ValueError with a sentence that says what was expected. Printing gives
the shortest form that parses to the same value. Guide: "value types".
"""

import re
from typing import Final, NamedTuple

UNLIMITED: Final = 2**63 - 1
"""What `unlimited` means for a count or a size: a number nothing reaches."""

INTERVAL_MAX_S: Final = 36525 * 86400
"""A hundred years: what is later has no date that can be shown."""
INTERVAL_CHARACTERS_MAX: Final = 100

_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_RATE_SECONDS = {
    "d": 86400, "day": 86400, "h": 3600, "hr": 3600, "hour": 3600,
    "m": 60, "min": 60, "s": 1, "sec": 1,
}  # fmt: skip
_OCTETS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}

_INTERVAL = re.compile(r"(?:\d+[wdhms])+", re.IGNORECASE)
_INTERVAL_PART = re.compile(r"(\d+)([wdhms])", re.IGNORECASE)
_SIZE = re.compile(r"(\d+)([bkmgt]?)", re.IGNORECASE)
_RATE = re.compile(r"(\d+)\s*/\s*(\d*)([a-z]+)", re.IGNORECASE)
_DATA_RATE = re.compile(r"(\d+[bkmgt]?)\s*/\s*(\d*)([a-z]+)", re.IGNORECASE)


class Rate(NamedTuple):
    """At most `limit` in any `per_s` seconds. Unlimited is None, not a Rate."""

    limit: int
    per_s: int

    @property
    def per_second(self) -> float:
        """To compare two rates by."""
        return self.limit / self.per_s

    def __str__(self) -> str:
        return f"{self.limit}/{_print_window(self.per_s)}"


class DataRate(NamedTuple):
    """At most `limit` octets in any `per_s` seconds. Unlimited is None, not a DataRate."""

    limit: int
    per_s: int

    def __str__(self) -> str:
        return f"{print_size(self.limit)}/{_print_window(self.per_s)}"


def parse_interval(text: str) -> int:
    """Seconds of `4d12h`, `300s`; a bare number is seconds."""
    is_bare = text.isascii() and text.isdigit()
    if not (is_bare or _INTERVAL.fullmatch(text)) or len(text) > INTERVAL_CHARACTERS_MAX:
        raise ValueError("expected an interval such as 10m, 1h30m or 4d12h")
    parts = _INTERVAL_PART.findall(text)
    seconds = int(text) if is_bare else sum(int(n) * _SECONDS[u.lower()] for n, u in parts)
    if seconds > INTERVAL_MAX_S:
        raise ValueError("expected an interval of 100 years (36525d) at most")
    return seconds


def print_interval(seconds: int) -> str:
    """`302400` is `3d12h`; zero is `0s`."""
    parts = []
    for unit, length in _SECONDS.items():
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Octets of `10M`, `1024K`; a bare number is octets."""
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError("expected a size such as 512K, 10M or 1G")
    return int(match[1]) * _OCTETS[match[2].lower()]


def print_size(octets: int) -> str:
    """`10485760` is `10M`."""
    for unit in "tgmk":
        if octets and octets % _OCTETS[unit] == 0:
            return f"{octets // _OCTETS[unit]}{unit.upper()}"
    return f"{octets}b"


def parse_rate(text: str) -> Rate | None:
    """`100/h`, `100/15m`; `0`, `0/d` and `unlimited` are None."""
    if text.lower() in ("0", "unlimited"):
        return None
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("expected a rate such as 100/h, 20/15m, or unlimited")
    if not int(match[1]):
        _window(match[2], match[3])
        return None
    return Rate(int(match[1]), _window(match[2], match[3]))


def parse_data_rate(text: str) -> DataRate | None:
    """`1M/s`, `2g/10h`; `0` and `unlimited` are None."""
    if text.lower() in ("0", "unlimited"):
        return None
    match = _DATA_RATE.fullmatch(text)
    if not match or not parse_size(match[1]):
        raise ValueError("expected a data rate such as 1M/s, 2G/10h, or unlimited")
    return DataRate(parse_size(match[1]), _window(match[2], match[3]))


def _window(count: str, unit: str) -> int:
    length = _RATE_SECONDS.get(unit.lower())
    if length is None or count == "0":
        raise ValueError("expected a time unit d, h, m or s after the slash, such as 100/h")
    return int(count or 1) * length


def _print_window(seconds: int) -> str:
    for unit in "dhm":
        if seconds % _SECONDS[unit] == 0:
            count = seconds // _SECONDS[unit]
            return unit if count == 1 else f"{count}{unit}"
    return "s" if seconds == 1 else f"{seconds}s"
