"""One message stays one message, whatever others would take for its end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta.smtp.client import stuffed
from mta.smtp.framing import END, ContentFramer
from tests.conformance.wire import GREETING, MAIL, Wire, dialogue
from tests.smuggling import FALSE_ENDS, INSIDE, LENIENT_END, probe

DATA = MAIL + b"DATA\r\n"


def innocent(taken):
    """Whether what was taken is at most the probe itself, with all that it holds."""
    return not taken or (
        len(taken) == 1
        and taken[0].mail_from == "a@b.example"
        and taken[0].content.endswith(INSIDE)
        and not LENIENT_END.search(stuffed(taken[0].content))
    )


@pytest.mark.parametrize("false_end", FALSE_ENDS, ids=repr)
@pytest.mark.parametrize("cut", ["whole", "octet by octet", "at the end"])
async def test_a_false_end_ends_nothing(tmp_path, false_end, cut):
    content = probe(false_end)
    if cut == "whole":
        pieces = [GREETING + DATA + content + b"QUIT\r\n"]
    elif cut == "octet by octet":
        pieces = [GREETING + DATA, *(content[i : i + 1] for i in range(len(content))), b"QUIT\r\n"]
    else:
        at = content.index(false_end)
        pieces = [GREETING + DATA, *(content[i : i + 1] for i in range(at, at + len(false_end)))]
        pieces = [
            pieces[0] + content[:at],
            *pieces[1:],
            content[at + len(false_end) :] + b"QUIT\r\n",
        ]
    codes, taken = await dialogue(tmp_path, *pieces)
    assert codes[:4] == [250, 250, 250, 354]
    assert codes[4:] in ([250, 221], [554, 221])
    assert innocent(taken)


@pytest.mark.parametrize("false_end", FALSE_ENDS, ids=repr)
async def test_nor_does_it_in_chunks(tmp_path, false_end):
    content = probe(false_end)
    at = content.index(false_end) + len(false_end) // 2
    sent = GREETING + MAIL
    for piece, last in ((content[:at], b""), (content[at:], b" LAST")):
        sent += b"BDAT %d%s\r\n" % (len(piece), last) + piece
    codes, taken = await dialogue(tmp_path, sent + b"QUIT\r\n")
    assert codes[:3] == [250, 250, 250]
    assert codes[-1] == 221
    assert len(codes) == 6
    assert len(taken) <= 1
    assert all(LENIENT_END.search(stuffed(m.content)) is None for m in taken)


@pytest.mark.parametrize("count", [0, 1, 100, 10**6, 10**14])
async def test_a_chunk_that_says_too_much_or_too_little_brings_no_command(tmp_path, count):
    """Commands within a chunk are content; behind it they are commands of the same client."""
    command = b"MAIL FROM:<smuggled@evil.example>\r\n"
    codes, taken = await dialogue(tmp_path, GREETING + MAIL + b"BDAT %d\r\n" % count + command)
    assert not taken
    # In a message that comes in chunks no other begins, however the size was meant.
    assert codes[3:] in ([], [250, 503], [250, 502], [250, 500])


@pytest.mark.parametrize(
    "line",
    [b"MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\r\n", b"NOOP\nMAIL FROM:<a@b.example>\r\n",
     b"NOOP\n", b"EHLO c.example\n"],
)  # fmt: skip
async def test_a_bare_lf_between_commands_ends_the_connection(tmp_path, line):
    codes, _ = await dialogue(tmp_path, GREETING, line, b"NOOP\r\n")
    assert codes == [250, 500]


@pytest.mark.parametrize(
    "line",
    [b"MAIL FROM:<a@b.example>\rRCPT TO:<c@d.example>\r\n", b"MAIL FROM:<a\0@b.example>\r\n",
     b"NOOP\rQUIT\r\n", b"MAIL FROM:<a@b.example> ENVID=a+0D+0Ab\r\n",
     b"MAIL FROM:<a@b.example>\x0bSIZE=1\r\n", b"EHLO c\x0b.example\r\n"],
)  # fmt: skip
async def test_no_control_character_gets_into_an_envelope(tmp_path, line):
    codes, _ = await dialogue(tmp_path, GREETING + line + b"NOOP\r\n")
    assert codes[1] in (500, 501)
    assert codes[2:] == [250]


@pytest.mark.parametrize("name", ["ö@b.example", "a@bücher.example"])
async def test_8_bit_addresses_need_smtputf8(tmp_path, name):
    line = f"MAIL FROM:<{name}>".encode()
    assert (await dialogue(tmp_path, GREETING + line + b"\r\n"))[0] == [250, 553]
    assert (await dialogue(tmp_path, GREETING + line + b" SMTPUTF8\r\n"))[0] == [250, 250]
    assert (await dialogue(tmp_path, GREETING + b"MAIL FROM:<\xff@b.example>\r\n"))[0] == [250, 500]


@pytest.mark.parametrize("separator", ["\x80", "\x85", "\x9f", "\u2028", "\u2029"])
async def test_what_ends_a_line_for_others_is_in_no_address(tmp_path, separator):
    for address in (f"a{separator}b@d.example", f'"a{separator}b"@d.example', f"a@d{separator}e"):
        mail = f"MAIL FROM:<{address}> SMTPUTF8\r\n".encode()
        assert (await dialogue(tmp_path, GREETING + mail))[0] == [250, 501]
        rcpt = f"MAIL FROM:<ö@b.example> SMTPUTF8\r\nRCPT TO:<{address}>\r\n".encode()
        assert (await dialogue(tmp_path, GREETING + rcpt))[0] == [250, 250, 501]


@pytest.mark.parametrize("orcpt", ["a<b;c", "a>;c", ";c", "r=c;a", "rfc822;a+0Ab", "rfc822;a+00b"])
async def test_no_parameter_can_break_out_of_a_command(tmp_path, orcpt):
    line = f"RCPT TO:<c@d.example> ORCPT={orcpt}\r\n".encode()
    codes, _ = await dialogue(tmp_path, GREETING + b"MAIL FROM:<a@b.example>\r\n" + line)
    assert codes == [250, 250, 501]


async def test_the_name_of_a_client_is_ascii_in_the_header(tmp_path):
    wire = Wire(tmp_path)
    assert await wire.say("EHLO h\u00f6st.example\r\n".encode() + MAIL + b"DATA\r\n") == [
        250,
        250,
        250,
        354,
    ]
    await wire.say(b"Subject: x\r\n\r\n.\r\n")
    assert wire.reception.helo == "h?st.example"
    await wire.end()


PIECES = st.lists(
    st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"\0", b"x", b"..", b"\r\n.", *FALSE_ENDS]),
    max_size=30,
).map(b"".join)


def accepted(framer, content):
    return None if framer.has_bare or framer.has_nul or framer.has_long else content


def received(content):
    """Content as it is taken after DATA, or None where it is refused."""
    framer = ContentFramer()
    assert framer.feed(content + END) is not None
    return accepted(framer, framer.take_rest())


def chunked(content):
    framer = ContentFramer()
    framer.feed_chunk(content)
    return accepted(framer, framer.take_rest())


@given(PIECES, st.sampled_from([received, chunked]))
def test_what_we_send_has_one_end_for_the_most_lenient_peer(content, way):
    taken = way(b"Subject: x\r\n\r\n" + content)
    if taken is not None:
        sent = stuffed(taken) + b".\r\n"
        ends = [found.end() for found in LENIENT_END.finditer(sent)]
        assert ends == [len(sent)]
        again = ContentFramer()
        assert again.feed(sent) == b""
        assert again.take_rest() == taken
