import pytest

from tests.conformance.wire import GREETING, MAIL, Wire, dialogue

START = GREETING + MAIL
BODY = b"Subject: x\r\n\r\nhello\r\n"


def bdat(octets, *, last=False):
    return b"BDAT %d%s\r\n%s" % (len(octets), b" LAST" if last else b"", octets)


async def test_chunks_in_a_row(tmp_path):
    codes, taken = await dialogue(tmp_path, START, bdat(BODY[:7]), bdat(BODY[7:], last=True))
    assert codes == [250, 250, 250, 250, 250]
    assert [m.content for m in taken] == [BODY]


async def test_everything_pipelined_and_another_message_after(tmp_path):
    one = MAIL + bdat(BODY[:9]) + bdat(b"") + bdat(BODY[9:]) + bdat(b"", last=True)
    codes, taken = await dialogue(tmp_path, GREETING + one + one + b"QUIT\r\n")
    assert codes == [250, *[250] * 6, *[250] * 6, 221]
    assert [m.content for m in taken] == [BODY, BODY]


async def test_byte_by_byte_is_the_same(tmp_path):
    sent = START + bdat(BODY[:5]) + bdat(BODY[5:], last=True)
    codes, taken = await dialogue(tmp_path, *(sent[i : i + 1] for i in range(len(sent))))
    assert codes == [250] * 5
    assert taken[0].content == BODY


@pytest.mark.parametrize("inside", [b".\r\n", b"\r\n.\r\n", b"\r\n..\r\n", b"\r\n.\r\nQUIT\r\n"])
async def test_a_dot_is_a_dot(tmp_path, inside):
    content = b"Subject: x\r\n\r\n" + inside + b"end\r\n"
    codes, taken = await dialogue(tmp_path, START, bdat(content, last=True))
    assert codes == [250] * 4
    assert [(m.content, m.has_leading_dot) for m in taken] == [(content, True)]


async def test_a_last_line_without_its_end_gets_one(tmp_path):
    _, taken = await dialogue(tmp_path, START, bdat(b"Subject: x\r\n\r\nhello", last=True))
    assert taken[0].content == BODY


@pytest.mark.parametrize(
    "content",
    [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"a\r"],
    ids=["LF", "CR", "NUL", "CR at the end"],
)
async def test_what_data_may_not_bring_chunks_may_not(tmp_path, content):
    content = b"Subject: x\r\n\r\n" + content
    for pieces in ([content], [content[:15], content[15:]], [content[:16], content[16:]]):
        sent = [bdat(piece, last=piece is pieces[-1]) for piece in pieces]
        codes, taken = await dialogue(tmp_path, START, *sent)
        assert (codes[-1], taken) == (554, [])


async def test_a_line_end_cut_in_two_is_one(tmp_path):
    codes, taken = await dialogue(
        tmp_path, START, bdat(b"Subject: x\r"), bdat(b"\n\r\nhello\r\n", last=True)
    )
    assert codes == [250] * 5
    assert taken[0].content == BODY


@pytest.mark.parametrize(
    "between", [b"DATA\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<e@f.example>\r\n"]
)
async def test_between_chunks_there_are_only_chunks(tmp_path, between):
    codes, taken = await dialogue(
        tmp_path, START, bdat(BODY[:9]), between, bdat(BODY[9:], last=True)
    )
    assert codes[-3:] == [250, 503, 250]
    assert taken[0].content == BODY


@pytest.mark.parametrize("between", [b"RSET\r\n", GREETING])
async def test_reset_forgets_the_chunks(tmp_path, between):
    codes, taken = await dialogue(
        tmp_path, START, bdat(b"X: forgotten\r\n"), between, MAIL, bdat(BODY, last=True)
    )
    assert codes[-1] == 250
    assert [m.content for m in taken] == [BODY]


async def test_the_octets_of_a_refused_chunk_are_no_commands(tmp_path):
    sent = (
        GREETING + bdat(b"MAIL FROM:<x@y.example>\r\n") + bdat(b"NOOP\r\n", last=True) + b"QUIT\r\n"
    )
    assert await dialogue(tmp_path, sent) == ([250, 503, 503, 221], [])
    codes, _ = await dialogue(tmp_path, sent, allow_chunking=False)
    assert codes == [250, 502, 502, 221]


@pytest.mark.parametrize(
    "line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 5 FIRST", b"BDAT 5 LAST x", b"BDAT 0x5",
             b"BDAT " + b"9" * 30, "BDAT \u0665".encode()],
)  # fmt: skip
async def test_a_size_nobody_understands_ends_the_connection(tmp_path, line):
    codes, taken = await dialogue(tmp_path, START + line + b"\r\nNOOP\r\nNOOP\r\n")
    assert (codes, taken) == ([250, 250, 250, 501], [])


async def test_too_large_is_refused_before_it_is_kept(tmp_path):
    wire = Wire(tmp_path, max_message_size=1000)
    chunk = bdat(b"x" * 600)
    assert await wire.say(START, chunk, chunk, chunk) == [250, 250, 250, 250, 552, 503]
    assert await wire.say(MAIL + bdat(BODY, last=True)) == [250, 250, 250]
    await wire.end()


async def test_large_content_goes_to_a_file(tmp_path):
    content = b"Subject: x\r\n\r\n" + b"line\r\n" * 200_000
    cut = [bdat(content[i : i + 100_001]) for i in range(0, len(content), 100_001)]
    codes, taken = await dialogue(tmp_path, START, *cut, b"BDAT 0 LAST\r\n")
    assert codes[-1] == 250
    assert taken[0].content == content
    assert list(tmp_path.iterdir()) == []


async def test_a_client_that_goes_leaves_nothing(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(START, bdat(b"line\r\n" * 100_000))
    assert len(list(tmp_path.iterdir())) == 1
    await wire.end()
    assert (list(tmp_path.iterdir()), wire.taken) == ([], [])


async def test_binarymime_is_not_offered_and_not_taken(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(GREETING)
    assert b"CHUNKING" in wire.transport.written
    assert b"BINARYMIME" not in wire.transport.written
    assert await wire.say(b"MAIL FROM:<a@b.example> BODY=BINARYMIME\r\n") == [555]
    await wire.end()
