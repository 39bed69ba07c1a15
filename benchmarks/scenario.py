"""What one run is to be like: the mail, who submits it, and how the provider answers."""

from dataclasses import dataclass, field

KB = 1 << 10


@dataclass(frozen=True, slots=True)
class Provider:
    """How the receiving end behaves. Shares are of the recipients, each told so once."""

    delay_ms: int = 0
    """From each command, or pipelined commands together, to what is answered."""
    defers: float = 0.0
    refuses: float = 0.0

    @property
    def is_plain(self) -> bool:
        return self == Provider()

    def __str__(self) -> str:
        if self.is_plain:
            return "answers at once"
        said = [f"answers after {self.delay_ms} ms"] if self.delay_ms else []
        if self.defers or self.refuses:
            said.append(f"defers {self.defers:.0%}, refuses {self.refuses:.0%}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run. The defaults are the headline: 5 KB over 20 connections kept open, durable."""

    size_kb: int = 5
    connections: int = 20
    keeps_open: bool = True
    domains: int = 1
    provider: Provider = field(default_factory=Provider)
    tls: bool = False
    """STARTTLS on the way in and on the way out."""
    dkim: bool = False
    durable: bool = True
    """As it ships; otherwise nothing waits for the disk."""

    @property
    def size(self) -> int:
        """Octets of a message."""
        return self.size_kb * KB

    @property
    def needs_own_source(self) -> bool:
        """Whether smtp-source cannot do it."""
        return self.tls or self.domains > 1 or not self.provider.is_plain

    @property
    def needs_own_sink(self) -> bool:
        """Whether smtp-sink cannot do it."""
        return self.tls or not self.provider.is_plain

    def __str__(self) -> str:
        said = [
            f"{self.size_kb} KB",
            f"{self.connections} connection{'s' * (self.connections > 1)} "
            + ("kept open" if self.keeps_open else "opened anew for each message"),
        ]
        if self.domains > 1:
            said.append(f"{self.domains:,} domains")
        if not self.provider.is_plain:
            said.append(f"provider {self.provider}")
        said += ["TLS both ways"] * self.tls + ["DKIM"] * self.dkim
        said += ["sync off"] * (not self.durable)
        return ", ".join(said)
