"""A process that does nothing but verify DKIM signatures, one message after the other.

It has a socket for its standard input. What is asked is a frame: the lengths of a text and of
a content, the text, which is JSON (see `asked`), and the content, which is left out where the
text names a file. The answer is the length of a text, and the text. The process ends where the
other end does, and the kernel ends it when a message takes too long.
"""

import json
import os
import signal
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from mta.signing.verification import Key, findings
from mta.smtp.auth_results import Finding

WITHIN_S: Final = 10
"""For one message, whatever is in it: usual ones take milliseconds."""
ASKED: Final = struct.Struct("!II")
ANSWERED: Final = struct.Struct("!I")


def asked(keys: Mapping[str, Key], path: str, content: bytes, *, wants_trace: bool) -> bytes:
    """Ask about content, or about the content of a file."""
    text = json.dumps([keys, path, wants_trace]).encode()
    return ASKED.pack(len(text), len(content)) + text + content


def answer_of(text: bytes) -> list[Finding]:
    """The findings in the text of an answer."""
    return [Finding(*values) for values in json.loads(text)]


def serve(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Answer until nothing more comes; `read` gives as many octets, or b"" at the end."""
    while head := read(ASKED.size):
        text_length, content_length = ASKED.unpack(head)
        keys, path, wants_trace = json.loads(read(text_length))
        content = read(content_length) if content_length else b""
        signal.alarm(WITHIN_S)
        try:
            if path:
                content = Path(path).read_bytes()
            known = {name: Key(*values) for name, values in keys.items()}
            found = findings(content, known, wants_trace=wants_trace)
        except OSError as error:
            found = [Finding("dkim", "temperror", error.strerror or "the message is gone")]
        signal.alarm(0)
        text = json.dumps(found).encode()
        write(ANSWERED.pack(len(text)) + text)


def _read(octets: int) -> bytes:
    pieces = []
    while octets:
        piece = os.read(0, octets)
        if not piece:
            return b""
        pieces.append(piece)
        octets -= len(piece)
    return b"".join(pieces)


def _write(octets: bytes) -> None:
    while octets:
        octets = octets[os.write(0, octets) :]


def main() -> None:
    """Serve the process that started this one."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # meant for that process
    with suppress(ConnectionError):
        serve(_read, _write)


if __name__ == "__main__":
    main()
