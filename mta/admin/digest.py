"""`mta digest`: what `privacy-policy` of PowerMTA makes of a recipient, to find it in its files.

SipHash-2-4 as its authors have it (Aumasson, Bernstein: SipHash, 2012), printed as the eight
octets of the result.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mta.admin import local_commands as local
from mta.admin.answers import CommandDone
from mta.admin.protocol import Exit
from mta.admin.render import Format, render

if TYPE_CHECKING:
    from mta.admin.command import Arguments

_MASK: Final = (1 << 64) - 1
SIPHASH_KEY_OCTETS: Final = 16


def digest(a: "Arguments", config: str, form: Format, out: Callable[[str], None]) -> Exit:
    """Print it; the arguments were checked where they are declared."""
    del config
    key = bytes.fromhex(a[local.HEXKEY]) if a[local.HEXKEY] else a[local.KEY].encode()
    text = a[local.DIGESTED].encode()
    if a[local.SIPHASH]:
        value = siphash(key.ljust(SIPHASH_KEY_OCTETS, b"\0"), text)
    else:
        value = hmac.digest(key, text, hashlib.sha256)
    out(render(CommandDone(f"Result: {value.hex().upper()}"), form))
    return Exit.DONE


def siphash(key: bytes, octets: bytes) -> bytes:
    """SipHash-2-4 with a key of sixteen octets."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [
        k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573,
    ]  # fmt: skip
    whole = octets + bytes(-(len(octets) + 1) % 8) + bytes([len(octets) % 256])
    for at in range(0, len(whole), 8):
        word = int.from_bytes(whole[at : at + 8], "little")
        v[3] ^= word
        _round(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _round(v, 4)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def _round(v: list[int], times: int) -> None:
    a, b, c, d = v
    for _ in range(times):
        a = (a + b) & _MASK
        b = _rotated(b, 13) ^ a
        a = _rotated(a, 32)
        c = (c + d) & _MASK
        d = _rotated(d, 16) ^ c
        a = (a + d) & _MASK
        d = _rotated(d, 21) ^ a
        c = (c + b) & _MASK
        b = _rotated(b, 17) ^ c
        c = _rotated(c, 32)
    v[:] = a, b, c, d


def _rotated(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK
