"""One address that mail may be delivered to."""

from typing import NamedTuple

SMTP_PORT = 25


class Host(NamedTuple):
    """A name with one of its addresses; `name` is `[ip]` where a literal was given."""

    name: str
    ip: str
    port: int = SMTP_PORT

    def __str__(self) -> str:
        port = "" if self.port == SMTP_PORT else f":{self.port}"
        return f"{self.name} ({self.ip}){port}"
