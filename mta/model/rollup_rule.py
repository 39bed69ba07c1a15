"""One `mx` line of an mx-rollup-list. Guide: MX rollup."""

from typing import Final, NamedTuple

SUFFIX: Final = ".rollup"
"""How the name of every rollup queue ends."""


class RollupRule(NamedTuple):
    """Domains with these mail hosts share the queue of that name.

    `pattern` is a host name, or `*.parent`, or `*`; `queue` ends in `.rollup`.
    """

    pattern: str
    queue: str
    by_ip: bool = False

    @property
    def is_wildcard(self) -> bool:
        return self.pattern.startswith("*")

    def matches(self, host: str) -> bool:
        """Whether a host name in lower case is meant."""
        return host.endswith(self.pattern[1:]) if self.is_wildcard else host == self.pattern
