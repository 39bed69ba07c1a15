"""Whether our own SPF lets a source address send for a domain, before it does (RFC 7208).

What a domain says is remembered for some minutes for each address, EHLO name and domain, but
for records that ask for the sender's local part. Mail of queues without `check-spf-outbound`
never comes here. Guide: check-spf-outbound.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from mta import clock
from mta.address import ascii_domain
from mta.model.outcome import Bounced, Deferred
from mta.net import spf
from mta.net.lasting import Lasting
from mta.net.spf import Checked, Dns
from mta.queues.connection import Source

KNOWN_S: Final = 300.0
"""How long a result holds: who mends a record sees it soon, and no domain costs much."""
KNOWN_TEMPERROR_S: Final = 30.0
"""Where DNS does not answer, not every message is to wait for that."""
KNOWN_MAX: Final = 10_000
CHECK_S: Final = 20.0
"""RFC 7208 §4.6.4: at least that."""
VOID_LOOKUPS_MAX: Final = 2
"""RFC 7208 §4.6.4."""

_Key = tuple[str, str, str]


class OwnSpf:
    """What is known in one shard."""

    def __init__(self, dns: Dns, now: Callable[[], float] = clock.now) -> None:
        self._dns = dns
        self._now = now
        self._known: Lasting[_Key, Checked] = Lasting(KNOWN_MAX)

    def clear(self, domain: str) -> None:
        """Forget a domain, or everything for `*`."""
        name = domain.lower()
        self._known.forget(lambda key: domain == "*" or key[2] == name)

    async def outcome(self, source: Source, mail_from: str) -> Deferred | Bounced | None:
        """What becomes of mail with that sender; None if it may go."""
        # RFC 7208 §2.4: the null sender is the postmaster of the client's name.
        sender = mail_from or f"postmaster@{source.helo}"
        domain = ascii_domain(sender.rpartition("@")[2])
        key = source.ip, source.helo, domain
        checked = self._known.find(key, self._now())
        if checked is None:
            checked = await self._checked(source, sender, domain)
            if not checked.is_of_sender:
                self._remember(key, checked)
        if checked.result == "pass":
            return None
        text = f"SPF {checked.result} for {sender} from {source.ip}: {checked.reason}"
        diagnostic = f"x-pmta;{text} (check-spf-outbound)"
        if checked.result == "temperror":
            return Deferred("4.7.24", diagnostic)  # RFC 7372 §3.2
        return Bounced("5.7.24" if checked.result == "permerror" else "5.7.23", diagnostic)

    async def _checked(self, source: Source, sender: str, domain: str) -> Checked:
        try:
            async with asyncio.timeout(CHECK_S):
                return await spf.check_host(
                    self._dns,
                    ip=source.ip,
                    domain=domain,
                    sender=sender,
                    helo=source.helo,
                    void_lookups_max=VOID_LOOKUPS_MAX,
                )
        except TimeoutError:
            return Checked("temperror", "it took too long")

    def _remember(self, key: _Key, checked: Checked) -> None:
        holds = KNOWN_TEMPERROR_S if checked.result == "temperror" else KNOWN_S
        self._known.keep(key, checked, self._now() + holds)
