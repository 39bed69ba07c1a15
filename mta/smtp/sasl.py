"""Who a client says it is, one mechanism each, without I/O (RFC 4422, RFC 4954).

    PLAIN           RFC 4616   user and password, in one response
    LOGIN           —          the same in two, as many clients still do
    CRAM-MD5        RFC 2195   a keyed digest of a challenge; needs the password in clear
    SCRAM-SHA-256   RFC 7677   both sides prove that they know the password
    EXTERNAL        RFC 4422   the certificate of the TLS connection says it

An exchange takes response after response and ends with a Claim: a name, and a check that may
be slow. A name nobody has makes an exchange no shorter. aiosmtpd has PLAIN and LOGIN, which
read from the connection by themselves, past our command loop; so they are not used.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from mta.model.secret import ClearSecret, ScramSecret, Secret, matches
from mta.smtp.command import CommandError

RESPONSE_OCTETS_MAX: Final = 12288
"""RFC 4954 §4."""
MECHANISMS: Final = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN", "EXTERNAL")
"""The better ones first."""
IN_CLEAR: Final = frozenset({"PLAIN", "LOGIN"})
"""Those that give the password to whoever listens."""

_SCRAM_FIRST = re.compile(
    r"(?P<gs2>[ny],(?:a=(?P<identity>[^,]*))?,)(?P<bare>n=(?P<user>[^,]+),r=(?P<nonce>[!-+\--~]+))"
)
_SCRAM_FINAL = re.compile(r"(?P<bare>c=(?P<binding>[^,]+),r=(?P<nonce>[^,]+)),p=(?P<proof>[^,]+)")


class Accounts(Protocol):
    """Who may log in. A name nobody has gets a secret that nothing matches."""

    def secret(self, user: str) -> Secret: ...

    def scram_salt(self, user: str) -> tuple[bytes, int]:
        """Salt and iterations; takes as long for whoever it is."""

    def scram_keys(self, user: str, salt: bytes, iterations: int) -> ScramSecret:
        """The keys under that salt; slow, for whoever it is."""

    def named_by(self, certificate: bytes) -> str: ...


@dataclass(frozen=True, slots=True, repr=False)
class Claim:
    """A name, and whether it is rightly used.

    `farewell` is a last challenge after success, known once `check` was called.
    """

    user: str
    check: Callable[[], bool]
    is_slow: bool = False
    farewell: Callable[[], bytes] = bytes


Answer = bytes | Claim
"""A challenge, or the end."""


class Exchange(Protocol):
    """One attempt. `receive` raises CommandError for what is malformed."""

    def receive(self, response: bytes) -> Answer: ...


def begin(
    mechanism: str, accounts: Accounts, *, nonce: str, host: str, certificate: bytes
) -> Exchange:
    """The exchange of a mechanism that is offered. `nonce` is used once, and unguessable."""
    match mechanism:
        case "PLAIN":
            return _Plain(accounts)
        case "LOGIN":
            return _Login(accounts)
        case "CRAM-MD5":
            return _CramMd5(accounts, f"<{nonce}@{host}>".encode())
        case "SCRAM-SHA-256":
            return _ScramSha256(accounts, nonce)
        case _:
            return _External(accounts, certificate)


def speaks_first(mechanism: str) -> bool:
    """Whether the server's challenge comes before anything of the client."""
    return mechanism in ("LOGIN", "CRAM-MD5")


def decoded(text: bytes) -> bytes:
    """A response as it was meant; `=` is one of no octets."""
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise CommandError(501, "5.5.2 the response is not base64") from None


def encoded(challenge: bytes) -> str:
    """A challenge as it is sent."""
    return base64.b64encode(challenge).decode()


def _utf8(octets: bytes) -> str:
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise CommandError(501, "5.5.2 the response is not UTF-8") from None
    if "\0" in text:
        raise CommandError(501, "5.5.2 the response contains NUL")
    return text


def _by_password(accounts: Accounts, user: str, password: str) -> Claim:
    secret = accounts.secret(user)
    is_slow = not isinstance(secret, ClearSecret)
    return Claim(user, lambda: matches(secret, password), is_slow=is_slow)


class _Plain:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def receive(self, response: bytes) -> Answer:
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise CommandError(501, "5.5.2 PLAIN takes identity NUL user NUL password")
        identity, user, password = map(_utf8, parts)
        if identity not in ("", user):
            raise CommandError(535, "5.7.8 nobody may act for another user")
        return _by_password(self._accounts, user, password)


