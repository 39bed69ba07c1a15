"""DNS in memory, under the production resolver with its cache: answers, faults, latency."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Final

import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.resolver

LIFETIME_S: Final = 15.0
"""How long a question without answer takes: the production resolver's patience."""


@dataclass(slots=True, eq=False)
class Zone:
    """Records by name and type, and the names that are in trouble."""

    dice: random.Random
    ttl_s: int = 600
    latency_s: float = 0.01
    records: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    """Names answered SERVFAIL."""
    silent: set[str] = field(default_factory=set)
    """Names not answered at all."""
    authentic: set[str] = field(default_factory=set)
    """Names whose answers say that their signatures were verified."""
    nameserver: str | None = None
    """Who is said to have answered."""
    questions: int = 0

    def add(self, name: str, kind: str, *values: str) -> None:
        self.records[name, kind] = values

    async def resolve(
        self, qname: dns.name.Name, rdtype: str, *, search: bool
    ) -> dns.resolver.Answer:
        """As `dns.asyncresolver.Resolver.resolve`."""
        assert not search
        self.questions += 1
        name = qname.to_text(omit_final_dot=True).lower()
        if name in self.silent:
            await asyncio.sleep(LIFETIME_S)
            raise dns.resolver.LifetimeTimeout
        await asyncio.sleep(self.latency_s * self.dice.uniform(0.5, 2.0))
        if name in self.failing:
            raise dns.resolver.NoNameservers
        values = self.records.get((name, rdtype))
        if values is None:
            if any(known == name for known, _ in self.records):
                raise dns.resolver.NoAnswer
            raise dns.resolver.NXDOMAIN
        kind = dns.rdatatype.from_text(rdtype)
        lines = [f"{qname} {self.ttl_s} IN {rdtype} {value}" for value in values]
        flags = "flags QR RD RA AD" if name in self.authentic else "flags QR RD RA"
        response = dns.message.from_text(
            "\n".join([flags, ";QUESTION", f"{qname} IN {rdtype}", ";ANSWER", *lines])
        )
        assert isinstance(response, dns.message.QueryMessage)
        return dns.resolver.Answer(qname, kind, dns.rdataclass.IN, response, self.nameserver)
