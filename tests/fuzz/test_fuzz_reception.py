"""Whatever a client sends: no exception, no hang, bounded memory, and a reply to every command.

`PETREL_FUZZ_EXAMPLES` says how many connections are tried by each test; `make fuzz` goes on for
the time that it is given.
"""

import asyncio
import os
import re
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mta.net.spill import MEMORY_OCTETS_MAX
from mta.smtp.command import CommandError, parse_mail, parse_rcpt, split_command
from mta.smtp.framing import ContentFramer
from tests.conformance.wire import GREETING, MAIL, Wire
from tests.smuggling import FALSE_ENDS

EXAMPLES = int(os.environ.get("PETREL_FUZZ_EXAMPLES", "60"))
fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

TEXTS = st.sampled_from(
    [b"a@b.example", b"<", b">", b"<a@b.example>", b"@", b'"', b"\\", b" ", b"\t", b"=", b"+",
     b"\0", b"\x80", "ü".encode(), b"SIZE=1", b"SIZE=", b"BODY=8BITMIME", b"BODY=BINARYMIME",
     b"RET=HDRS", b"VERP", b"ON", b"OFF", b"LAST", b"1", b"a=b ", b'x="', b"*parts=1", b"*from=",
     b"ENVID=+41", b"ENVID=+0A", b"NOTIFY=NEVER", b"ORCPT=rfc822;a+2Bb", b"SMTPUTF8", b"AUTH=<>",
     b"x" * 300, b"[IPv6:::1]", b"a" * 5000, b"+ZZ", b":", b"FROM:", b"TO:", b"FROM:<>"]
)  # fmt: skip
VERBS = st.sampled_from(
    [b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"BDAT", b"RSET", b"NOOP", b"AUTH", b"VRFY",
     b"STARTTLS", b"HELP", b"XMRG", b"XDFN", b"XPRT", b"XACK", b"mail", b""]
)  # fmt: skip
LINES = st.tuples(VERBS, st.lists(TEXTS | st.binary(max_size=12), max_size=6)).map(
    lambda parts: parts[0] + b" " + b"".join(parts[1]) + b"\r\n"
)
CHUNKS = st.tuples(st.integers(0, 40), st.booleans(), st.binary(max_size=40)).map(
    lambda c: b"BDAT %d%s\r\n" % (c[0], b" LAST" if c[1] else b"") + c[2]
)
CONTENTS = st.lists(
    st.sampled_from([b"x", b".", b"\r\n", b"\r\n.\r\n", *FALSE_ENDS]) | st.binary(max_size=9)
).map(b"".join)
MERGE = b"XMRG FROM:<a@b.example>\r\nXDFN a=b\r\nRCPT TO:<c@d.example>\r\n"
MERGES = st.sampled_from(
    [MERGE, b"XACK OFF\r\n", MERGE + b"XPRT 1\r\n", MERGE + b"XPRT 1 LAST\r\n[a][[\r\n.\r\n",
     b"XPRT 2 LAST\r\n", b"XDFN \xff=1 *vmta=\xff\r\n"]
)  # fmt: skip
STREAMS = st.lists(
    LINES | CHUNKS | MERGES | st.just(MAIL) | st.just(MAIL + b"DATA\r\n") | st.just(GREETING)
    | CONTENTS | st.just(b"RSET\r\n") | st.binary(max_size=20),
    max_size=25,
).map(b"".join)  # fmt: skip


def pieces(octets, cuts):
    at = sorted({cut % (len(octets) + 1) for cut in cuts} | {0, len(octets)})
    return [octets[a:b] for a, b in pairwise(at)]


async def connection(parts):
    """Everything written to a client, once it is gone; fails where the daemon would."""
    with tempfile.TemporaryDirectory() as directory:
        wire = Wire(
            Path(directory), max_message_size=5000, max_rcpt_per_message=5, allow_mailmerge=True
        )
        await wire.say(*parts)
        is_open = not wire.transport.is_closing()
        # It still listens, unless it waits for content or closed.
        if is_open and wire.inbound._is_idle:
            assert not wire.inbound._reader._buffer
        await wire.end()
        assert wire.expected == 0
        assert list(Path(directory).iterdir()) == []
        return wire.transport.written, wire.taken


def run(parts):
    with asyncio.Runner() as runner:
        return runner.run(asyncio.wait_for(connection(parts), 20))


@fuzzed
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=5))
def test_any_stream_is_answered_line_by_line_and_cuts_make_no_difference(stream, cuts):
    written, taken = run([stream])
    assert all(
        re.fullmatch(rb"[2345]\d\d[ -][\x20-\x7e]*", line) for line in written.split(b"\r\n")[:-1]
    )
    for message in taken:
        assert message.content.endswith(b"\r\n") or not message.content
        assert b"\0" not in message.content
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message.content)
        for address in (message.mail_from, *message.rcpts):
            assert not re.search(r"[\x00-\x1f\x7f<>]", address)
    again, taken_again = run(pieces(stream, cuts))
    assert [m.content for m in taken] == [m.content for m in taken_again]
    # An overlong line is refused as soon as it is known to be, so only its end may differ.
    if b"too long" not in written + again:
        assert again == written


@fuzzed
@given(LINES)
def test_any_command_is_parsed_or_refused(line):
    try:
        verb, rest = split_command(line[:-2])
        parse = {"MAIL": parse_mail}.get(verb, lambda text: parse_rcpt(text, smtputf8=True))
        found = parse(rest)
    except CommandError as error:
        assert 500 <= error.reply.code < 600
        assert all(text.isprintable() for text in error.reply.lines)
    else:
        address = getattr(found, "mail_from", None) or getattr(found, "address", "")
        assert not re.search(r"[\x00-\x1f\x7f<>]", address)


@fuzzed
@given(
    st.lists(st.sampled_from([b"x" * 70_000, b"\r\n", b".", b"\r", b"\n", b"y\r\n"]), max_size=60),
    st.booleans(),
)
def test_memory_is_bounded_whatever_the_lines(parts, chunked):
    framer = ContentFramer()
    for part in parts:
        if chunked:
            framer.feed_chunk(part)
        elif framer.feed(part) is not None:
            break
        if framer.buffered > MEMORY_OCTETS_MAX:
            framer.take_lines()
        # A line that never ends is held until it is known to be too long.
        assert framer.buffered <= (1 << 20) + 2 * 70_000 or framer.has_long
        assert framer.buffered <= (1 << 20) + MEMORY_OCTETS_MAX + 70_000
