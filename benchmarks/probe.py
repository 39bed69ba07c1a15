"""How long one message takes: a client that says when it began, a provider that says when it ended.

Both are threads of the process that measures, so that one clock times both ends.
"""

import contextlib
import socket
import statistics
import threading
import time
from typing import Final

LIVE: Final = "live.example"
"""The domain that is delivered to."""
PROBES: Final = 100
EVERY_S: Final = 0.05
WAIT_S: Final = 120
SIZE: Final = 2 << 10
"""Octets of a message."""
PROBING_S: Final = 60.0
"""How long one server is probed at most."""


class Provider:
    """Takes everything, over any number of connections; `answered` has a time for each."""

    def __init__(self, port: int) -> None:
        self.answered: list[float] = []
        self._connections: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1000)
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for(self, count: int) -> float:
        """When the count-th was answered; TimeoutError."""
        deadline = time.monotonic() + WAIT_S
        while len(self.answered) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.answered)} of {count} messages came")
            time.sleep(0.0005)
        return self.answered[count - 1]

    def close(self) -> None:
        for one in [self._socket, *self._connections]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 sink ESMTP\r\n")
            for line in lines:
                match line[:4].upper():
                    case b"EHLO":
                        connection.sendall(b"250-sink\r\n250 PIPELINING\r\n")
                    case b"DATA":
                        connection.sendall(b"354 go on\r\n")
                        while lines.readline() not in (b".\r\n", b""):
                            pass
                        connection.sendall(b"250 ok\r\n")
                        self.answered.append(time.monotonic())
                    case b"QUIT":
                        connection.sendall(b"221 bye\r\n")
                        return
                    case _:
                        connection.sendall(b"250 ok\r\n")


class Client:
    """One connection to a server, kept open."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), WAIT_S, (source, 0))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._lines = self._socket.makefile("rb")
        self._answer()
        self._say(b"EHLO bench.example\r\n")

    def send(self) -> None:
        """One message to the live provider; RuntimeError if it is refused."""
        self._say(b"MAIL FROM:<sender@bench.example>\r\n")
        self._say(b"RCPT TO:<rcpt@" + LIVE.encode() + b">\r\n")
        self._say(b"DATA\r\n")
        self._say(b"Subject: probe\r\n\r\n" + (b"x" * 74 + b"\r\n") * (SIZE // 76) + b".\r\n")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def _say(self, octets: bytes) -> None:
        self._socket.sendall(octets)
        self._answer()

    def _answer(self) -> None:
        line = self._lines.readline()
        while line[3:4] == b"-":
            line = self._lines.readline()
        if line[:1] not in (b"2", b"3"):
            raise RuntimeError(f"the server answers {line!r}")


def latencies_ms(
    port: int, provider: Provider, probes: int = PROBES, within_s: float = PROBING_S
) -> list[float]:
    """From the first octet of a message to the provider's 250, one at a time; sorted.

    The first tenth is left out: it opens the connections. A server that takes seconds for each
    is asked for no longer than `within_s`.
    """
    found: list[float] = []
    client = Client(port)
    ends = time.monotonic() + within_s
    for _ in range(probes):
        if found and time.monotonic() > ends:
            break
        before = len(provider.answered)
        began = time.monotonic()
        client.send()
        found.append((provider.wait_for(before + 1) - began) * 1e3)
        time.sleep(EVERY_S)
    client.close()
    return sorted(found[len(found) // 10 :])


def median(latencies: list[float]) -> float:
    return statistics.median(latencies)


def share(latencies: list[float], percent: int) -> float:
    """The one that so many in a hundred stay under."""
    return latencies[min(len(latencies) - 1, len(latencies) * percent // 100)]
