"""Mail addresses in an envelope (RFC 5321 §4.1.2), taken apart and checked.

Only what may stand in an envelope passes: no control characters, no unquoted blanks,
no angle brackets, bounded lengths. Non-ASCII is allowed for SMTPUTF8 (RFC 6531).

One mailbox has several spellings: needless quotes, a final dot, the case of the domain, U-labels or
A-labels. What compares addresses or domains compares `mailbox` and `domain_name`; what is sent
is what was given.
"""

import re
import unicodedata
from encodings.idna import ToASCII, nameprep
from functools import lru_cache
from typing import Final

LOCAL_PART_OCTETS_MAX: Final = 64 + 1 + 64 + 1 + 255
"""RFC 5321 §4.5.3.1.1 has 64, and asks for no limit where that can be. Senders that name a
recipient (VERP, `user-rcptlocal=rcptdomain`) need more; large providers send and take them."""
DOMAIN_OCTETS_MAX: Final = 255
"""RFC 5321 §4.5.3.1.2."""
LABEL_OCTETS_MAX: Final = 63
"""RFC 1035 §2.3.4."""

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
_QUOTED_PAIR = re.compile(r"\\(.)")
_QUOTABLE = re.compile(r'(["\\])')
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
"""RFC 3490 §3.1: what is read as the dot between labels."""
_DEVIANT = re.compile("([\xdf\u03c2\u200c\u200d])")
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
    """The domain in its one spelling; empty if there is none."""
    return domain_name(address.rpartition("@")[2]) if "@" in address else ""


def domain_name(domain: str) -> str:
    """A domain in its one spelling: as in DNS; in lower case if it cannot stand there."""
    name = domain.lower().removesuffix(".")
    return name if name.isascii() else _ascii_labels(name) or name


def ascii_domain(domain: str) -> str:
    """A host name as it stands in DNS, lower case; empty if it is none."""
    name = domain.lower().removesuffix(".")
    if not name.isascii():
        return _ascii_labels(name)
    return name if is_valid_domain(name) and not name.startswith("[") else ""


def utf8_domain(domain: str) -> str:
    """A domain in its one spelling as people read it, with U-labels."""
    is_idn = "xn--" in domain and len(domain) <= DOMAIN_OCTETS_MAX
    return _with_u_labels(domain) if is_idn else domain


def mailbox(address: str) -> str:
    """An address, or a local part alone, in its one spelling.

    A local part keeps its case: only its receiver knows whether that counts (RFC 5321 §2.4).
    """
    local, at, domain = address.rpartition("@") if "@" in address else (address, "", "")
    if local[:1] == '"' and _QUOTED.fullmatch(local):
        local = _unquoted(local)
    return f"{local}@{domain_name(domain)}" if at else local


def spellings(address: str) -> tuple[str, ...]:
    """An address in lower case as an expression may have it: as given, and otherwise."""
    given = address.lower()
    one = mailbox(given)
    if one == given and "xn--" not in one:
        return (given,)
    local, _, domain = one.rpartition("@")
    return tuple(dict.fromkeys((given, one, f"{local}@{utf8_domain(domain)}")))


def _unquoted(local: str) -> str:
    """A quoted local part without quotes if it needs none, else with as few as it needs."""
    text = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return text if _DOT_ATOM.fullmatch(text) else '"' + _QUOTABLE.sub(r"\\\1", text) + '"'


def _ascii_labels(name: str) -> str:
    """A host name with U-labels, lower case, as it stands in DNS; empty if it cannot."""
    return _with_a_labels(name) if len(name) <= DOMAIN_OCTETS_MAX else ""


@lru_cache(4096)
def _with_a_labels(name: str) -> str:
    try:
        labels = [_ascii_label(label) for label in _DOTS.split(name)]
    except UnicodeError:
        return ""
    found = ".".join(labels).removesuffix(".")
    # A character may be one that stands for others, such as a bracket or a slash.
    return found if is_valid_domain(found) and not found.startswith("[") else ""


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    parts = _DEVIANT.split(label)
    if len(parts) == 1:
        return ToASCII(label).decode()
    # RFC 5892 §2.6: these are letters of their own. In IDNA of 2003 they were others, or
    # nothing: the mail would go to the domain of somebody else.
    prepared = "".join(p if _DEVIANT.fullmatch(p) else nameprep(p) for p in parts)
    found = "xn--" + unicodedata.normalize("NFC", prepared).encode("punycode").decode()
    if len(found) > LABEL_OCTETS_MAX:
        raise UnicodeError("the label is too long")
    return found


@lru_cache(4096)
def _with_u_labels(domain: str) -> str:
    try:
        labels = [
            label[4:].encode().decode("punycode") if label.startswith("xn--") else label
            for label in domain.split(".")
        ]
    except UnicodeError:
        return domain
    found = ".".join(labels)
    # What does not lead back is no U-label, but could look like one.
    return found if is_valid_domain(found) and domain_name(found) == domain else domain


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
