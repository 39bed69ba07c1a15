"""The name of a queue: one destination through one VirtualMTA."""

from typing import Final, NamedTuple

from mta.address import domain_name

DEFAULT_VMTA: Final = "{default}"
"""The VirtualMTA of messages that chose none. Guide: VirtualMTAs."""

NO_VMTA: Final = "{none}"
"""No VirtualMTA has this name: mail that asks for one without a name bounces in its queue."""

BY_SOURCE_IP: Final = "by-smtp-source-ip"
"""In the place of a name: the VirtualMTA sending from the address listened on."""

INVALID_DOMAIN: Final = "{invalid}"
"""The destination of recipients that were accepted to be bounced (`accept-invalid-recipients`)."""


class QueueKey(NamedTuple):
    """`domain/vmta`; domain is in its one spelling, in lower case with A-labels.

    Spools of older versions have queues with U-labels; `Redirects` empties them.
    """

    domain: str
    vmta: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.vmta}"

    @classmethod
    def parse(cls, text: str) -> "QueueKey":
        """The key of `domain/vmta`; without a slash the VMTA is `{default}`."""
        domain, slash, vmta = text.partition("/")
        return cls(domain_name(domain), vmta if slash else DEFAULT_VMTA)
