"""Sockets to listen on."""

import socket
from collections.abc import Callable

from mta.errors import TransportError

Bind = Callable[[str, int], socket.socket]


def bound(address: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that owns address and port; TransportError says what is in the way.

    One that is `shared` lets others of this user that are, too, own them as well.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise TransportError(
            f"cannot listen on {address}:{port}: {error.strerror}; is another mail server running?"
        ) from error
    return sock
