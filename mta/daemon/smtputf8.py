"""Who cannot be sent a message where the peer does not offer SMTPUTF8 (RFC 6531 §3.2).

    what is not ASCII                                     bounces            status
    the sender                                            every recipient    5.6.7
    a recipient                                           that recipient     5.6.7
    the header block, if the submitter said SMTPUTF8      every recipient    5.6.9

A submitter who does not say SMTPUTF8 and has other octets in a header field breaks a rule that
many break, and whoever takes it reads them somehow: that goes as it came. Header fields within
the body (RFC 6532 allows UTF-8 there) are not looked at: who reads a body in parts does so, too.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mta.daemon.heads import own_head
from mta.model.outcome import Bounced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mta.model.host import Host
    from mta.smtp.client import Transaction

ADDRESS: Final = "5.6.7"
HEADER: Final = "5.6.9"


async def refusals(transaction: "Transaction", host: "Host") -> list[Bounced | None]:
    """Why each recipient bounces, or None; the host does not offer SMTPUTF8."""
    envelope, recipients = transaction.envelope, transaction.recipients
    if not transaction.sender.isascii():
        return [_bounced(ADDRESS, host)] * len(recipients)
    if envelope.is_smtputf8 and not (await own_head(transaction.content, envelope)).isascii():
        return [_bounced(HEADER, host)] * len(recipients)
    return [
        None if recipient.address.isascii() else _bounced(ADDRESS, host) for recipient in recipients
    ]


def without(transaction: "Transaction", refusals: "Sequence[Bounced | None]") -> "Transaction":
    """The transaction for those of its recipients who are not refused."""
    able = zip(transaction.recipients, refusals, strict=True)
    return replace(transaction, recipients=tuple(one for one, refusal in able if refusal is None))


def _bounced(status: str, host: "Host") -> Bounced:
    return Bounced(status, f"x-pmta;SMTPUTF8: {host}: SMTPUTF8 is not offered")
