"""The asking side of the control socket; it blocks, for a command line has nothing else to do."""

import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from mta.admin.protocol import (
    PIECE_OCTETS_MAX,
    Exit,
    Request,
    decode_piece,
    encode_request,
)
from mta.admin.socket_path import reachable
from mta.errors import PetrelError

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 300.0
"""Between two pieces of an answer. A delete of millions of recipients takes minutes."""


class NoDaemonError(PetrelError):
    """Nobody answers at the control socket, or we may not ask."""


def ask(
    path: Path,
    request: Request,
    *,
    out: Callable[[str], None],
    error: Callable[[str], None],
    is_stream: bool = False,
) -> Exit:
    """Put one command to the daemon at path; NoDaemonError if nobody is there.

    `out` and `error` get the texts as they come; for those of a stream it waits for ever.
    """
    line = encode_request(request)
    with _connect(path) as connection:
        connection.settimeout(None if is_stream else ANSWER_TIMEOUT_S)
        # A daemon that refuses before it reads has still said why.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(line)
        try:
            with connection.makefile("rb") as pieces:
                while piece_line := pieces.readline(PIECE_OCTETS_MAX):
                    piece = decode_piece(piece_line)
                    if piece.exit is not None:
                        return piece.exit
                    if piece.error:
                        error(piece.error)
                    else:
                        out(piece.out)
        except TimeoutError:
            error(
                f"no answer for {ANSWER_TIMEOUT_S:.0f} seconds; the daemon may still carry it out"
            )
            return Exit.UNKNOWN
        except (ConnectionError, ValueError):
            pass
    error("the daemon ended the connection in the middle of its answer")
    return Exit.UNKNOWN


def is_answered(path: Path) -> bool:
    """Whether a daemon listens at path."""
    try:
        _connect(path).close()
    except NoDaemonError:
        return False
    return True


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_TIMEOUT_S)
        with reachable(path) as address:
            connection.connect(address)
    except OSError as problem:
        connection.close()
        raise NoDaemonError(_why(path, problem)) from None
    return connection


def _why(path: Path, problem: OSError) -> str:
    match problem:
        case PermissionError():
            return f"{path} may only be used by the daemon's user and root; try sudo"
        case FileNotFoundError() | ConnectionRefusedError() | NotADirectoryError():
            return (
                f"no daemon answers at {path}; start it with `mta run`, "
                "or name its configuration with --config"
            )
        case _:
            return f"no daemon answers at {path}: {problem.strerror or problem}"
