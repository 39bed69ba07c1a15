"""Patterns of queue names: `yahoo.com/*`, `*/vmta1`, `*/*`. Guide: pmta commands."""

import re
from dataclasses import dataclass, field

from mta.address import domain_name
from mta.model.queue_key import DEFAULT_VMTA, QueueKey


def wildcard(text: str) -> re.Pattern[str]:
    """A case-insensitive expression for text in which `*` is any run, `?` any character."""
    return re.compile(
        "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in text),
        re.IGNORECASE | re.DOTALL,
    )


def is_wild(text: str) -> bool:
    """Whether text holds a wildcard."""
    return "*" in text or "?" in text


def one_spelling(domain: str) -> str:
    """A domain, which may have wildcards, as queues are named."""
    return ".".join(map(domain_name, domain.removesuffix(".").split(".")))


@dataclass(frozen=True, slots=True)
class QueuePattern:
    """Queue names, by a wildcard for the domain and one for the VirtualMTA."""

    domain: str
    vmta: str
    _domain: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _vmta: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_domain", wildcard(self.domain))
        object.__setattr__(self, "_vmta", wildcard(self.vmta))

    def __str__(self) -> str:
        return f"{self.domain}/{self.vmta}"

    @classmethod
    def parse(cls, text: str, *, default_vmta: str = DEFAULT_VMTA) -> "QueuePattern":
        """The pattern `domain[/vmta]`; ValueError if a part is missing.

        Without a slash the VirtualMTA is `{default}`; listings give `*` instead.
        """
        domain, slash, vmta = text.partition("/")
        if not domain or (slash and not vmta):
            raise ValueError("expected a queue such as gmail.com/vmta1, gmail.com/* or */*")
        return cls(one_spelling(domain), vmta if slash else default_vmta)

    @property
    def is_exact(self) -> bool:
        return not (is_wild(self.domain) or is_wild(self.vmta))

    @property
    def is_everything(self) -> bool:
        return self.domain == self.vmta == "*"

    @property
    def key(self) -> QueueKey:
        """The one queue an exact pattern names."""
        assert self.is_exact
        return QueueKey(self.domain, self.vmta)

    def matches(self, key: QueueKey) -> bool:
        return bool(self._domain.fullmatch(key.domain) and self._vmta.fullmatch(key.vmta))
