"""A DKIM-Signature field over a header block and a body (RFC 6376 §3.5, §3.7, §5.4).

What a queue's directives ask of its signatures is a `SignatureForm`, made once for each
configuration. The field that comes out goes on top of the block it was made over.
"""

import hashlib
import re
from binascii import b2a_base64
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from mta.settings.domain import DomainSettings
from mta.signing.canonical import (
    BODIES,
    SimpleBody,
    field_name,
    relaxed_field,
    selected,
    whole_body,
)
from mta.signing.keys import PrivateKey

if TYPE_CHECKING:
    from hashlib import _Hash

USUAL_FIELDS: Final = frozenset(
    {
        "from", "sender", "reply-to", "subject", "date", "message-id", "to", "cc",
        "mime-version", "content-type", "content-transfer-encoding", "content-id",
        "content-description", "in-reply-to", "references",
        "resent-date", "resent-from", "resent-sender", "resent-to", "resent-cc",
        "resent-message-id", "list-id", "list-help", "list-unsubscribe",
        "list-unsubscribe-post", "list-subscribe", "list-post", "list-owner", "list-archive",
    }
)  # fmt: skip
"""What is always signed: RFC 6376 §5.4.1, what MIME readers go by (§5.4), RFC 8058 §4."""
NEVER_SIGNED: Final = frozenset(
    {"return-path", "received", "comments", "keywords", "bcc", "resent-bcc", "dkim-signature"}
)
"""RFC 6376 §5.4.1, and what is taken out or put in on the way."""
NAMES_MAX: Final = 1000
"""Names of fields that were looked at; mail has some hundreds."""
NAME_OCTETS_MAX: Final = 100
"""Of a name that is remembered; what stands before a colon may be as long as a header block."""
LISTED_OCTETS_MAX: Final = 2000
"""Of names whose h= tag is remembered; a usual one has 200."""
LINE_MAX: Final = 76
LOCAL_PART_MAX: Final = 600
"""Octets of i= before its @, written as it is there. A longer one is left out, as RFC 6376 §3.5
allows: with a domain it would make a line of more than 998 octets."""
LOCKED_MAX: Final = 64 << 10
"""Octets that are hashed without giving up the interpreter lock in between: 35 µs."""
PIECE: Final = 2047
"""The most that hashlib hashes without giving up the lock."""
_DQP = re.compile(rb"[^A-Za-z0-9!#$%&'*+/?^_`{|}~.-]")


class BodyForm(NamedTuple):
    """How a body is hashed: `simple` or `relaxed`, `sha256` or `sha1`."""

    canon: str
    hash_name: str


class BodyHash(NamedTuple):
    """The bh= and l= tags."""

    digest: bytes
    length: int


class _Digest:
    """A hash of the standard library that keeps the interpreter lock while it has little to do.

    To give it up invites a thread that waits, and costs more than to hash such a body.
    """

    __slots__ = ("_hash",)

    def __init__(self, name: str) -> None:
        self._hash = _new(name).copy()

    def update(self, data: bytes, /) -> None:
        if PIECE < len(data) <= LOCKED_MAX:
            for at in range(0, len(data), PIECE):
                self._hash.update(data[at : at + PIECE])
        else:
            self._hash.update(data)

    def printed(self) -> bytes:
        return b2a_base64(self._hash.digest(), newline=False)


@lru_cache
def _new(name: str) -> "_Hash":
    """A hash of nothing. To copy it takes a fifth of what OpenSSL takes to find it by its name."""
    return hashlib.new(name, usedforsecurity=False)


class BodyHasher:
    """Takes a body in pieces and comes to its hash."""

    __slots__ = ("_body", "_digest")

    def __init__(self, form: BodyForm) -> None:
        self._digest = _Digest(form.hash_name)
        self._body: SimpleBody = BODIES[form.canon](self._digest)

    def update(self, octets: bytes) -> None:
        self._body.update(octets)

    def finish(self) -> BodyHash:
        self._body.finish()
        return BodyHash(self._digest.printed(), self._body.length)


def body_hash(form: BodyForm, octets: bytes) -> BodyHash:
    """The hash of a body that is all here, as a `BodyHasher` comes to it."""
    text, end = whole_body(form.canon, octets)
    digest = _Digest(form.hash_name)
    digest.update(text)
    digest.update(end)
    return BodyHash(digest.printed(), len(text) + len(end))


