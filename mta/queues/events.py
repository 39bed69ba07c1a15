"""What a queue remembers, for those who ask how it came to its state."""

from typing import NamedTuple


class QueueEvent(NamedTuple):
    """Something worth remembering. Guide: max-events-recorded."""

    time: float
    text: str
    kind: str = "error"


def kept(events: tuple[QueueEvent, ...], most: int) -> tuple[QueueEvent, ...]:
    """The newest of each kind, at most so many of it; the newest come first.

    Errors come in numbers, and shall not push out when the mode changed.
    """
    room: dict[str, int] = {}
    found = []
    for event in events:
        left = room.get(event.kind, most)
        if left > 0:
            room[event.kind] = left - 1
            found.append(event)
    return tuple(found)
