"""Source addresses that a queue does not use: a reply said so, or an operator.

What is open from such an address closes after its transaction. Guide: disable-source-ip.
"""

from typing import TYPE_CHECKING, Final

from mta.units import print_interval

if TYPE_CHECKING:
    from mta.queues.queue import Queue

UNNAMED: Final = "address chosen by the system"
SYSTEM: Final = "system"
"""That address where a word has to do, in commands."""
BY_OPERATOR: Final = "by an operator"


def disable(queue: "Queue", ip: str, *, after: int | None, reason: str, now: float) -> bool:
    """Use it no more for so many seconds; None for until an operator enables it.

    True if that changed anything. Of one that was disabled before only the time is new, which is
    not worth a word.
    """
    until = None if after is None else now + after
    was_disabled, before = ip in queue.disabled, queue.disabled.get(ip)
    queue.disabled = {**queue.disabled, ip: until}
    queue.disabled_by = {**queue.disabled_by, ip: reason}
    if was_disabled:
        return until != before
    lasts = "until an operator enables it" if after is None else f"for {print_interval(after)}"
    queue.note_source(now, f"source {ip or UNNAMED} disabled {lasts}: {reason}")
    if all(source.ip in queue.disabled for source in queue.sources):
        text = f"All SMTP sources for queue {queue.key} are now disabled."
        queue.note(now, text)
        if queue.settings.backoff_upon_all_sources_disabled:
            queue.enter_backoff(now, after=None, reason=f"{text} The last: {reason}")
    return True


def knows(queue: "Queue", ip: str) -> bool:
    """Whether the queue sends from it, or has it disabled still."""
    return ip in queue.disabled or any(source.ip == ip for source in queue.sources)


def enable(queue: "Queue", ip: str, *, reason: str, now: float) -> bool:
    """Use it again. True if it was disabled."""
    if ip not in queue.disabled:
        return False
    queue.disabled = {one: until for one, until in queue.disabled.items() if one != ip}
    queue.disabled_by = {one: by for one, by in queue.disabled_by.items() if one != ip}
    queue.note_source(now, f"source {ip or UNNAMED} enabled again: {reason}")
    return True


def pass_time(queue: "Queue", now: float) -> None:
    """Use those again whose time is over (reenable-after)."""
    for ip in [ip for ip, until in queue.disabled.items() if until is not None and until <= now]:
        enable(queue, ip, reason="its time is over", now=now)
