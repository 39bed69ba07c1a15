"""A name server of the test's own: a table of records, and ways to misbehave."""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.zone

_UDP_OCTETS_PLAIN: Final = 512  # RFC 1035 §2.3.4: without EDNS no more
_TCP_WAIT_S: Final = 2.0
_CHAIN_MAX: Final = 8  # CNAMEs followed
PORTS_TRIED: Final = 20


Lie = Callable[[dns.message.Message, str], bytes]
"""Makes of an honest response, to be sent over `udp` or `tcp`, what is sent."""


class Nameserver:
    """Authoritative for everything, over UDP and TCP, on a thread of its own.

    `zone` is a master file with absolute names. A name in `servfail` and all below it is
    answered SERVFAIL; one in `silent` not at all; `.` means every name. `lies` has by name what
    is said instead of the honest answer, and `stray` those answered from another port.
    Sockets belong to the network namespace the caller is in when it is made; closed on leaving
    `with`.
    """

    def __init__(self, zone: str, address: str = "127.0.0.1", port: int = 53) -> None:
        self.servfail: set[str] = set()
        self.silent: set[str] = set()
        self.lies: dict[str, Lie] = {}
        self.stray: set[str] = set()
        self.authentic: set[str] = set()
        """Names whose answers say that they were verified (AD), where that is asked for."""
        self.queries: list[tuple[str, str]] = []
        """Name without its last dot, and type, in the order asked."""
        self.transports: list[str] = []
        """`udp` or `tcp` for each of the queries."""
        self.replace(zone)
        self._udp, self._tcp = _bound(address, port)
        self.address, self.port = self._udp.getsockname()
        self._other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._other.bind((address, 0))
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="nameserver")

    def __enter__(self) -> "Nameserver":
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stop.send(b"x")
        self._thread.join(timeout=10)
        for each in (self._udp, self._other, self._tcp, self._wake, self._stop):
            each.close()

    def replace(self, zone: str) -> None:
        """Answer from this table from now on."""
        self._zone = dns.zone.from_text(zone, origin=".", relativize=False, check_origin=False)

    def asked(self, name: str, kind: str) -> int:
        """How often a question was asked."""
        return self.queries.count((name, kind))

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for each in (self._udp, self._tcp, self._wake):
                selector.register(each, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._wake in ready:
                    return
                if self._udp in ready:
                    query, client = self._udp.recvfrom(65535)
                    if answer := self._answer(query, "udp"):
                        is_stray = _covers(
                            self.stray, dns.message.from_wire(query).question[0].name
                        )
                        (self._other if is_stray else self._udp).sendto(answer, client)
                if self._tcp in ready:
                    with contextlib.suppress(OSError, struct.error):
                        self._serve_stream()

    def _serve_stream(self) -> None:
        connection, _ = self._tcp.accept()
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(_TCP_WAIT_S)
            (length,) = struct.unpack("!H", stream.read(2))
            if answer := self._answer(stream.read(length), "tcp"):
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes, transport: str) -> bytes | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        question = query.question[0]
        self.queries.append(
            (question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype))
        )
        self.transports.append(transport)
        if _covers(self.silent, question.name):
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA | dns.flags.RA
        if query.flags & dns.flags.AD and _covers(self.authentic, question.name):
            response.flags |= dns.flags.AD
        if _covers(self.servfail, question.name):
            response.set_rcode(dns.rcode.SERVFAIL)
        else:
            self._fill(response, question.name, question.rdtype)
        lie = next((self.lies[name] for name in self.lies if _covers({name}, question.name)), None)
        if lie is not None:
            return lie(response, transport)
        if transport == "tcp":
            return response.to_wire(max_size=65535)
        try:
            return response.to_wire(max_size=max(query.payload, _UDP_OCTETS_PLAIN))
        except dns.exception.TooBig:
            cut = dns.message.make_response(query)
            cut.flags |= dns.flags.AA | dns.flags.TC
            return cut.to_wire()

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: int) -> None:
        for _ in range(_CHAIN_MAX):
            if found := self._zone.get_rrset(name, kind):
                response.answer.append(found)
                return
            alias = self._zone.get_rrset(name, dns.rdatatype.CNAME)
            if not alias:
                break
            response.answer.append(alias)
            name = alias[0].target
        if not any(known.is_subdomain(name) for known in self._zone.nodes):
            response.set_rcode(dns.rcode.NXDOMAIN)
        # RFC 2308 §3: how long nothing may be believed
        soa = "ns.invalid. root.invalid. 1 60 60 60 5"
        response.authority.append(dns.rrset.from_text(name.parent(), 5, "IN", "SOA", soa))


def _covers(names: set[str], asked: dns.name.Name) -> bool:
    return any(asked.is_subdomain(dns.name.from_text(name)) for name in names)


def _bound(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """For UDP and TCP on the same port; any that is free for both, if it is 0."""
    for _ in range(PORTS_TRIED):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((address, port))
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
            if port:
                raise
    raise OSError(f"no port of {address} is free for both UDP and TCP")
