"""What `show jobs` answers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """All queued recipients of one job together."""

    name: str
    recipients: int
    octets: int = 0
    """Of the messages, for each recipient."""


@dataclass(frozen=True, slots=True)
class JobsAnswer:
    """`show jobs`."""

    rows: tuple[JobRow, ...]
    matching: int
    """Jobs there are, shown or not."""
