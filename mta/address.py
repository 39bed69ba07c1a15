"""Mail addresses in an envelope (RFC 5321 §4.1.2), taken apart and checked.

Only what may stand in an envelope passes: no control characters, no unquoted blanks,
no angle brackets, bounded lengths. Non-ASCII is allowed for SMTPUTF8 (RFC 6531).
"""

import re
from typing import Final

LOCAL_PART_OCTETS_MAX: Final = 64
"""RFC 5321 §4.5.3.1.1."""
DOMAIN_OCTETS_MAX: Final = 255
"""RFC 5321 §4.5.3.1.2."""

# What ends a line for some readers of Unicode ends one for nobody here: U+0080 to U+009F,
# U+2028 and U+2029 are in no address. Nor are surrogates: they stand for what is no UTF-8.
_UTF8 = r"\xa0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
# Consecutive, leading and trailing dots break RFC 5321 but exist at large providers. One class,
# as a repetition within a repetition takes for ever on what does not match.
_DOT_ATOM = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.{_UTF8}-]+")
# RFC 5321 allows angle brackets here; some readers take the last one for the end of the address.
_QUOTED = re.compile(
    rf'"(?:[\x20\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e{_UTF8}]|\\[\x20-\x3b\x3d\x3f-\x7e])*"'
)
_LABEL = rf"[A-Za-z0-9_{_UTF8}](?:[A-Za-z0-9_{_UTF8}-]*[A-Za-z0-9_{_UTF8}])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_LITERAL = re.compile(r"\[(?:IPv6:[0-9A-Fa-f:.]+|\d{1,3}(?:\.\d{1,3}){3})\]", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_+=.-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*"
                    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")  # fmt: skip


def is_valid(address: str) -> bool:
    """Whether address may stand in RCPT TO: a local part, @, a domain or literal."""
    if len(address) <= 255 and _PLAIN.fullmatch(address):
        return True
    local, at, domain = address.rpartition("@")
    return bool(
        at
        and _octets(local) <= LOCAL_PART_OCTETS_MAX
        and (_DOT_ATOM.fullmatch(local) or _QUOTED.fullmatch(local))
        and is_valid_domain(domain)
    )


def is_valid_domain(domain: str) -> bool:
    """Whether domain is a host name or an address literal of legal length."""
    if _octets(domain) > DOMAIN_OCTETS_MAX:
        return False
    if domain.startswith("["):
        return bool(_LITERAL.fullmatch(domain))
    return bool(_DOMAIN.fullmatch(domain))


def domain_of(address: str) -> str:
    """The domain, lower case, without a trailing dot; empty if there is none."""
    return address.rpartition("@")[2].lower().removesuffix(".") if "@" in address else ""


def ascii_domain(domain: str) -> str:
    """A host name as it stands in DNS, lower case; empty if it is none."""
    name = domain.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            return ""
    return name if is_valid_domain(name) and not name.startswith("[") else ""


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
