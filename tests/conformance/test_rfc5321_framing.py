import pytest

from mta.smtp.framing import LINE_OCTETS_MAX, ContentFramer


def framed(*pieces):
    """The content, what follows it, and the framer; the content must have ended."""
    framer = ContentFramer()
    for piece in pieces:
        rest = framer.feed(piece)
    assert rest is not None
    return framer.take_rest(), rest, framer


def test_content_ends_at_a_dot_alone():
    assert framed(b"Subject: x\r\n\r\nBody\r\n.\r\nQUIT\r\n")[:2] == (
        b"Subject: x\r\n\r\nBody\r\n",
        b"QUIT\r\n",
    )


def test_empty_content():
    assert framed(b".\r\nQUIT\r\n")[:2] == (b"", b"QUIT\r\n")


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n..\r\n.\r\n", b"a\r\n.\r\n"),
        (b"..a\r\n...b\r\n.\r\n", b".a\r\n..b\r\n"),
        (b".a\r\n.\r\n", b"a\r\n"),
        (b"a.\r\nb\r\n.\r\n", b"a.\r\nb\r\n"),
    ],
)
def test_dots_are_unstuffed(sent, content):
    assert framed(sent)[0] == content


@pytest.mark.parametrize(
    ("sent", "leading"),
    [(b"..\r\n.\r\n", True), (b"a\r\n..b\r\n.\r\n", True), (b".a\r\n.\r\n", False)],
)
def test_leading_dots_are_known(sent, leading):
    assert framed(sent)[2].leading_dot is leading


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\n\n.\r\n",
        b"\r\n.\0\r\n",
    ],
)
def test_no_other_end_counts(end):
    """What another server may take for the end of content (SMTP smuggling)."""
    smuggled = b"a" + end + b"MAIL FROM:<x@y.example>\r\n"
    content, rest, framer = framed(smuggled + b".\r\n")
    assert b"MAIL" in content
    assert rest == b""
    assert framer.has_bare or framer.has_nul


@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n", b"a\rb\nc\r\n"])
def test_bare_line_ends_are_noted(bad):
    assert framed(bad + b".\r\n")[2].has_bare


def test_good_lines_are_not():
    framer = framed(b"a\r\n\r\nb\x0bc\x0c\x1c\x85\r\n.\r\n")[2]
    assert not framer.has_bare
    assert not framer.has_nul
    assert framer.is_8bit


def test_an_end_may_come_in_pieces():
    content, rest, _ = framed(b"a\r", b"\n", b".", b"\r", b"\nNOOP")
    assert (content, rest) == (b"a\r\n", b"NOOP")


def test_an_empty_message_may_come_in_pieces():
    assert framed(b".", b"\r", b"\nNOOP")[:2] == (b"", b"NOOP")


def test_lines_are_given_out_as_they_come():
    framer = ContentFramer()
    framer.feed(b"a\r\n..b\r\nc\r\nd")
    first = framer.take_lines()
    assert framer.feed(b"e\r\n.\r\n") == b""
    assert first + framer.take_rest() == b"a\r\n.b\r\nc\r\nde\r\n"
    assert framer.octets == len(b"a\r\n.b\r\nc\r\nde\r\n")


def test_a_line_without_end_is_noted_and_its_end_is_found():
    framer = ContentFramer()
    for _ in range(5):
        assert framer.feed(b"x" * (300 << 10)) is None
        framer.take_lines()
    assert framer.has_long
    assert framer.buffered < 1 << 20
    assert framer.feed(b".\r\nstill content\r") is None
    assert framer.feed(b"\n.\r\nNOOP\r\n") == b"NOOP\r\n"


@pytest.mark.parametrize("begin", [b"", b"Subject: x\r\n", b"Subject: x\r\n\r\n", b".a\r\n..b\r\n"])
def test_a_line_that_never_ends_is_noted_and_not_held(begin):
    framer = ContentFramer()
    framer.feed(begin)
    for _ in range(20):
        assert framer.feed(b"x" * (256 << 10)) is None
        framer.take_lines()
        assert framer.buffered <= LINE_OCTETS_MAX + (256 << 10)
    assert framer.has_long
    assert framer.feed(b"\r\n.\r\nNOOP\r\n") == b"NOOP\r\n"
    framer.take_rest()
    assert framer.octets > 20 * (250 << 10)


def test_the_line_before_a_long_one_makes_it_no_longer():
    framer = ContentFramer()
    sent = b"a" * (600 << 10) + b"\r\n" + b"b" * (600 << 10) + b"\r\n"
    taken = b""
    for at in range(0, len(sent), 100 << 10):
        framer.feed(sent[at : at + (100 << 10)])
        taken += framer.take_lines()
    assert framer.feed(b".\r\n") == b""
    assert taken + framer.take_rest() == sent
    assert not framer.has_long


def test_a_line_end_is_given_out_once_it_begins_no_end_of_content():
    framer = ContentFramer()
    for piece, lines in [(b"a\r\n", b""), (b".", b""), (b"\r", b""), (b".", b"a\r\n")]:
        assert framer.feed(piece) is None
        assert framer.take_lines() == lines
    assert framer.feed(b"\r\n.\r\n") == b""
    assert framer.take_rest() == b"\r.\r\n"
