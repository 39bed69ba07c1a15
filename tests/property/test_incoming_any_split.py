"""Content is the same, and so is its head, in memory or in a file, however it was cut."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.model.arrivals import Arrival, Arrivals
from mta.model.message import FileContent
from mta.net import incoming
from mta.net.incoming import Incoming
from mta.net.spill import MEMORY_OCTETS_MAX
from tests.property.test_framing_any_split import pieces

SMALL = 8
"""Octets that stay in memory here."""
CONTENT = st.lists(st.sampled_from([b"A: b", b"c", b".", b"\r\n", b" long" * 4]), max_size=20).map(
    b"".join
)


def received(parts, is_chunked, memory_max):
    """Its octets, its head's, and whether it is in a file."""
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(incoming, "MEMORY_OCTETS_MAX", memory_max)
        message = Incoming(Path(directory), 1 << 20, Arrival(Arrivals()))
        for part in parts:
            if is_chunked:
                message.feed_chunk(part)
            elif message.feed(part) is not None:
                break
        was_large = message.is_large
        assert message.end() is None
        content = message.content
        if not isinstance(content, FileContent):
            assert not list(Path(directory).iterdir())
            return content, message.head_size, was_large
        octets = content.path.read_bytes()
        assert (len(octets), was_large) == (content.size, True)
        return octets, message.head_size, True


@given(CONTENT, st.lists(st.integers(0, 99), max_size=8), st.booleans())
def test_cuts_make_no_difference(content, cuts, is_chunked):
    sent = content + (b"\r\n" if is_chunked else b"\r\n.\r\n")
    whole, head_size, was_large = received([sent], is_chunked, 1000)
    assert not was_large
    octets, size, was_large = received(pieces(sent, cuts), is_chunked, SMALL)
    assert (octets, size) == (whole, head_size)
    assert was_large or len(octets) <= SMALL


@pytest.mark.parametrize("read", [1 << 10, 100 << 10, 1 << 30])
def test_a_long_line_behind_the_head_is_no_part_of_it(read):
    sent = b"A: b\r\n\r\n" + b"x" * (MEMORY_OCTETS_MAX + 5) + b"\r\n.\r\n"
    parts = [sent[at : at + read] for at in range(0, len(sent), read)]
    octets, head_size, is_large = received(parts, False, MEMORY_OCTETS_MAX)
    assert (octets, head_size, is_large) == (sent[:-3], len(b"A: b\r\n\r\n"), True)
