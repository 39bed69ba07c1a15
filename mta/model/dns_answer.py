"""What the DNS said about where a domain's mail goes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MxAnswer:
    """The MX records of a domain (RFC 5321 §5.1).

    `records` are (preference, host name in lower case), without order. `exists` is false
    when the name itself does not exist. `is_null` marks a null MX (RFC 7505): the domain
    accepts no mail.
    """

    records: tuple[tuple[int, str], ...]
    exists: bool = True
    is_null: bool = False
    is_authentic: bool = False
    """Whether a resolver on this host says that it verified the signatures (DNSSEC)."""
