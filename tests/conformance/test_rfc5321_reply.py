import pytest

from mta.errors import RemoteProtocolError
from mta.smtp.reply_parser import (
    KNOWN_MAX,
    LINE_OCTETS_MAX,
    LINES_MAX,
    TEXT_CHARACTERS_MAX,
    ReplyParser,
)


def test_one_line():
    (reply,) = ReplyParser().feed(b"250 2.0.0 ok\r\n")
    assert (reply.code, reply.lines) == (250, ("2.0.0 ok",))


def test_several_lines_are_one_reply():
    (reply,) = ReplyParser().feed(b"250-mx.example\r\n250-SIZE 10\r\n250 DSN\r\n")
    assert reply.lines == ("mx.example", "SIZE 10", "DSN")


def test_several_replies_at_once():
    assert [r.code for r in ReplyParser().feed(b"250 a\r\n550 b\r\n354 c\r\n")] == [250, 550, 354]


def test_a_code_alone_is_a_reply():
    assert next(ReplyParser().feed(b"250\r\n")).lines == ("",)


def test_a_line_may_end_in_lf():
    assert next(ReplyParser().feed(b"250 ok\n")).lines == ("ok",)


@pytest.mark.parametrize(
    "said", [b"hello\r\n", b"150 a\r\n", b"600 a\r\n", b"25 a\r\n", b"250x\r\n", b"\r\n"]
)
def test_nonsense_is_an_error(said):
    with pytest.raises(RemoteProtocolError):
        list(ReplyParser().feed(said))


def test_two_codes_in_one_reply_are_an_error():
    with pytest.raises(RemoteProtocolError, match="two codes"):
        list(ReplyParser().feed(b"250-a\r\n550 b\r\n"))


def test_a_line_without_end_is_bounded():
    with pytest.raises(RemoteProtocolError):
        list(ReplyParser().feed(b"250 " + b"x" * LINE_OCTETS_MAX))


def test_lines_without_end_are_bounded():
    with pytest.raises(RemoteProtocolError):
        list(ReplyParser().feed(b"250-x\r\n" * (LINES_MAX + 1)))


def test_control_characters_do_not_get_through():
    assert next(ReplyParser().feed(b"550 a\x1b[31mb\0c\r\n")).lines == ("a [31mb c",)


def test_what_is_not_utf8_is_readable_all_the_same():
    assert "caf" in next(ReplyParser().feed(b"550 caf\xe9\r\n")).lines[0]


def test_a_line_said_before_means_the_same_alone_and_another_thing_behind_others():
    parser = ReplyParser()
    assert [str(reply) for reply in parser.feed(b"250 ok\r\n250 ok\r\n")] == ["250 ok"] * 2
    (reply,) = parser.feed(b"250-first\r\n250 ok\r\n")
    assert reply.lines == ("first", "ok")
    assert [str(reply) for reply in parser.feed(b"250 ok\r\n")] == ["250 ok"]


def test_what_comes_before_nonsense_is_a_reply():
    replies = ReplyParser().feed(b"250 queued\r\nnonsense\r\n")
    assert str(next(replies)) == "250 queued"
    with pytest.raises(RemoteProtocolError, match="nonsense"):
        next(replies)


def test_a_peer_that_never_says_the_same_twice_fills_nothing():
    parser = ReplyParser()
    for number in range(10 * KNOWN_MAX):
        (reply,) = parser.feed(b"250 queued as %d\r\n" % number)
        assert reply.text == f"queued as {number}"
    assert len(parser._known) == KNOWN_MAX


def test_of_a_reply_without_end_the_beginning_is_kept():
    """A peer must not decide how large the records of its recipients are."""
    parser = ReplyParser()
    long = b"550-5.1.1 no\r\n" + b"550-" + b"y" * 1000 + b"\r\n"
    said = (
        long
        + (b"550-" + b"x" * 8000 + b"\r\n") * (LINES_MAX - 3)
        + b"550 end\r\n250-a\r\n250 b\r\n"
    )
    first, second = parser.feed(said)
    assert first.lines == ("5.1.1 no", "y" * 1000)
    assert second.lines == ("a", "b")
    (third,) = parser.feed(b"550-" + b"z" * (TEXT_CHARACTERS_MAX - 4) + b"\r\n550 end!\r\n")
    assert third.lines == ("z" * (TEXT_CHARACTERS_MAX - 4), "end!")
