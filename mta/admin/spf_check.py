"""`mta check spf`: what a receiver makes of mail from an address (RFC 7208), asked afresh."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mta.address import domain_of
from mta.admin import local_commands as local
from mta.admin.protocol import Exit
from mta.admin.render import Format, render_nodes
from mta.admin.resolve import Say, name_servers
from mta.net import spf
from mta.net.dump import dumped
from mta.net.resolver import Asker, Resolver, asker_of

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.name
    import dns.resolver

    from mta.admin.command import Arguments
    from mta.admin.tree import Node

WITHIN_S: Final = 20.0
"""RFC 7208 §4.6.4."""
GOOD: Final = frozenset({"pass", "neutral", "none"})
"""Results that keep no mail from being taken."""


class _Asker:
    """Asks over TCP if that is wanted, and dumps what comes."""

    def __init__(self, asker: "dns.asyncresolver.Resolver", a: "Arguments", say: Say) -> None:
        self._asker = asker
        self._over_tcp = a[local.TCP]
        self._dumps = a[local.DUMPPACKETS]
        self._say = say

    async def resolve(
        self, qname: "dns.name.Name", rdtype: str, *, search: bool
    ) -> "dns.resolver.Answer":
        answer = await self._asker.resolve(qname, rdtype, search=search, tcp=self._over_tcp)
        if self._dumps:
            self._say(f"response about {rdtype} {qname}")
            for line in dumped(answer.response.to_wire()):
                self._say(f"    {line}")
        return answer


def check_spf(a: "Arguments", config: str, form: Format, out: Callable[[str], None]) -> Exit:
    """Tell the result and how it came about; refused where a receiver might refuse mail."""

    def say(line: str) -> None:
        if form == "text":
            out(f"{line}\n")

    def configured(servers: tuple[str, ...]) -> Asker:
        return _Asker(asker_of(servers), a, say)

    trace: list[str] = []

    def told(line: str) -> None:
        trace.append(line)
        say(line)

    helo, mail_from = a[local.HELO], a[local.MAIL_FROM].strip("<>")
    # RFC 7208 §2.4: without a sender it is the postmaster of the client's name.
    sender = mail_from or f"postmaster@{helo}"
    domain = domain_of(sender)
    resolver = Resolver(name_servers(config), configured=configured)

    async def checked() -> spf.Checked:
        try:
            async with asyncio.timeout(WITHIN_S):
                return await spf.check_host(
                    resolver,
                    ip=a[local.CLIENT_IP],
                    domain=domain,
                    sender=sender,
                    helo=helo,
                    trace=told,
                )
        except TimeoutError:
            return spf.Checked("temperror", "it took too long")

    found = asyncio.run(checked())
    is_good = found.result in GOOD
    say(f"{found.result}: {found.reason}" if found.reason else found.result)
    if form != "text":
        nodes: dict[str, Node] = {
            "result": found.result, "reason": found.reason, "domain": domain, "line": [*trace],
        }  # fmt: skip
        out(render_nodes(nodes, form, "", failed=not is_good))
    return Exit.DONE if is_good else Exit.REFUSED
