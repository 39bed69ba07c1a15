"""The kinds of values that DKIM directives have (RFC 6376; Guide: domain-key, dkim-*)."""

import re
from typing import Final

from mta import address
from mta.model.domain_key import ANY, DomainKey
from mta.settings.kinds import Kind, choice, unquote

SENDER_OR_FROM: Final = "sender-or-from"
STRICT_FROM: Final = "strict-from"
IF_OPTIONS: Final = "if-x-dkim-options-present"

SIGN: Final = choice("yes", "no", IF_OPTIONS)
CANON: Final = choice("simple", "relaxed")
ALGORITHM: Final = choice("rsa-sha1", "rsa-sha256", "ed25519-sha256")

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_FIELD_NAME = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_TAG_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e]*")
_HEADERS = re.compile(r"\s*(/(?:[^/\\]|\\.)*/|[^,]*)\s*(?:,|$)")


def _domain_key(text: str) -> DomainKey:
    parts = [unquote(part.strip()) for part in unquote(text).split(",")]
    if len(parts) != 3 or not parts[2] or parts[2] == "*":
        raise ValueError("expected SELECTOR,DOMAIN,FILE such as s1,example.com,/etc/pmta/s1.pem")
    selector, domain, path = parts
    domain = domain.lower()
    if selector != "{selector}" and not _SELECTOR.fullmatch(selector):
        raise ValueError(f'"{selector}" is no selector; it is a label of a DNS name')
    if domain not in ANY and "$" not in domain:
        name = address.ascii_domain(domain)
        if not name:
            raise ValueError(f'"{domain}" is no domain; expected one, or * for any')
        domain = name
    path = path.replace("${selector}", "{selector}").replace("${domain}", "{domain}")
    return DomainKey(selector, domain, path)


DOMAIN_KEY: Final[Kind[DomainKey]] = Kind("SELECTOR,DOMAIN|*,FILE", _domain_key)


def is_selector(text: str) -> bool:
    """Whether text may stand between the key's name and `_domainkey`."""
    return bool(_SELECTOR.fullmatch(text))


def identity(text: str) -> str:
    """An address, or `@domain`; ValueError. The domain comes out in lower case."""
    value = unquote(text)
    local, at, domain = value.rpartition("@")
    name = address.ascii_domain(domain)
    if not at or not name or (local and not address.is_valid(value)):
        raise ValueError("expected an address such as news@example.com, or @example.com")
    return f"{local}@{name}"


def _identity_or_header(text: str) -> str:
    value = unquote(text).lower()
    if value in (SENDER_OR_FROM, STRICT_FROM):
        return value
    try:
        return identity(text)
    except ValueError as error:
        raise ValueError(f"{error}, or {SENDER_OR_FROM} or {STRICT_FROM}") from None


IDENTITY: Final[Kind[str]] = Kind(
    f"ADDRESS | @DOMAIN | {SENDER_OR_FROM} | {STRICT_FROM}", _identity_or_header
)
IDENTITY_FALLBACK: Final[Kind[str]] = Kind(
    "ADDRESS | @DOMAIN",
    lambda text: identity(text) if unquote(text) else "",
    lambda value: value or '""',
)


def _headers(text: str) -> tuple[str, ...]:
    value = unquote(text)
    items, at = [], 0
    while at < len(value):
        match = _HEADERS.match(value, at)
        if match is None:
            raise ValueError("expected header names, or expressions such as /^X-Track/")
        at = match.end()
        if item := unquote(match[1].strip()):
            items.append(_header(item))
    return tuple(items)


def _header(item: str) -> str:
    if item.startswith("/"):
        try:
            re.compile(item[1:-1])
        except re.error as error:
            raise ValueError(f"{item} is no regular expression: {error}") from None
    elif not _FIELD_NAME.fullmatch(item):
        raise ValueError(f'"{item}" is no name of a header field')
    return item


def _header_names(text: str) -> tuple[str, ...]:
    items = _headers(text)
    if any(item.startswith("/") for item in items):
        raise ValueError("expected names of header fields, not expressions")
    return items


HEADERS: Final[Kind[tuple[str, ...]]] = Kind(
    "NAME | /REGEX/[,…]", _headers, lambda values: ",".join(values) or '""', is_regex=True
)
HEADER_NAMES: Final[Kind[tuple[str, ...]]] = Kind(
    "NAME[,NAME…]", _header_names, lambda values: ",".join(values) or '""'
)


def _tag_value(text: str) -> str:
    value = unquote(text)
    if not _TAG_VALUE.fullmatch(value):
        raise ValueError("expected a value such as dns/txt")
    return value


QUERY_METHOD: Final[Kind[str]] = Kind("METHOD (dns/txt)", _tag_value, lambda value: value or '""')
