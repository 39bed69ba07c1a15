"""Every octet of a connection is in the log where log-data asks for it, and no password is."""

import re
from types import SimpleNamespace

import pytest

from mta.daemon import traces
from mta.net.dump import HIDDEN, Dump, DumpedProtocol, DumpedTransport
from mta.settings.domain import DomainSettings


def shown(lines):
    """What the lines of a dump say, as octets."""
    return bytes.fromhex("".join(m[1] for line in lines if (m := re.match(r"([0-9A-F]+) +", line))))


def test_a_dump_looks_as_powermta_makes_it():
    lines = []
    Dump(lines.append).received(b"220 mx1.example.net ESMTP\r\n")
    Dump(lines.append).sent(b"QUIT\r\n")
    assert lines == [
        ">>> rd 27",
        "323230206D78312E6578616D706C652E 220 mx1.example.",
        "6E65742045534D54500D0A           net ESMTP..",
        "<<< wr 6",
        "515549540D0A                     QUIT..",
    ]


def test_what_is_said_to_authenticate_is_not_in_it():
    lines = []
    dump = Dump(lines.append)
    dump.is_secret = True
    dump.sent(b"AUTH PLAIN c2VjcmV0\r\n")
    dump.received(b"334 c2VjcmV0\r\n")
    assert lines == ["<<< wr 21", HIDDEN, ">>> rd 14", HIDDEN]


class FakeTransport:
    """Has what was written, and the protocol it is to feed."""

    def __init__(self):
        self.written = b""
        self.protocol = None

    def write(self, octets):
        self.written += octets

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_extra_info(self, name):
        return f"the {name}"


def test_octets_pass_both_ways_unchanged():
    lines, taken = [], []
    inner = FakeTransport()
    transport = DumpedTransport(inner, Dump(lines.append))
    transport.set_protocol(SimpleNamespace(data_received=taken.append, pause_writing=lines.clear))
    every = bytes(range(256))
    transport.write(every)
    transport.writelines([b"a", b"", b"b\r\n"])
    inner.protocol.data_received(every[::-1])
    assert inner.written == every + b"ab\r\n"
    assert taken == [every[::-1]]
    assert shown(lines) == every + b"ab\r\n" + every[::-1]
    assert transport.get_extra_info("peername") == "the peername"
    assert isinstance(inner.protocol, DumpedProtocol)
    inner.protocol.pause_writing()
    assert lines == []


@pytest.mark.parametrize(
    ("wanted", "has_dump", "says"),
    [
        ({}, None, None),
        ({"log_data": True}, True, []),
        ({"log_commands": True}, False, ["(  7)>>> 250 ok"]),
        ({"log_data": True, "log_commands": True}, True, ["(  7)>>> 250 ok"]),
    ],
)
def test_lines_and_octets_are_asked_for_apart(wanted, has_dump, says):
    lines, watched = [], []
    assert traces.trace(watched.append, DomainSettings(), lines.append, 7) is not None
    trace = traces.trace(None, DomainSettings(**wanted), lines.append, 7)
    if has_dump is None:
        assert trace is None
        return
    trace(">>> 250 ok")
    assert lines == says
    assert (trace.dump is not None) == has_dump
    if trace.dump is not None:
        trace.dump.sent(b"a")
        assert lines[-2:] == ["(  7)<<< wr 1", f"(  7)61{' ' * 31}a"]
    both = traces.trace(watched.append, DomainSettings(**wanted), lines.append, 7)
    both("dns: x")
    assert watched == ["dns: x"]
