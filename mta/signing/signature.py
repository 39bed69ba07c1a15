"""A DKIM-Signature field over a header block and a body (RFC 6376 §3.5, §3.7, §5.4).

What a queue's directives ask of its signatures is a `SignatureForm`, made once for each
configuration. The field that comes out goes on top of the block it was made over.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from mta.settings.domain import DomainSettings
from mta.signing.canonical import BODIES, Field, SimpleBody, relaxed_field
from mta.signing.keys import PrivateKey

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

    digest: str
    length: int


class _Digest:
    """A hash of the standard library that keeps the interpreter lock while it has little to do.

    To give it up invites a thread that waits, and costs more than to hash such a body.
    """

    __slots__ = ("_hash",)

    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes, /) -> None:
        if PIECE < len(data) <= LOCKED_MAX:
            for at in range(0, len(data), PIECE):
                self._hash.update(data[at : at + PIECE])
        else:
            self._hash.update(data)

    def printed(self) -> str:
        return base64.b64encode(self._hash.digest()).decode()


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
    _judged: dict[bytes, bool] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, settings: DomainSettings, prefix: str) -> "SignatureForm":
        """What directives that begin with `dkim_` or `second_dkim_` say."""
        names = [name for name in cls.__dataclass_fields__ if not name.startswith("_")]
        return cls(**{name: getattr(settings, prefix + name) for name in names})

    @property
    def body(self) -> BodyForm:
        return BodyForm(self.body_canon, "sha1" if self.algorithm == "rsa-sha1" else "sha256")

    @property
    def key_type(self) -> str:
        """The type of the keys that fit."""
        return self.algorithm.partition("-")[0]

    def signs(self, name: bytes) -> bool:
        """Whether fields of a lower-case name are signed."""
        judged = self._judged.get(name)
        if judged is None:
            if len(self._judged) >= NAMES_MAX:
                self._judged.clear()
            judged = self._judged[name] = self._judge(name.decode("latin-1"))
        return judged

    def _judge(self, name: str) -> bool:
        if not _may_be_signed(name):
            return False
        if name in USUAL_FIELDS:
            return True
        # RFC 6376 §5.4.2: a name of h= takes a field that is there, so this has to be signed first.
        wanted = (*self.headers, *self.disallow_adding_headers)
        return any(_matches(one, name) for one in wanted)

    def select(self, fields: Sequence[Field]) -> list[Field]:
        """The fields to sign, in the order of h=: those of one name from the last to the first."""
        return [one for one in reversed(fields) if self.signs(one.name)]

    def over_signed(self) -> list[bytes]:
        """Names that stand in h= once more than the message has them."""
        names = (name.lower() for name in self.disallow_adding_headers)
        return [name.encode() for name in dict.fromkeys(names) if _may_be_signed(name)]


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
        return b"%b%b\r\n" % (self.text, _folded(base64.b64encode(signed)))


def draft(
    form: SignatureForm,
    signatory: Signatory,
    fields: Sequence[Field],
    body: BodyHash,
    now: int,
) -> Draft:
    """The DKIM-Signature field over these fields and a body, up to what needs the key."""
    selected = form.select(fields)
    names = tuple([one.name for one in selected] + form.over_signed())
    lines = [
        _who(form.algorithm, form.headers_canon, form.body_canon, signatory.domain,
             signatory.selector, signatory.identity),
        _when(form, signatory, body, now),
        _folded_names(names),
        f"\tbh={body.digest};\r\n\tb=".encode(),
    ]  # fmt: skip
    text = b"".join(lines)
    return Draft(text, covered(form.headers_canon, selected, text))


def signature(
    form: SignatureForm,
    signatory: Signatory,
    fields: Sequence[Field],
    body: BodyHash,
    now: int,
) -> bytes:
    """The DKIM-Signature field over these fields and a body, folded, with its CRLF."""
    made = draft(form, signatory, fields, body, now)
    return made.signed(signatory.key.sign(form.algorithm, made.covered))


def covered(headers_canon: str, selected: Sequence[Field], unsigned: bytes) -> bytes:
    """What a signature is over: the fields of h= in its order, then the field itself."""
    if headers_canon == "relaxed":
        forms = [relaxed_field(one.octets) for one in selected]
        return b"\r\n".join([*forms, relaxed_field(unsigned)])
    return b"".join([*(one.octets for one in selected), unsigned])


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
def _folded_names(names: tuple[bytes, ...]) -> bytes:
    """The h= tag, in lines of a length that people can read."""
    return b"\t" + b"\r\n\t ".join(_lines(b"h=", names)) + b";\r\n"


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
    return b"\r\n\t ".join(encoded[at : at + width] for at in range(0, len(encoded), width))
