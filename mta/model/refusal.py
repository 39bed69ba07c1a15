"""Why nothing may happen now."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A directive that says no, at which level, and until when.

    `scope` names what the limit belongs to in the operator's spelling (`gmail.com/vmta1`,
    `vmta1`, `total`). `until` is epoch seconds, or None while it depends on an event
    (a slot becoming free, an operator). `source` is `file:line` of the directive, or
    the empty string for a default.
    """

    directive: str
    scope: str
    until: float | None
    source: str = ""
