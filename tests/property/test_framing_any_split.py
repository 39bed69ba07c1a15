"""Content cut into any pieces gives the same as in one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mta.errors import RemoteProtocolError
from mta.smtp.framing import ContentFramer
from mta.smtp.reply_parser import ReplyParser
from tests.conformance.test_rfc5321_server import server

CONTENT = st.lists(
    st.sampled_from([b"a", b".", b"\r\n", b"\r", b"\n", b"\0", b"\xe9", b"bc"]), max_size=40
).map(b"".join)


def pieces(octets, cuts):
    at = sorted({cut % (len(octets) + 1) for cut in cuts} | {0, len(octets)})
    return [octets[a:b] for a, b in pairwise(at)]


def framed(parts, *, takes_lines=False):
    """Content, what follows, and what was noted."""
    framer = ContentFramer()
    taken, rest = b"", None
    for part in parts:
        if rest is not None:
            rest += part
            continue
        rest = framer.feed(part)
        if takes_lines and rest is None:
            taken += framer.take_lines()
    taken += framer.take_rest()
    notes = (framer.has_bare, framer.has_nul, framer.is_8bit, framer.leading_dot, framer.octets)
    return taken, rest, notes


@given(CONTENT, st.lists(st.integers(0, 200), max_size=8), st.booleans())
def test_cuts_make_no_difference(content, cuts, takes_lines):
    sent = content + b"\r\n.\r\nNOOP\r\n"
    whole = framed([sent])
    assert framed(pieces(sent, cuts), takes_lines=takes_lines) == whole
    assert whole[1] is not None


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_cuts_make_no_difference_to_replies(octets, cuts):
    def replies(parts):
        parser, found = ReplyParser(), []
        try:
            for part in parts:
                found += [(r.code, r.lines) for r in parser.feed(part)]
        except RemoteProtocolError:
            return "nonsense"
        return found

    assert replies(pieces(octets, cuts)) == replies([octets])


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"EHLO a", b"MAIL FROM:<>", b"DATA"])))
def test_any_line_is_answered(lines):
    smtp = server()
    for line in lines:
        reply, _ = smtp.receive(line)
        assert 200 <= reply.code < 600
        assert all(text.isprintable() for text in reply.lines)
