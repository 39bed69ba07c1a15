"""The addresses of this host."""

import socket
import struct
from contextlib import suppress

_RTM_GETADDR, _NLM_F_DUMP_REQUEST, _NLMSG_DONE, _RTM_NEWADDR = 22, 0x301, 3, 20
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def local_addresses() -> frozenset[str]:
    """Every IPv4 and IPv6 address of every interface, loopback included (rtnetlink(7))."""
    found: set[str] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.settimeout(2)
        request = struct.pack(
            "=IHHIIBBBBI", 24, _RTM_GETADDR, _NLM_F_DUMP_REQUEST, 1, 0, 0, 0, 0, 0, 0
        )
        netlink.send(request)
        with suppress(TimeoutError):
            while _take(netlink.recv(1 << 17), found):
                pass
    return frozenset(found)


def _take(octets: bytes, found: set[str]) -> bool:
    """Add the addresses of one answer; False after the last."""
    at = 0
    while at + 16 <= len(octets):
        length, kind = struct.unpack_from("=IH", octets, at)
        if kind == _NLMSG_DONE or length < 16:
            return False
        if kind == _RTM_NEWADDR:
            (family,) = struct.unpack_from("=B", octets, at + 16)
            attributes = _attributes(octets[at + 24 : at + length])
            raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
            if raw and family in (socket.AF_INET, socket.AF_INET6):
                found.add(socket.inet_ntop(family, raw))
        at += (length + 3) & ~3
    return True


def _attributes(octets: bytes) -> dict[int, bytes]:
    found = {}
    at = 0
    while at + 4 <= len(octets):
        length, kind = struct.unpack_from("=HH", octets, at)
        if length < 4:
            break
        found[kind] = octets[at + 4 : at + length]
        at += (length + 3) & ~3
    return found
