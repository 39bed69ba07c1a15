"""Every octet of a connection is in the log where log-data asks for it, and no password is."""

import asyncio
import contextlib
import re
from types import SimpleNamespace

import pytest

from mta.admin.operations import TraceQuery
from mta.admin.pattern import QueuePattern
from mta.daemon import traces
from mta.model.queue_key import QueueKey
from mta.net.dump import HIDDEN, Dump, DumpedProtocol, DumpedTransport
from mta.settings.domain import DomainSettings

KEY = QueueKey("a.example", "v")


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


async def told(traces_, queries, connections):
    """What each watcher gets of connections, each a source and lines, and what the log gets."""
    watches = [traces_.watch(query) for query in queries]
    found = [[await anext(watch)] for watch in watches]
    log = []
    for number, (source_ip, lines) in enumerate(connections):
        watched = traces_.watched(KEY, source_ip)
        if watched is None:
            continue
        settings = watched.logs(DomainSettings())
        trace = traces.trace(watched.say, settings, log.append, number, watched.data)
        for line in lines:
            trace(line)
        if trace.dump is not None:
            trace.dump.sent(b"a")
    for lines, watch in zip(found, watches, strict=True):
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0):
                    lines.append(await anext(watch))
        await watch.aclose()
    return found, log


OCTET = f"61{' ' * 31}a"


async def test_each_who_watches_gets_what_was_asked_for():
    everything = QueuePattern("*", "*")
    queries = [
        TraceQuery(pattern=everything),
        TraceQuery(pattern=everything, resolution=True),
        TraceQuery(pattern=everything, data=True, source_ip="192.0.2.1"),
        TraceQuery(pattern=QueuePattern("other.example", "*")),
    ]
    found = f"{traces.FOUND}a.example is mx [192.0.2.9]"
    connections = [("192.0.2.1", [found, ">>> 250 ok"]), ("192.0.2.2", ["dns: no host"])]
    (plain, resolved, data, other), log = await told(traces.Traces(), queries, connections)
    assert plain == [
        "watching */*: connections opened from now on",
        "a.example/v >>> 250 ok",
        "a.example/v dns: no host",
    ]
    assert resolved[1:3] == [f"a.example/v {found}", "a.example/v >>> 250 ok"]
    assert data == [
        "watching */* from 192.0.2.1: connections opened from now on",
        "a.example/v >>> 250 ok",
        "a.example/v <<< wr 1",
        f"a.example/v {OCTET}",
    ]
    assert len(other) == 1
    assert log == []


@pytest.mark.parametrize(
    ("wanted", "logged"),
    [
        ({}, ["(  0)>>> 250 ok"]),
        ({"resolution": True}, ["(  0)dns: x", "(  0)>>> 250 ok"]),
        ({"data": True}, ["(  0)>>> 250 ok", "(  0)<<< wr 1", f"(  0){OCTET}"]),
    ],
)
async def test_the_log_gets_what_a_watcher_wants_there(wanted, logged):
    query = TraceQuery(pattern=QueuePattern("*", "*"), to_log=True, **wanted)
    _, log = await told(traces.Traces(), [query], [("", ["dns: x", ">>> 250 ok"])])
    assert log == logged


async def test_what_no_connection_has_is_told_to_all_who_watch_the_queue():
    query = TraceQuery(pattern=QueuePattern("*", "*"), source_ip="192.0.2.1")
    ((_, moved),), _ = await told(traces.Traces(), [query], [(None, ["1 recipient moved"])])
    assert moved == "a.example/v 1 recipient moved"


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
