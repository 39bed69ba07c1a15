"""Bounces that no server asked for: what we give up ourselves, and what we record of it.

The diagnostic is empty where parsers of accounting files know it so. A remote text in it
would also draw the category away from what happened.
"""

from collections.abc import Callable
from typing import Final

from mta.model.message import Recipient
from mta.model.outcome import Bounced
from mta.model.queue_key import INVALID_DOMAIN, QueueKey

EXPIRED: Final = Bounced("4.4.7", "")
"""`bounce-after` is over. The replies on the way stand in the transient records."""

NO_MX: Final = Bounced("5.4.4", "")
"""The domain has no MX record, and `bounce-upon-no-mx` is over."""

DELETED: Final = Bounced("5.0.0", "x-pmta;deleted by administrator")
"""`pmta delete`; the words that integrations tell such rows by."""

DAMAGED: Final = Bounced("5.3.0", "x-pmta;damaged in the spool")
"""What the disk gives back is not what was written to it."""


OutcomeOf = Callable[[Recipient], Bounced]


def never_sent(key: QueueKey, *, has_vmta: bool) -> OutcomeOf | None:
    """What becomes of a queue's recipients without any host being asked; None if one is."""
    if key.domain == INVALID_DOMAIN:
        return _refused
    if not has_vmta:
        bounced = Bounced("5.3.5", f"x-pmta;VirtualMTA '{key.vmta}' does not exist")
        return lambda _: bounced
    return None


def _refused(recipient: Recipient) -> Bounced:
    """It would not have been accepted, but for `accept-invalid-recipients`."""
    text = recipient.envelope.refusals.get(recipient.address, "5.1.3 the recipient is no address")
    return Bounced(text.partition(" ")[0], f"smtp;550 {text}")
