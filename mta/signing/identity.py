"""For whom a message is signed: the address in Sender or From, or what the message asks for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mta import address
from mta.settings import dkim_kinds
from mta.signing.canonical import Field

_QUOTED_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"(?!@)|\((?:[^()\\]|\\.)*\)')
_ANGLE = re.compile(r"<([^<>]*)>")
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
OPTIONS_MAX: Final = 1000
"""Characters of an X-DKIM-Options field; five tags need a tenth."""


def header_identity(fields: Sequence[Field], rule: str) -> str:
    """The address to sign for; empty if the message has none. Guide: dkim-identity."""
    wanted = (b"from",) if rule == dkim_kinds.STRICT_FROM else (b"sender", b"from")
    for name in wanted:
        for field in fields:
            if field.name == name and (found := _mailbox(field.octets)):
                return found
    return ""


@lru_cache(4096)
def _mailbox(field: bytes) -> str:
    """The first address of a field; its domain in lower case, as it stands in DNS."""
    text = field.partition(b":")[2].replace(b"\r\n", b"").decode("utf-8", "replace")
    if '"' in text or "(" in text:
        text = _QUOTED_OR_COMMENT.sub(" ", text)
    angle = _ANGLE.search(text)
    found = (angle[1] if angle else text.partition(",")[0]).strip()
    local, _, domain = found.rpartition("@")
    domain = address.ascii_domain(domain)
    return f"{local}@{domain}" if domain and address.is_valid(f"{local}@{domain}") else ""


@dataclass(frozen=True, slots=True)
class Options:
    """What an X-DKIM-Options field asks for; empty where it asks nothing."""

    selector: str = ""
    domain: str = ""
    identity: str = ""
    query_method: str = ""
    key_list: str = ""


NO_OPTIONS: Final = Options()


@lru_cache(1024)
def parse_options(text: str) -> Options | str:
    """The field, or what is wrong with it. Guide: process-x-dkim-options."""
    if len(text) > OPTIONS_MAX:
        return "it is too long"
    given: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        tag, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or tag.lower() not in ("s", "d", "i", "q", "key-list"):
            return f"{part!r} is none of s=, d=, i=, q=, key-list="
        given[tag.lower()] = value
    domain = given.get("d", "")
    identity = given.get("i", "")
    try:
        if identity:
            identity = dkim_kinds.identity(identity)
        method = dkim_kinds.QUERY_METHOD.parse(given.get("q", ""))
    except ValueError as error:
        return str(error)
    if domain and not address.ascii_domain(domain):
        return f"d={domain} is no domain"
    domain = address.ascii_domain(domain) if domain else ""
    selector = given.get("s", "")
    if selector and not dkim_kinds.is_selector(selector):
        return f"s={selector} is no selector"
    if domain and identity and not is_within(identity.rpartition("@")[2], domain):
        return f"i={identity} is not within d={domain}"
    return Options(selector, domain, identity, method, given.get("key-list", ""))


def is_within(name: str, domain: str) -> bool:
    """Whether a name is a domain, or below it."""
    return name == domain or name.endswith(f".{domain}")


def key_text(field: bytes) -> bytes:
    """The PEM text of an X-DKIM-Key field, whose lines may be folded anywhere; ValueError."""
    text = field.partition(b":")[2].decode("ascii", "replace")
    match = _PEM.search(text)
    if match is None:
        raise ValueError("expected a private key in PEM")
    body = "".join(match[2].split())
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    return f"-----BEGIN {match[1]}-----\n{lines}\n-----END {match[1]}-----\n".encode()
