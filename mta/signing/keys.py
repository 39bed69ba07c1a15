"""Private keys for DKIM: read from files, kept, used, and published.

A key is read once. A file that has changed is noticed without a look at the disk for each
message: a key that is used is compared with its file every `RECHECK_S`, beside the mail.
"""

import base64
import hashlib
import os
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

RSA_BITS_MIN: Final = 1024
"""RFC 8301 §3.2: a signature with a shorter key is no signature to a verifier."""
RSA_BITS_MAX: Final = 8192
"""Each doubling makes a signature five times as slow, and a message may bring its own key."""
KEY_OCTETS_MAX: Final = 64 << 10
"""A PEM file of an 8192-bit key is a tenth of that."""
KNOWN_MAX: Final = 20_000
"""Keys in memory, each some 10 KB; past that all are forgotten and read again when used."""
RECHECK_S: Final = 5.0
"""How long a changed file may stay unnoticed."""
FRESH_NS: Final = 1_000_000_000
"""A file that was changed less than this ago may be changed again with the same stamp, or be
only half written."""

_PADDING = PKCS1v15()
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "rsa-sha256": hashes.SHA256(),
    "rsa-sha1": hashes.SHA1(),  # noqa: S303 - what dkim-algorithm asks for; check warns of it
}
_TEST = b"DKIM"


class PrivateKey:
    """A key that signs. Its octets never leave it."""

    __slots__ = ("_key", "is_fast", "type")

    def __init__(self, key: RSAPrivateKey | Ed25519PrivateKey) -> None:
        self._key = key
        self.type = "rsa" if isinstance(key, RSAPrivateKey) else "ed25519"
        """As in the k= tag of its record and before the hyphen in a= of a signature."""
        self.is_fast = self.type == "ed25519"
        """Whether to sign takes less time than to go to a thread for it."""

    def __repr__(self) -> str:
        return f"<{self.description}>"

    @property
    def description(self) -> str:
        key = self._key
        return f"RSA {key.key_size}" if isinstance(key, RSAPrivateKey) else "Ed25519"

    def sign(self, algorithm: str, data: bytes) -> bytes:
        """The signature over data, or over its hash (RFC 8463 §3)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, _PADDING, _HASHES[algorithm])
        return self._key.sign(hashlib.sha256(data).digest())

    @property
    def public(self) -> str:
        """The p= tag of its record."""
        public = self._key.public_key()
        if self.type == "rsa":
            encoding, form = (
                serialization.Encoding.DER,
                serialization.PublicFormat.SubjectPublicKeyInfo,
            )
        else:
            encoding, form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
        return base64.b64encode(public.public_bytes(encoding, form)).decode()

    @property
    def record(self) -> str:
        """The text of the TXT record that publishes it."""
        return f"v=DKIM1; k={self.type}; p={self.public}"

    def pem(self) -> bytes:
        """What a key file holds."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def parse_key(octets: bytes, *, is_tried: bool = True) -> PrivateKey:
    """The key of a PEM text, tried by a signature; ValueError says what is wrong with it."""
    try:
        # The full validation takes 60 ms. A signature that verifies says as much in 1 ms.
        key = serialization.load_pem_private_key(octets, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        reason = "it has a password" if b"ENCRYPTED" in octets else "expected a private key in PEM"
        raise ValueError(reason) from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError("expected an RSA or Ed25519 key")  # noqa: TRY004 - of the file's content
    if isinstance(key, RSAPrivateKey) and key.key_size < RSA_BITS_MIN:
        raise ValueError(f"RSA of {key.key_size} bits is refused by receivers (RFC 8301)")
    if isinstance(key, RSAPrivateKey) and key.key_size > RSA_BITS_MAX:
        raise ValueError(f"RSA of {key.key_size} bits; at most {RSA_BITS_MAX} make sense")
    if is_tried:
        _try(key)
    return PrivateKey(key)


def _try(key: RSAPrivateKey | Ed25519PrivateKey) -> None:
    try:
        if isinstance(key, RSAPrivateKey):
            signature = key.sign(_TEST, _PADDING, hashes.SHA256())
            key.public_key().verify(signature, _TEST, _PADDING, hashes.SHA256())
        else:
            key.public_key().verify(key.sign(_TEST), _TEST)
    except (InvalidSignature, ValueError):
        raise ValueError("its numbers do not fit together; the file is damaged") from None


def new_key(kind: str) -> PrivateKey:
    """A new key: `ed25519`, or `rsa-2048` and other sizes."""
    if kind == "ed25519":
        return PrivateKey(Ed25519PrivateKey.generate())
    return PrivateKey(generate_private_key(65537, int(kind.removeprefix("rsa-"))))


class _Stamp(NamedTuple):
    """A file with the same stamp is the same."""

    modified_ns: int
    size: int
    inode: int


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a file held when it was read. Either `key` or `problem` is there."""

    key: PrivateKey | None = None
    problem: str = ""
    is_open: bool = False
    """Whether others than its owner may read it."""
    is_missing: bool = False
    stamp: _Stamp | None = None
    digest: bytes = b""
    """Of its octets."""
    was_fresh: bool = False
    """Whether it had been changed just before it was read."""


def read_key(path: str, *, is_tried: bool = True) -> KeyFile:
    """Read a key file; never raises."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return KeyFile(problem="there is no such file", is_missing=True)
    except (OSError, ValueError) as error:
        return KeyFile(problem=f"it cannot be read: {getattr(error, 'strerror', error)}")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return KeyFile(problem="it is no file")
        stamp = _stamp(status)
        file = KeyFile(
            is_open=bool(status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)),
            stamp=stamp,
            was_fresh=time.time_ns() - stamp.modified_ns < FRESH_NS,
        )
        try:
            octets = os.read(descriptor, KEY_OCTETS_MAX)
            file = replace(file, digest=hashlib.sha256(octets).digest())
            return replace(file, key=parse_key(octets, is_tried=is_tried))
        except (OSError, ValueError) as error:
            return replace(file, problem=str(error))
    finally:
        os.close(descriptor)


def _stamp(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _current_stamp(path: str) -> _Stamp | None:
    try:
        return _stamp(Path(path).stat())
    except (OSError, ValueError):
        return None


@dataclass(slots=True)
class _Known:
    file: KeyFile
    check_at: float


class KeyRing:
    """Keys by path. `version` changes with every file that did.

    For the thread of the event loop, but for `read` and `reread`, which take from the disk
    and may run in any.
    """

    def __init__(self) -> None:
        self.version = 0
        self._known: dict[str, _Known] = {}

    def known(self, path: str) -> KeyFile | None:
        """What is remembered of a file; None if it was not read yet."""
        known = self._known.get(path)
        return known.file if known is not None else None

    def keep(self, path: str, file: KeyFile, now: float) -> None:
        """Remember what was read."""
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
            self.version += 1
        before = self._known.get(path)
        self._known[path] = _Known(file, now + RECHECK_S)
        if before is not None:
            self.version += 1

    def is_to_be_checked(self, path: str, now: float) -> bool:
        """Whether to compare a key in use with its file; says yes once each time."""
        known = self._known.get(path)
        if known is None or now < known.check_at:
            return False
        known.check_at = now + RECHECK_S
        return True


def changed(path: str, known: KeyFile) -> KeyFile | None:
    """What a file holds now, if it is another than the one known.

    A key that is just being written in place, and no key yet, is not taken for damaged: the
    one known stays until the next comparison.
    """
    if known.key is not None and not known.was_fresh and _current_stamp(path) == known.stamp:
        return None
    file = read_key(path)
    if known.key is not None and file.problem and file.was_fresh:
        return None
    same = (file.stamp, file.digest, file.problem) == (known.stamp, known.digest, known.problem)
    return None if same else file
