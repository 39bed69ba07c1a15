"""What the DKIM signatures of a message are worth (RFC 6376 §6), by dkimpy.

It takes time that grows with the square of blanks in a row, holds the interpreter lock
meanwhile, and takes keys of any size. So it works in a process of its own
(`signing/verify_process.py`), within a time, and not on what no signer sends.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import dkim

from mta.signing.canonical import fields
from mta.smtp.auth_results import Finding

SIGNATURES_MAX: Final = 5
"""A message with more than that is verified by its first ones; each costs a lookup and a key."""
FIELD_OCTETS_MAX: Final = 4096
"""Of a DKIM-Signature field; with RSA-4096 and all fields twice it has half of that."""
KEY_TEXT_MAX: Final = 1200
"""Of a key in the DNS; one of 4096 bits has 750 characters."""
KEY_BITS_MIN: Final = 1024
"""RFC 8301 §3.2."""
_TAG: Final = re.compile(rb"(?:^|;)[ \t\r\n]*([ds])[ \t\r\n]*=([^;]*)")


class Key(NamedTuple):
    """What the DNS has where a signature says that its key is."""

    text: str
    trouble: str = ""
    """`permerror` or `temperror`, where there is no key."""
    strings: int = 0


NO_KEY: Final = Key("", "permerror")


def is_signed(head: bytes) -> bool:
    """Whether a header block has signatures at all."""
    return any(one.name == b"dkim-signature" for one in fields(head))


def key_names(head: bytes) -> list[str]:
    """Where in the DNS the keys of the signatures are."""
    names: dict[str, None] = {}
    signatures = [one.octets for one in fields(head) if one.name == b"dkim-signature"]
    for octets in signatures[:SIGNATURES_MAX]:
        if len(octets) > FIELD_OCTETS_MAX:
            continue
        tags = {tag: b"".join(value.split()) for tag, value in _TAG.findall(octets[15:])}
        if b"d" in tags and b"s" in tags:
            name = b"%b._domainkey.%b" % (tags[b"s"], tags[b"d"])
            names[_name(name)] = None
    return list(names)


def findings(octets: bytes, keys: Mapping[str, Key], *, wants_trace: bool) -> list[Finding]:
    """Of each signature of a message, whose keys are those."""
    try:
        message = dkim.DKIM(octets, minkey=KEY_BITS_MIN)
    except dkim.MessageFormatError as error:
        return [Finding("dkim", "permerror", str(error))]
    signatures = [value for name, value in message.headers if name.lower() == b"dkim-signature"]
    if not signatures:
        return [Finding("dkim", "none")]
    found = []
    for index, value in enumerate(signatures[:SIGNATURES_MAX]):
        if len(value) > FIELD_OCTETS_MAX:
            found.append(Finding("dkim", "policy", "the field is too long"))
            continue
        look_up = _LookUp(keys)
        finding = _verified(octets, index, look_up)
        found.append(finding._replace(trace=tuple(look_up.trace)) if wants_trace else finding)
    return found


class _LookUp:
    """Gives dkimpy the key that it asks for."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self.trouble = ""
        self.is_too_large = False
        self.trace: list[str] = []
        self._keys = keys

    def __call__(self, name: bytes, timeout: float = 0.0) -> bytes | None:
        text = _name(name)
        key = self._keys.get(text, NO_KEY)
        self.trouble = key.trouble
        if key.strings or not key.trouble:
            self.trace.append(f"TXT {text}: {key.strings} strings")
        self.is_too_large = len(key.text) > KEY_TEXT_MAX
        return None if self.trouble or self.is_too_large else key.text.encode()


def _verified(octets: bytes, index: int, key: _LookUp) -> Finding:
    signature = dkim.DKIM(octets, minkey=KEY_BITS_MIN)
    result, comment = "fail", ""
    try:
        if signature.verify(idx=index, dnsfunc=key):
            result = "pass"
        elif key.is_too_large:
            result, comment = "policy", "the key is too large"
        elif key.trouble:
            result, comment = key.trouble, "there is no key"
    except dkim.KeyFormatError as error:
        result, comment = "policy", str(error)
    except dkim.ValidationError as error:
        is_body = str(error).startswith("body hash")
        result, comment = ("fail", "body hash") if is_body else ("permerror", str(error))
    except Exception as error:  # dkimpy takes many a malformed signature as it comes
        result, comment = "permerror", f"{type(error).__name__} {error}"
    tags = signature.signature_fields or {}
    properties = [
        ("header.d", _text(tags.get(b"d"))),
        ("header.s", _text(tags.get(b"s"))),
        ("header.b", "".join(_text(tags.get(b"b")).split())[:8]),
    ]
    return Finding("dkim", result, comment, properties)


def _name(octets: bytes) -> str:
    return octets.decode("ascii", "replace").removesuffix(".").lower()


def _text(octets: bytes | None) -> str:
    return (octets or b"").decode("ascii", "replace")
