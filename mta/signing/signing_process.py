"""A process that does nothing but sign: what it is asked and what it answers over one socket.

It has the socket for its standard input. What is asked is a frame: a kind, a number of a key
and octets, which are a key to be known by that number, or what is to be signed with it. Each
signature asked for has one answer, in order: whether it was made, and the signature or why
not. The process ends where the other end does.
"""

import os
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from cryptography.exceptions import InternalError, UnsupportedAlgorithm

from mta.signing.keys import PrivateKey, parse_key

ALGORITHMS: Final = ("rsa-sha256", "rsa-sha1", "ed25519-sha256")
_KEY: Final = len(ALGORITHMS)
"""The kind of a frame that has a key; others are places in ALGORITHMS."""
_FORGET: Final = _KEY + 1
"""The kind of a frame after which no key is known."""
_ASKED: Final = struct.Struct("!BII")
_ANSWERED: Final = struct.Struct("!?H")
READ_OCTETS: Final = 256 << 10
ANSWERS_MAX: Final = 4
"""Signatures that may wait for one write: 1 ms of RSA-2048."""


def key_frame(number: int, key: PrivateKey) -> bytes:
    """Make a key known by a number."""
    pem = key.pem()
    return _ASKED.pack(_KEY, number, len(pem)) + pem


def forget_frame() -> bytes:
    """No number stands for a key any more."""
    return _ASKED.pack(_FORGET, 0, 0)


def sign_frame(number: int, algorithm: str, octets: bytes) -> bytes:
    """Ask for a signature over octets."""
    return _ASKED.pack(ALGORITHMS.index(algorithm), number, len(octets)) + octets


def answers(buffer: bytearray) -> list[bytes | ValueError]:
    """Take whole answers from the beginning of what came."""
    return [
        octets if is_made else ValueError(octets.decode())
        for (is_made, _), octets in _taken(buffer, _ANSWERED)
    ]


def serve(read: Callable[[], bytes], write: Callable[[bytes], object]) -> None:
    """Answer until nothing more comes."""
    known: dict[int, PrivateKey] = {}
    buffer = bytearray()
    made: list[bytes] = []
    while octets := read():
        buffer += octets
        for (kind, number, _), body in _taken(buffer, _ASKED):
            if kind == _FORGET:
                known.clear()
            elif kind == _KEY:
                # It was tried where it was read.
                known[number] = parse_key(body, is_tried=False)
            else:
                made.append(_answer(known[number], ALGORITHMS[kind], body))
            if len(made) >= ANSWERS_MAX:
                write(b"".join(made))
                made.clear()
        if made:
            write(b"".join(made))
            made.clear()


def _taken(buffer: bytearray, form: struct.Struct) -> list[tuple[tuple[Any, ...], bytes]]:
    """Take what came whole: what it begins with, a length last, and so many octets behind it."""
    found = []
    at, end = 0, len(buffer) - form.size
    while at <= end:
        start = form.unpack_from(buffer, at)
        begins = at + form.size
        if begins + start[-1] > len(buffer):
            break
        at = begins + start[-1]
        found.append((start, bytes(buffer[begins:at])))
    del buffer[:at]
    return found


def _answer(key: PrivateKey, algorithm: str, octets: bytes) -> bytes:
    try:
        made, said = True, key.sign(algorithm, octets)
    except (ValueError, UnsupportedAlgorithm, InternalError) as error:
        made, said = False, str(error).encode()[:1000]
    return _ANSWERED.pack(made, len(said)) + said


def _write(octets: bytes) -> None:
    while octets:
        octets = octets[os.write(0, octets) :]


def main() -> None:
    """Serve the process that started this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Meant for that process, which has signatures to be made yet.
        signal.signal(number, signal.SIG_IGN)
    with suppress(ConnectionError):
        serve(lambda: os.read(0, READ_OCTETS), _write)


if __name__ == "__main__":
    main()
