"""The X-Schedule field: when a message may be delivered, and how that is said again.

`START / END, START / END, …`, each as `YYYY-MM-DD HH:MM:SS` in the time zone of this host.
Guide: process-x-schedule.
"""

import re
import time
from itertools import pairwise
from typing import Final

from mta.admin.tree import printed_time
from mta.model.message import Window

WINDOWS_MAX: Final = 100
"""More is no schedule, and each is looked at when the message is."""
SHOWN_MAX: Final = 60
"""Characters of what is wrong that a reply shows."""
_TIME: Final = r"(\d{4}-\d\d-\d\d[ \t]+\d\d:\d\d:\d\d)"
_WINDOW: Final = re.compile(rf"[ \t]*{_TIME}[ \t]*/[ \t]*{_TIME}[ \t]*", re.ASCII)
_FORMAT: Final = "%Y-%m-%d %H:%M:%S"


def parse(text: str) -> tuple[Window, ...]:
    """The windows in order, those that overlap or touch as one; ValueError if it has none."""
    parts = text.split(",")
    if len(parts) > WINDOWS_MAX:
        raise ValueError(f"it has more than {WINDOWS_MAX} windows")
    windows: list[Window] = []
    for start, end in sorted(map(_window, parts)):
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], end))
        else:
            windows.append((start, end))
    assert all(before[1] < after[0] for before, after in pairwise(windows))
    return tuple(windows)


def printed(windows: tuple[Window, ...]) -> str:
    """As the field would say it."""
    return ", ".join(f"{printed_time(start)} / {printed_time(end)}" for start, end in windows)


def _window(text: str) -> Window:
    shown = "".join(c if c.isprintable() and c.isascii() else "?" for c in text.strip())[:SHOWN_MAX]
    match = _WINDOW.fullmatch(text)
    if match is None:
        raise ValueError(f'"{shown}" is not START / END, each as YYYY-MM-DD HH:MM:SS')
    try:
        start, end = _moment(match[1]), _moment(match[2])
    except (ValueError, OverflowError):
        raise ValueError(f'"{shown}" has a time that no calendar has') from None
    if end <= start:
        raise ValueError(f'"{shown}" ends before it begins')
    return start, end


def _moment(text: str) -> int:
    return int(time.mktime(time.strptime(" ".join(text.split()), _FORMAT)))
