"""What a `<source>` says of commands, seen from the client."""

import asyncio
import tracemalloc

import pytest

from mta.net.inbound import COMMANDS_AT_ONCE_MAX
from mta.smtp.server import ERRORS_MAX
from tests.conformance.wire import GREETING, Wire, dialogue

BODY = b"Subject: x\r\n\r\nhello\r\n.\r\n"
FROM = b"MAIL FROM:<a@b.example>\r\n"


def rcpts(count):
    return b"".join(b"RCPT TO:<c%d@d.example>\r\n" % n for n in range(count))


async def test_the_recipients_too_many_are_refused_one_by_one(tmp_path):
    codes, taken = await dialogue(
        tmp_path, GREETING + FROM + rcpts(3) + b"DATA\r\n", BODY, max_rcpt_per_message=2
    )
    assert codes == [250, 250, 250, 250, 452, 354, 250]
    assert len(taken[0].rcpts) == 2


async def test_or_they_fail_the_message(tmp_path):
    options = {"max_rcpt_per_message": 2, "too_many_rcpts_fails_message": True}
    codes, taken = await dialogue(
        tmp_path, GREETING + FROM + rcpts(3) + b"DATA\r\nRSET\r\n" + FROM + rcpts(2) + b"DATA\r\n",
        BODY, **options,
    )  # fmt: skip
    assert codes == [250, 250, 250, 250, 250, 554, 250, 250, 250, 250, 354, 250]
    assert len(taken) == 1
    codes, taken = await dialogue(
        tmp_path, GREETING + FROM + rcpts(3) + b"BDAT 2 LAST\r\n\r\n", **options
    )
    assert (codes[-1], taken) == (554, [])


async def test_limits_are_told(tmp_path):
    wire = Wire(tmp_path, max_rcpt_per_message=7, max_message_size=1000)
    await wire.say(GREETING)
    assert b"250-LIMITS RCPTMAX=7\r\n" in wire.transport.written
    assert b"250-SIZE 1000\r\n" in wire.transport.written
    await wire.end()


async def test_a_transient_error_ends_the_connection_where_that_is_wanted(tmp_path):
    sent = GREETING + FROM + rcpts(2) + b"NOOP\r\n"
    codes, _ = await dialogue(tmp_path, sent, max_rcpt_per_message=1)
    assert codes == [250, 250, 250, 452, 250]
    codes, _ = await dialogue(
        tmp_path, sent, max_rcpt_per_message=1, disconnect_on_transient_error=True
    )
    assert codes == [250, 250, 250, 421]


@pytest.mark.parametrize(
    ("given", "suffix", "qualified"),
    [
        (b"joe", "corp.example", "joe@corp.example"),
        (b"joe@sales", "corp.example", "joe@sales.corp.example"),
        (b"joe@sales.example", "corp.example", "joe@sales.example"),
        (b"joe@[192.0.2.1]", "corp.example", "joe@[192.0.2.1]"),
        (b"postmaster", "corp.example", "postmaster@mx.example"),
        (b"joe@sales", "", "joe@sales"),
    ],
)
async def test_addresses_are_completed(tmp_path, given, suffix, qualified):
    wire = Wire(tmp_path, domain_suffix=suffix)
    sent = b"MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n"
    codes = await wire.say(GREETING, sent % (b"joe@sales", given), BODY)
    assert codes == [250, 250, 250, 354, 250]
    assert wire.taken[0].rcpts == [qualified]
    assert wire.taken[0].mail_from == ("joe@sales.corp.example" if suffix else "joe@sales")
    await wire.end()


async def test_addresses_are_left_alone_where_that_is_wanted(tmp_path):
    wire = Wire(tmp_path, domain_suffix="corp.example", auto_qualify_domain=False)
    codes = await wire.say(GREETING, FROM, b"RCPT TO:<joe>\r\n", b"RCPT TO:<joe@sales>\r\n")
    assert codes == [250, 250, 501, 250]
    await wire.end()


@pytest.mark.parametrize("address", [b"joe", b"a b@c.example", b"@", b"joe@-x.example", b"x" * 90])
async def test_what_is_no_address_is_refused_or_taken_to_bounce(tmp_path, address):
    sent = GREETING + FROM + b"RCPT TO:<%s>\r\n" % address
    codes, _ = await dialogue(tmp_path, sent)
    assert codes == [250, 250, 501]
    codes, _ = await dialogue(tmp_path, sent, accept_invalid_recipients=True)
    assert codes == [250, 250, 250]


@pytest.mark.parametrize("line", [b"RCPT TO:<a\0b@c.example>", b"RCPT TO:<a\rb@c.example>",
                                  b"RCPT TO:<a<b@c.example>", b"RCPT TO:<>"])  # fmt: skip
async def test_what_could_be_a_command_is_never_taken(tmp_path, line):
    sent = GREETING + FROM + line + b"\r\n"
    codes, _ = await dialogue(tmp_path, sent, accept_invalid_recipients=True)
    assert codes[-1] in (500, 501)


async def test_a_long_command_line_is_refused(tmp_path):
    codes, _ = await dialogue(tmp_path, GREETING + b"NOOP " + b"x" * 5000 + b"\r\nNOOP\r\n")
    assert codes == [250, 500, 250]
    codes, _ = await dialogue(tmp_path, GREETING, b"NOOP " + b"x" * 5000, b"x" * 5000 + b"\r\n")
    assert codes == [250, 500]


@pytest.mark.parametrize("by", ["DATA", "BDAT"])
@pytest.mark.parametrize("begin", [b"", b"Subject: x\r\n", b"Subject: x\r\n\r\n"])
@pytest.mark.parametrize(("size_max", "code"), [(1000, 552), (1 << 30, 554)])
async def test_a_line_that_does_not_end_is_refused_and_not_held(
    tmp_path, by, begin, size_max, code
):
    wire = Wire(tmp_path, max_message_size=size_max)
    sent = [begin, *[b"x" * (256 << 10)] * 20]
    if by == "DATA":
        assert await wire.say(GREETING, FROM + rcpts(1) + b"DATA\r\n") == [250, 250, 250, 354]
        tracemalloc.start()
        assert await wire.say(*sent) == []
    else:
        assert await wire.say(GREETING, FROM + rcpts(1)) == [250, 250, 250]
        tracemalloc.start()
        assert await wire.say(b"BDAT %d LAST\r\n" % (sum(map(len, sent)) + 5), *sent) == []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3 << 20
    assert await wire.say(b"\r\n.\r\n") == [code]
    assert await wire.say(b"NOOP\r\n") == [250]
    assert not wire.taken
    await wire.end()


@pytest.mark.parametrize("command", [b"NOOP\r\n", b"BDAT 0\r\n", b"RSET\r\n"])
async def test_many_commands_at_once_leave_turns_to_others(tmp_path, command):
    wire = Wire(tmp_path)
    await wire.say(GREETING + FROM + rcpts(1))
    turns = 0
    before = len(wire.transport.written)
    wire.inbound.data_received(command * COMMANDS_AT_ONCE_MAX * 50)
    while wire.transport.written.count(b"\r\n", before) < COMMANDS_AT_ONCE_MAX * 50:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 50
    await wire.end()


async def test_chunks_of_nothing_outside_a_transaction_are_errors(tmp_path):
    codes, _ = await dialogue(tmp_path, GREETING, b"BDAT 0\r\n" * 100)
    assert codes == [250, *[503] * (ERRORS_MAX - 1), 421]
