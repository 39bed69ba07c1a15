"""One `domain-key` line: the private key of a selector and a domain, and where it is."""

from dataclasses import dataclass

ANY = frozenset({"*", "{domain}"})
"""Domains of keys that sign for whatever domain a message asks for."""


@dataclass(frozen=True, slots=True)
class DomainKey:
    """Guide: domain-key. Its path may hold `{selector}` and `{domain}`."""

    selector: str
    """`{selector}` for the one that a message asks for."""
    domain: str
    """Lower case; one of `ANY` for every domain."""
    path: str
    place: str = ""
    """Where it stands, `file:line`; for people."""
    owner: str = ""
    """`VirtualMTA vmta1`, `pool p1`, `list l1`; empty at the top level. For people."""

    @property
    def is_any(self) -> bool:
        return self.domain in ANY

    def path_for(self, selector: str, domain: str) -> str:
        """The file of the key for one selector and domain."""
        if "{" not in self.path:
            return self.path
        return self.path.replace("{selector}", selector).replace("{domain}", domain)

    def __str__(self) -> str:
        return f"{self.selector},{self.domain},{self.path}"
