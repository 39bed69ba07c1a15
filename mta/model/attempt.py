"""What is known about the connection a try was made over."""

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One outbound connection, as its accounting rows describe it.

    Fields are empty where the try did not get that far.
    """

    delivery_type: str = "smtp"
    helo: str = ""
    source_ip: str = ""
    remote_host: str = ""
    """The MX or route host name; `[ip]` for a literal."""
    remote_ip: str = ""
    esmtp: str = ""
    """The peer's EHLO keywords, comma separated, in its order."""
    tls_protocol: str = ""
    tls_cipher: str = ""

    @property
    def dsn_mta(self) -> str:
        """`host (ip)`, or empty when no host was reached."""
        return f"{self.remote_host} ({self.remote_ip})" if self.remote_ip else self.remote_host


class Try(NamedTuple):
    """What one try for a recipient that still waits came to."""

    time: float
    source_ip: str
    host: str
    """The remote host and its address."""
    reply: str
    """What was answered, or what went wrong; may be empty where the connection broke."""
