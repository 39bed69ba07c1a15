"""For whom a message is signed: the address in Sender or From, or what the message asks for."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from mta import address
from mta.settings import dkim_kinds
from mta.smtp import header_block

# A piece of an address list: a string, a literal, what has a meaning, or a run of anything else.
# A quote or bracket that is never closed is a character like others.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\[\]]*\]|\\.|[^"\[\\<>(),:;]+|.', re.DOTALL)
_TOKEN_WITHOUT_COMMENTS = re.compile(_TOKEN.pattern.replace("(),", ",", 1), re.DOTALL)
_IN_COMMENT = re.compile(r"\\.|[^\\()]+|.", re.DOTALL)
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
LIST_OCTETS_MAX: Final = 65_536
"""What of a field is looked at for its first address: a thousand names before it."""
REMEMBERED_OCTETS_MAX: Final = 1000
"""Of a field whose address is remembered; four thousand are."""
OPTIONS_MAX: Final = 1000
"""Characters of an X-DKIM-Options field; five tags need a tenth."""


class Authors(NamedTuple):
    """The From and the Sender fields of a header block."""

    froms: list[bytes]
    senders: list[bytes]

    @classmethod
    def of(cls, block: bytes) -> "Authors":
        return cls(header_block.fields(block, b"from"), header_block.fields(block, b"sender"))

    def identity(self, rule: str) -> str:
        """The address to sign for; empty if there is none. Guide: dkim-identity."""
        fields = self.froms if rule == dkim_kinds.STRICT_FROM else self.senders + self.froms
        for field in fields:
            if found := _mailbox(field):
                return found
        return ""


def _mailbox(field: bytes) -> str:
    """The first address of a field; its domain in lower case, as it stands in DNS."""
    return _known(field) if len(field) <= REMEMBERED_OCTETS_MAX else _first(field)


@lru_cache(4096)
def _known(field: bytes) -> str:
    return _first(field)


def _first(field: bytes) -> str:
    octets = field.partition(b":")[2][:LIST_OCTETS_MAX].replace(b"\r\n", b"")
    text = octets.decode("utf-8", "replace")
    found = _first_of(text, _TOKEN)
    if found is None:  # A comment that never ends is none: many a name has such a bracket.
        found = _first_of(text, _TOKEN_WITHOUT_COMMENTS)
    return found or ""


def _first_of(text: str, tokens: re.Pattern[str]) -> str | None:
    """The first address of a list (RFC 5322 §3.4); None if a comment is open at the end.

    What is no address is passed over, such as the first half of `Smith, Joe <joe@a.example>`.
    Each character is looked at once: a field may be long, and made by an enemy.
    """
    words: list[str] = []
    depth, is_inside, is_closed = 0, False, False
    at, end = 0, len(text)
    while at < end:
        token = (_IN_COMMENT if depth else tokens).match(text, at)
        assert token is not None, "one character is a token, at least"
        at = token.end()
        match token[0]:
            case "(" if depth or tokens is _TOKEN:
                depth += 1
                words.append(" ")
            case ")" if depth:
                depth -= 1
            case _ if depth:
                pass
            case "<":
                # What stood before is a name, or the address in clear for people.
                words, is_inside, is_closed = [], True, False
            case ">" if is_inside:
                if found := _address("".join(words)):
                    return found
                is_inside, is_closed = False, True
            case "," | ";" if not is_inside:
                if not is_closed and (found := _address("".join(words))):
                    return found
                words, is_closed = [], False
            case ":":
                words = []  # A group's name, or a route.
            case word if len(word) > 1 and word[0] == '"' and text[at : at + 1] != "@":
                words.append(" ")  # A name.
            case word:
                words.append(word)
    if depth:
        return None
    return "" if is_inside or is_closed else _address("".join(words))


def _address(text: str) -> str:
    local, _, domain = (part.strip() for part in text.rpartition("@"))
    domain = address.ascii_domain(domain)
    return f"{local}@{domain}" if domain and address.is_valid(f"{local}@{domain}") else ""


class Options(NamedTuple):
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
