"""How a mailbox provider behaves, and what it answers: decisions without I/O.

A profile is chosen by the recipient's domain, so one simulator plays several providers.
Profiles stand in a small TOML file, one table for each:

    ["gmail.example"]
    messages_per_connection = 20       # then 421
    rcpts_per_message = 100            # more are answered 452
    tells_limits = true                # say these two in EHLO (LIMITS)
    connections_per_ip = 10            # more are answered 421
    messages_per_second = 15           # per source address; more are answered 421
    greylist_tries = 1                 # so many tries of a recipient are answered 450
    delay_s = 0.05                     # before every reply: a tarpit
    unknown = ["nobody*"]              # local parts that are answered 550
    refuse = 0.01                      # share of recipients answered 550
    defer = 0.05                       # share of recipients answered 450
    drop_at = "content"    # close there: greeting ehlo mail rcpt data content after-content
    drop = 0.1                         # share of the times it is closed there
    starttls = "offer"                 # none, offer, or broken
    requiretls = true                  # offer REQUIRETLS within TLS
    pipelining = true

The table `["*"]` holds for the domains without one, and for connections as a whole.
"""

import random
import tomllib
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from mta.errors import PetrelError

STAGES: Final = ("greeting", "ehlo", "mail", "rcpt", "data", "content", "after-content")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One provider. Zero is no limit."""

    messages_per_connection: int = 0
    rcpts_per_message: int = 0
    tells_limits: bool = False
    connections_per_ip: int = 0
    messages_per_second: int = 0
    greylist_tries: int = 0
    delay_s: float = 0.0
    unknown: tuple[str, ...] = ()
    refuse: float = 0.0
    defer: float = 0.0
    drop_at: str = ""
    drop: float = 0.0
    starttls: str = "none"
    requiretls: bool = False
    pipelining: bool = True


BUILT_IN: Final[dict[str, Profile]] = {
    "gmail.*": Profile(messages_per_second=30, unknown=("nobody*",), defer=0.02),
    "yahoo.*": Profile(messages_per_connection=20, defer=0.05, unknown=("nobody*",)),
    "outlook.*": Profile(greylist_tries=1, unknown=("nobody*",)),
    "corp.*": Profile(refuse=0.02, unknown=("nobody*",)),
    "flaky.*": Profile(drop_at="after-content", drop=0.02, defer=0.05, refuse=0.05),
    "greylist.*": Profile(greylist_tries=1),
    "dead.*": Profile(drop_at="mail", drop=1.0),
    "*": Profile(),
}
"""What domains are played as without a file; tests and the demonstration use them."""


def load_profiles(path: Path) -> dict[str, Profile]:
    """Profiles from a TOML file; PetrelError says what is wrong with it."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise PetrelError(f"{path}: {error}") from error
    known = {one.name for one in fields(Profile)}
    profiles = {}
    for name, table in tables.items():
        unknown = set(table) - known
        if unknown:
            raise PetrelError(
                f"{path}: [{name!r}] has no setting {sorted(unknown)[0]!r}; "
                f"there are {', '.join(sorted(known))}"
            )
        if table.get("drop_at", "") not in ("", *STAGES):
            raise PetrelError(f"{path}: [{name!r}] drop_at is one of {', '.join(STAGES)}")
        if "unknown" in table:
            table["unknown"] = tuple(table["unknown"])
        profiles[name] = Profile(**table)
    profiles.setdefault("*", Profile())
    return profiles


@dataclass(slots=True)
class Memory:
    """What the providers remember over connections, and their dice."""

    profiles: dict[str, Profile]
    dice: random.Random
    tries: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    recent: dict[str, deque[float]] = field(default_factory=dict)

    def profile(self, domain: str) -> Profile:
        """The profile that plays a domain."""
        for pattern, profile in self.profiles.items():
            if pattern != "*" and fnmatch(domain, pattern):
                return profile
        return self.profiles["*"]

    def drops(self, profile: Profile, stage: str) -> bool:
        """Whether to close the connection at a stage, this time."""
        return profile.drop_at == stage and self.dice.random() < profile.drop

    def greet(self, ip: str) -> str:
        """The first line a client hears."""
        most = self.profiles["*"].connections_per_ip
        if most and self.connections[ip] > most:
            return f"421 4.7.0 {ip} too many connections from your address"
        return "220 mx.provider.example ESMTP"

    def rcpt(self, ip: str, mail_from: str, address: str, now: float) -> str:
        """The answer to one RCPT."""
        local, _, domain = address.rpartition("@")
        profile = self.profile(domain.lower())
        if any(fnmatch(local, pattern) for pattern in profile.unknown):
            return f"550 5.1.1 <{address}>: user unknown"
        if profile.greylist_tries:
            key = f"{ip.rpartition('.')[0]}/{mail_from}/{address}"
            self.tries[key] += 1
            if self.tries[key] <= profile.greylist_tries:
                return "450 4.7.1 greylisted, please try again later"
        roll = self.dice.random()
        if roll < profile.refuse:
            return f"550 5.7.1 <{address}>: message refused by policy"
        if roll < profile.refuse + profile.defer:
            return "451 4.3.2 please try again later"
        if profile.messages_per_second:
            recent = self.recent.setdefault(f"{ip} {domain}", deque())
            while recent and recent[0] <= now - 1:
                recent.popleft()
            if len(recent) >= profile.messages_per_second:
                return f"421 4.7.28 {ip} rate limited: too many messages, slow down"
            recent.append(now)
        return "250 2.1.5 ok"
