"""A password as a configuration holds it: in clear, or as what it cannot be got back from.

    secret                                       the password itself
    {scrypt}ln=14,r=8,p=1$SALT$KEY               scrypt (RFC 7914)
    {SCRAM-SHA-256}4096,SALT,STORED,SERVER       the keys of SCRAM (RFC 5802 §3)

Salts and keys are base64. CRAM-MD5 needs the password in clear, SCRAM-SHA-256 the password or
its own keys; PLAIN and LOGIN work with each.
"""

import base64
import binascii
import hashlib
import hmac
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

SCRYPT_LN: Final = 14
"""16 MB and 40 ms for each try: dear for whoever guesses, bearable for whoever logs in."""
SCRYPT_LN_MAX: Final = 17
"""128 MB of memory with r=8; more would let clients who log in exhaust the machine."""
SCRAM_ITERATIONS: Final = 4096
"""RFC 7677 §4: at least."""
SCRAM_ITERATIONS_MAX: Final = 1_000_000
SALT_OCTETS: Final = 16
_KEY_OCTETS = 32

_SCRYPT = re.compile(r"\{scrypt\}ln=(\d+),r=(\d+),p=(\d+)\$([^$]+)\$([^$]+)", re.IGNORECASE)
_SCRAM = re.compile(r"\{scram-sha-256\}(\d+),([^,]+),([^,]+),([^,]+)", re.IGNORECASE)
_SCHEME = re.compile(r"\{(scrypt|scram-sha-256)\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class ClearSecret:
    """The password itself."""

    text: str


@dataclass(frozen=True, slots=True, repr=False)
class ScryptSecret:
    """What scrypt made of the password."""

    ln: int
    r: int
    p: int
    salt: bytes
    key: bytes

    def __str__(self) -> str:
        return f"{{scrypt}}ln={self.ln},r={self.r},p={self.p}${_text(self.salt)}${_text(self.key)}"


@dataclass(frozen=True, slots=True, repr=False)
class ScramSecret:
    """The keys a SCRAM server needs."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def __str__(self) -> str:
        keys = ",".join(_text(key) for key in (self.salt, self.stored_key, self.server_key))
        return f"{{SCRAM-SHA-256}}{self.iterations},{keys}"


Secret = ClearSecret | ScryptSecret | ScramSecret


def parse_secret(text: str) -> Secret:
    """ValueError for a hash that is none; without a known scheme the text is the password."""
    if not _SCHEME.match(text):
        return ClearSecret(text)
    if found := _SCRYPT.fullmatch(text):
        scrypt = ScryptSecret(
            int(found[1]), int(found[2]), int(found[3]), _octets(found[4]), _octets(found[5])
        )
        if not 1 <= scrypt.ln <= SCRYPT_LN_MAX or not (1 <= scrypt.r <= 8 and 1 <= scrypt.p <= 16):
            raise ValueError(f"expected ln up to {SCRYPT_LN_MAX}, r up to 8 and p up to 16")
        return scrypt
    if found := _SCRAM.fullmatch(text):
        scram = ScramSecret(int(found[1]), _octets(found[2]), _octets(found[3]), _octets(found[4]))
        if not SCRAM_ITERATIONS <= scram.iterations <= SCRAM_ITERATIONS_MAX:
            raise ValueError(f"expected {SCRAM_ITERATIONS} to {SCRAM_ITERATIONS_MAX} iterations")
        return scram
    raise ValueError("expected what `mta hash-password` prints")


def matches(secret: Secret, password: str) -> bool:
    """Whether it is the password. Takes as long for a wrong one; slow for hashes."""
    match secret:
        case ClearSecret(text):
            return hmac.compare_digest(_prepared(text), _prepared(password))
        case ScryptSecret(ln, r, p, salt, key):
            made = scrypt_of(password, salt, ln=ln, r=r, p=p)
            return hmac.compare_digest(made.key, key)
        case ScramSecret(iterations, salt, stored_key, _):
            made_keys = scram_of(password, salt, iterations=iterations)
            return hmac.compare_digest(made_keys.stored_key, stored_key)


def scrypt_of(
    password: str, salt: bytes, *, ln: int = SCRYPT_LN, r: int = 8, p: int = 1
) -> ScryptSecret:
    """The hash of a password."""
    key = hashlib.scrypt(
        _prepared(password),
        salt=salt,
        n=1 << ln,
        r=r,
        p=p,
        maxmem=(128 * r << ln) + (128 * r * p) + (1 << 20),
        dklen=_KEY_OCTETS,
    )
    return ScryptSecret(ln, r, p, salt, key)


def scram_of(password: str, salt: bytes, *, iterations: int = SCRAM_ITERATIONS) -> ScramSecret:
    """The keys of a password. RFC 5802 §3."""
    salted = hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return ScramSecret(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def _prepared(password: str) -> bytes:
    """The part of SASLprep (RFC 4013) that matters to those who type: one normal form."""
    return unicodedata.normalize("NFKC", password).encode()


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("expected base64 in the hash; see `mta hash-password`") from None