class _Login:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._user: str | None = None
        self._has_asked = False

    def receive(self, response: bytes) -> Answer:
        if not self._has_asked and not response:
            self._has_asked = True
            return b"Username:"
        if self._user is None:
            self._user = _utf8(response)
            self._has_asked = True
            return b"Password:"
        return _by_password(self._accounts, self._user, _utf8(response))


class _CramMd5:
    def __init__(self, accounts: Accounts, challenge: bytes) -> None:
        self._accounts = accounts
        self._challenge = challenge
        self._has_asked = False

    def receive(self, response: bytes) -> Answer:
        if not self._has_asked:
            if response:
                raise CommandError(501, "5.5.2 CRAM-MD5 takes no initial response")
            self._has_asked = True
            return self._challenge
        user, blank, digest = _utf8(response).rpartition(" ")
        if not blank:
            raise CommandError(501, "5.5.2 CRAM-MD5 takes user and digest")
        secret = self._accounts.secret(user)
        return Claim(user, lambda: self._is_right(secret, digest.lower()))

    def _is_right(self, secret: Secret, digest: str) -> bool:
        password = secret.text if isinstance(secret, ClearSecret) else ""
        expected = hmac.new(password.encode(), self._challenge, hashlib.md5).hexdigest()
        is_same = hmac.compare_digest(expected.encode(), digest.encode())
        return is_same and isinstance(secret, ClearSecret)


class _ScramSha256:
    """Channel binding is not offered: no client of today's mail programs asks for it.

    The first challenge tells nobody which users exist, by what it says or how long it takes: it
    holds what is there for every name. Keys are computed for the final message, for every name.
    """

    def __init__(self, accounts: Accounts, nonce: str) -> None:
        self._accounts = accounts
        self._nonce = nonce
        self._user = ""
        self._gs2 = ""
        self._before = ""
        self._salt: tuple[bytes, int] | None = None

    def receive(self, response: bytes) -> Answer:
        text = _utf8(response)
        return self._first(text) if self._salt is None else self._final(text, *self._salt)

    def _first(self, text: str) -> Answer:
        found = _SCRAM_FIRST.fullmatch(text)
        if found is None:
            raise CommandError(501, "5.5.2 this is no first message of SCRAM")
        self._gs2 = found["gs2"]
        self._user = _said_name(found["user"])
        if _said_name(found["identity"] or "") not in ("", self._user):
            raise CommandError(535, "5.7.8 nobody may act for another user")
        salt, iterations = self._salt = self._accounts.scram_salt(self._user)
        self._nonce = found["nonce"] + self._nonce
        challenge = f"r={self._nonce},s={encoded(salt)},i={iterations}"
        self._before = f"{found['bare']},{challenge}"
        return challenge.encode()

    def _final(self, text: str, salt: bytes, iterations: int) -> Answer:
        found = _SCRAM_FINAL.fullmatch(text)
        if found is None:
            raise CommandError(501, "5.5.2 this is no final message of SCRAM")
        proof = decoded(found["proof"].encode())
        is_bound = (
            found["nonce"] == self._nonce
            and decoded(found["binding"].encode()) == self._gs2.encode()
        )
        message = f"{self._before},{found['bare']}".encode()
        user, server = self._user, b""

        def check() -> bool:
            nonlocal server
            keys = self._accounts.scram_keys(user, salt, iterations)
            signature = hmac.digest(keys.stored_key, message, "sha256")
            client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
            is_known = hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key)
            server = hmac.digest(keys.server_key, message, "sha256")
            return is_bound and is_known and len(proof) == len(signature)

        def farewell() -> bytes:
            return f"v={encoded(server)}".encode()

        return Claim(user, check, is_slow=True, farewell=farewell)


def _said_name(text: str) -> str:
    """A saslname (RFC 5802 §5.1); CommandError for what is none."""
    if re.search(r"=(?!2C|3D)", text):
        raise CommandError(501, "5.5.2 a name in SCRAM has = and comma as =3D and =2C")
    return text.replace("=2C", ",").replace("=3D", "=")


class _External:
    def __init__(self, accounts: Accounts, certificate: bytes) -> None:
        self._accounts = accounts
        self._certificate = certificate

    def receive(self, response: bytes) -> Answer:
        named = self._accounts.named_by(self._certificate)
        user = _utf8(response) or named
        return Claim(
            user, lambda: bool(named) and hmac.compare_digest(user.encode(), named.encode())
        )
