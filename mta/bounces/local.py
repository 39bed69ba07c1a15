"""Bounces that no server asked for: what we give up ourselves, and what we record of it.

The diagnostic is empty where parsers of accounting files know it so. A remote text in it
would also draw the category away from what happened.
"""

from typing import Final

from mta.model.outcome import Bounced

EXPIRED: Final = Bounced("4.4.7", "")
"""`bounce-after` is over. The replies on the way stand in the transient records."""

DELETED: Final = Bounced("5.0.0", "x-pmta;deleted by administrator")
"""`pmta delete`; the words that integrations tell such rows by."""


def no_such_vmta(name: str) -> Bounced:
    """The VirtualMTA of a queue is not in the configuration (any more)."""
    return Bounced("5.3.5", f"x-pmta;VirtualMTA '{name}' does not exist")
