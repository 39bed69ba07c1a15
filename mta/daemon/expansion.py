"""From the recipients a client gave to those the message is for: aliases, `bcc`, refusals.

A VirtualMTA is chosen by the recipient the client gave; what an alias stands for goes through
the same. Guide: alias, bcc, postmaster, accept-invalid-recipients.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mta.address import domain_name
from mta.smtp.command import RcptParameters

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.suppression import Suppression


def own_domains(configuration: "Configuration") -> frozenset[str]:
    """The names of this host, in their one spelling."""
    return frozenset(domain_name(name) for name in configuration.root.host_names)


def refusals(
    rcpts: Sequence[RcptParameters], lists: Sequence[str], suppression: "Suppression"
) -> dict[str, str]:
    """Why recipients are to bounce, by address."""
    found = {}
    for rcpt in rcpts:
        if rcpt.refusal:
            found[rcpt.address] = rcpt.refusal
        elif lists and (refusal := suppression.refusal(lists, rcpt.address)) is not None:
            found[rcpt.address] = refusal.lines[0]
    return found


def expanded(
    rcpts: Sequence[RcptParameters],
    bcc: str,
    configuration: "Configuration",
    refused: dict[str, str],
) -> list[RcptParameters]:
    """Everybody the message is for, each once for each recipient given."""
    submitters = configuration.submitters
    local_names = own_domains(configuration)
    found: list[RcptParameters] = []
    for rcpt in rcpts:
        targets: tuple[str, ...] = (rcpt.address,)
        if rcpt.address not in refused:
            targets = submitters.targets(rcpt.address, local_names)
        if targets == (rcpt.address,):
            found.append(rcpt)
            continue
        # RFC 3461 §5.2.1: who was written to is not forgotten.
        kind = "rfc822" if rcpt.address.isascii() else "utf-8"  # RFC 6533 §3
        orcpt = rcpt.orcpt or f"{kind};{rcpt.address}"
        found += [
            replace(rcpt, address=target, orcpt=orcpt, chosen_by=rcpt.address) for target in targets
        ]
    if bcc:
        # The sender knows nothing of the copy and hears nothing of it.
        found.append(RcptParameters(bcc, notify="NEVER"))
    return found
