"""What a queue remembers, for those who ask how it came to its state."""

from typing import Final, Literal, NamedTuple


class QueueEvent(NamedTuple):
    """Something worth remembering. Guide: max-events-recorded."""

    time: float
    text: str
    kind: str = "error"


RECIPIENT_EVENTS_MAX: Final = 50
"""Guide: track-recipient-events."""


class RecipientEvent(NamedTuple):
    """What became of a recipient, or of a try for it. Guide: track-recipient-events."""

    kind: Literal["delivered", "bounced", "deferred"]
    time: float
    source_ip: str
    address: str
    job_id: str
    mta: str
    """The remote host and its address; empty where none was reached."""
    text: str
    """As accounting has the status and the reply."""


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
