"""What a server offers (RFC 5321 §4.1.1.1)."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from mta.units import UNLIMITED

LIMIT_DIGITS_MAX: Final = 6
"""RFC 9422 §3: a limit has so many digits at most."""


class PeerLimits(NamedTuple):
    """What a server says it takes (RFC 9422): fewer commands that it would refuse anyway."""

    mails: int = UNLIMITED
    """Messages over one connection."""
    rcpts: int = UNLIMITED
    """Recipients of one message."""

    @classmethod
    def of(cls, text: str) -> "PeerLimits":
        """From what follows LIMITS in an EHLO reply; what is not understood limits nothing."""
        found = {"MAILMAX": UNLIMITED, "RCPTMAX": UNLIMITED}
        for word in text.upper().split():
            name, _, value = word.partition("=")
            is_number = value.isascii() and value.isdigit() and len(value) <= LIMIT_DIGITS_MAX
            if name in found and is_number and int(value):
                found[name] = int(value)
        return cls(found["MAILMAX"], found["RCPTMAX"])


class ExtensionSettings(Protocol):
    """What of a queue keeps offers from being used."""

    @property
    def ignore_pipelining(self) -> bool: ...
    @property
    def ignore_8bitmime(self) -> bool: ...
    @property
    def ignore_dsn(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Extensions:
    """The offers that are used."""

    pipelining: bool = False
    size: bool = False
    eightbit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    requiretls: bool = False

    @classmethod
    def of(
        cls, keywords: frozenset[str], settings: ExtensionSettings, *, is_tls: bool = False
    ) -> "Extensions":
        """From the keywords of an EHLO reply, upper case."""
        return cls(
            pipelining="PIPELINING" in keywords and not settings.ignore_pipelining,
            size="SIZE" in keywords,
            eightbit="8BITMIME" in keywords and not settings.ignore_8bitmime,
            smtputf8="SMTPUTF8" in keywords,
            dsn="DSN" in keywords and not settings.ignore_dsn,
            requiretls="REQUIRETLS" in keywords and is_tls,
        )