class Signatory(NamedTuple):
    """In whose name, and with what."""

    key: PrivateKey
    selector: str
    domain: str
    identity: str
    query_method: str = ""
    """What the message itself asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureForm:
    """How the signatures of a queue look, the first or the second one."""

    sign: str
    identity: str
    identity_fallback: str
    algorithm: str
    body_canon: str
    headers_canon: str
    headers: tuple[str, ...] = ()
    disallow_adding_headers: tuple[str, ...] = ()
    add_body_limit: bool = False
    add_timestamp: bool = False
    expire_after: int | None = None
    query_method: str = ""
    body: BodyForm = field(init=False, repr=False, compare=False)
    names: "_Names" = field(init=False, repr=False, compare=False)
    """By name as it is written, the name in lower case of what is signed; nothing of others."""

    def __post_init__(self) -> None:
        hash_name = "sha1" if self.algorithm == "rsa-sha1" else "sha256"
        object.__setattr__(self, "body", BodyForm(self.body_canon, hash_name))
        wanted = (*self.headers, *self.disallow_adding_headers)
        object.__setattr__(self, "names", _Names(wanted))

    @classmethod
    def of(cls, settings: DomainSettings, prefix: str) -> "SignatureForm":
        """What directives that begin with `dkim_` or `second_dkim_` say."""
        names = [one.name for one in fields(cls) if one.init]
        return cls(**{name: getattr(settings, prefix + name) for name in names})

    @property
    def key_type(self) -> str:
        """The type of the keys that fit."""
        return self.algorithm.partition("-")[0]


class _Names(dict[bytes, bytes]):
    """What is known of names; another one is judged as it comes."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        """Names and expressions that are signed beside the usual ones.

        RFC 6376 §5.4.2: an over-signed name takes a field that is there, so that is signed first.
        """

    def __missing__(self, written: bytes) -> bytes:
        name = field_name(written)
        found = name if name and self._is_signed(name.decode()) else b""
        if len(written) <= NAME_OCTETS_MAX:
            if len(self) >= NAMES_MAX:
                self.clear()
            self[written] = found
        return found

    def _is_signed(self, name: str) -> bool:
        if not _may_be_signed(name):
            return False
        return name in USUAL_FIELDS or any(_matches(one, name) for one in self._wanted)


def _may_be_signed(name: str) -> bool:
    return name not in NEVER_SIGNED and ";" not in name  # which ends h= (RFC 6376 §3.2)


def _matches(wanted: str, name: str) -> bool:
    if wanted.startswith("/"):
        return re.search(wanted[1:-1], name, re.IGNORECASE) is not None
    return wanted.lower() == name


class Draft(NamedTuple):
    """A DKIM-Signature field that lacks its b=."""

    text: bytes
    covered: bytes
    """What the key has to sign."""

    def signed(self, signed: bytes) -> bytes:
        """The field, folded, with its CRLF."""
        return b"%b%b\r\n" % (self.text, _folded(b2a_base64(signed, newline=False)))


def draft(
    form: SignatureForm, signatory: Signatory, block: bytes, body: BodyHash, now: int
) -> Draft:
    """The DKIM-Signature field over a header block and a body, up to what needs the key."""
    names, forms = selected(form.headers_canon, block, form.names)
    listed = b":".join(names)
    folded_names = _folded_names if len(listed) <= LISTED_OCTETS_MAX else _folded_names.__wrapped__
    text = b"%b%b%b\tbh=%b;\r\n\tb=" % (
        _who(form.algorithm, form.headers_canon, form.body_canon, signatory.domain,
             signatory.selector, signatory.identity),
        _when(form, signatory, body, now),
        folded_names(listed, form.disallow_adding_headers),
        body.digest,
    )  # fmt: skip
    forms.append(relaxed_field(text) if form.headers_canon == "relaxed" else text)
    return Draft(text, b"".join(forms))


def signature(
    form: SignatureForm, signatory: Signatory, block: bytes, body: BodyHash, now: int
) -> bytes:
    """The DKIM-Signature field over a header block and a body, folded, with its CRLF."""
    made = draft(form, signatory, block, body, now)
    return made.signed(signatory.key.sign(form.algorithm, made.covered))


@lru_cache(4096)
def _who(
    algorithm: str, headers_canon: str, body_canon: str, domain: str, selector: str, identity: str
) -> bytes:
    local, _, name = identity.rpartition("@")
    quoted = _DQP.sub(lambda octet: b"=%02X" % ord(octet[0]), local.encode()).decode()
    if len(quoted) > LOCAL_PART_MAX:
        quoted = ""
    return (
        f"DKIM-Signature: v=1; a={algorithm}; c={headers_canon}/{body_canon};\r\n"
        f"\td={domain}; s={selector};\r\n\ti={quoted}@{name};\r\n"
    ).encode()


def _when(form: SignatureForm, signatory: Signatory, body: BodyHash, now: int) -> bytes:
    method = signatory.query_method or form.query_method
    tags = [f"q={method};"] if method else []
    if form.add_timestamp:
        tags.append(f"t={now};")
    if form.expire_after is not None:
        tags.append(f"x={now + form.expire_after};")
    if form.add_body_limit:
        tags.append(f"l={body.length};")
    return f"\t{' '.join(tags)}\r\n".encode() if tags else b""


@lru_cache(1024)
def _folded_names(listed: bytes, over_signed: tuple[str, ...]) -> bytes:
    """The h= tag, in lines of a length that people can read; `listed` has colons in between.

    Names that are over-signed stand there once more than the message has them.
    """
    once_more = dict.fromkeys(name.lower() for name in over_signed)
    more = [name.encode() for name in once_more if _may_be_signed(name)]
    return b"\t" + b"\r\n\t ".join(_lines(b"h=", [*listed.split(b":"), *more])) + b";\r\n"


def _lines(first: bytes, names: Iterable[bytes]) -> list[bytes]:
    lines, colon = [first], b""
    for name in names:
        lines[-1] += colon
        if len(lines[-1]) + len(name) > LINE_MAX:
            lines.append(b"")
        lines[-1] += name
        colon = b":"
    return lines


def _folded(encoded: bytes) -> bytes:
    width = LINE_MAX - 4
    return b"\r\n\t ".join([encoded[at : at + width] for at in range(0, len(encoded), width)])
