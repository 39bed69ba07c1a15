r"""What crosses the control socket: one request, then pieces of its answer.

Both ways a line of JSON each. A connection carries one request:

    → {"command": "pause queue", "arguments": {"queues": "gmail.com/*"}, "format": "text"}
    ← {"out": "Queue(s) paused.\n"}         any number of these, in order
    ← {"error": "…"}                        at most one
    ← {"exit": 0}                           last; without it the answer was cut off

Arguments are the texts an operator typed; the daemon parses them again, because the
socket is open to whoever may write to it.
"""

import enum
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from mta.admin.command import UsageError
from mta.admin.render import FORMATS, Format

REQUEST_OCTETS_MAX: Final = 65536
"""A request is a command and a few short texts; a shell allows one of 128 KB at most."""

PIECE_CHARACTERS: Final = 16384
"""An answer is sent in pieces of at most this, so that neither side needs a long line."""

PIECE_OCTETS_MAX: Final = 12 * PIECE_CHARACTERS + 64
"""JSON writes a character in at most twelve octets (an escaped surrogate pair)."""


class Exit(enum.IntEnum):
    """How a command ends, for scripts; `EXIT_MEANINGS` says it to people."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNKNOWN = 3


EXIT_MEANINGS: Final = {
    Exit.DONE: "done",
    Exit.REFUSED: "refused or failed; the text on standard error says why",
    Exit.USAGE: "put wrongly, or no daemon answers: nothing was done",
    Exit.UNKNOWN: "the daemon broke off its answer: what was done is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command, as it was typed."""

    command: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    format: Format = "text"


def encode_request(request: Request) -> bytes:
    """The request as its line; UsageError if it is too long."""
    line = json.dumps(asdict(request)).encode() + b"\n"
    if len(line) > REQUEST_OCTETS_MAX:
        raise UsageError(f"the command is longer than {REQUEST_OCTETS_MAX} octets")
    return line


def decode_request(line: bytes) -> Request:
    """The request of a line; UsageError if it is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("the request is not JSON") from None
    match document:
        case {"command": str(command), "arguments": dict(arguments), "format": str(form)} if (
            form in FORMATS and all(isinstance(text, str) for text in arguments.values())
        ):
            return Request(command=command, arguments=arguments, format=form)
        case _:
            raise UsageError("the request has no command, arguments or format")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer; exactly one of the three is set."""

    out: str = ""
    error: str = ""
    exit: Exit | None = None


def encode_piece(piece: Piece) -> bytes:
    """The piece as its line."""
    if piece.exit is not None:
        return b'{"exit": %d}\n' % piece.exit
    name, text = ("error", piece.error) if piece.error else ("out", piece.out)
    return json.dumps({name: text}).encode() + b"\n"


def decode_piece(line: bytes) -> Piece:
    """The piece of a line; ValueError if it is none."""
    match json.loads(line):
        case {"out": str(text)}:
            return Piece(out=text)
        case {"error": str(text)}:
            return Piece(error=text)
        case {"exit": int(code)}:
            return Piece(exit=Exit(code))
        case _:
            raise ValueError("expected out, error or exit")
