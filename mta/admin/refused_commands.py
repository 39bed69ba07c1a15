"""The commands of PowerMTA that are refused, each with what to do instead."""

from typing import Final

from mta.admin.command import AdminCommand


def _refused(words: str, reason: str) -> AdminCommand:
    return AdminCommand(words=words, help="not available yet", unavailable=reason)


REFUSED: Final[tuple[AdminCommand, ...]] = (
    _refused("show license", "Petrel needs no license"),
    _refused("show precache", "the DNS cache fills as mail comes; nothing is fetched ahead"),
    _refused("show registration", "there is no management console to register with"),
    _refused("register", "there is no management console to register with"),
    _refused("deregister", "there is no management console to register with"),
    _refused("pause job", "jobs cannot be paused yet; pause their queues"),
    _refused("resume job", "jobs cannot be paused yet; resume their queues"),
    _refused("check mfrom", "Sender ID (RFC 4406) is historic; use `check spf`"),
    _refused("check pra", "Sender ID (RFC 4407) is historic; use `check spf`"),
    _refused("clear secretscache", "secrets are read from files only; no vault is asked"),
)
