"""When a client is within a message, so that a commit may wait for what it sends."""

import asyncio

import pytest

from tests.conformance.wire import GREETING, Wire

MAIL = b"MAIL FROM:<a@b.example>\r\n"
RCPT = b"RCPT TO:<c@d.example>\r\n"
END = b"Subject: x\r\n\r\nx\r\n.\r\n"


async def test_from_its_sender_to_the_end_of_its_content(tmp_path):
    wire = Wire(tmp_path)
    seen = []
    for line in (GREETING, MAIL, RCPT, b"DATA\r\n", b"Subject: x\r\n", b"\r\n.\r\n", MAIL):
        await wire.say(line)
        seen.append(wire.expected)
    assert seen == [0, 1, 1, 1, 1, 0, 1]
    assert len(wire.taken) == 1
    await wire.end()
    assert wire.expected == 0


async def test_not_while_it_is_on_its_way_to_the_disk(tmp_path):
    wire = Wire(tmp_path)
    wire.reception.disk = asyncio.get_running_loop().create_future()
    await wire.say(GREETING, MAIL, RCPT, b"DATA\r\n", END)
    assert (len(wire.taken), wire.expected) == (1, 0)
    wire.reception.disk.set_result(None)
    await wire.end()


@pytest.mark.parametrize(
    "giving_up",
    [b"RSET\r\n", GREETING, b"QUIT\r\n", b"RSET\r\nNOOP\r\n", b"BDAT 0 LAST\r\n"],
)
async def test_no_more_once_it_is_given_up(tmp_path, giving_up):
    wire = Wire(tmp_path)
    await wire.say(GREETING, MAIL)
    assert wire.expected == 1
    await wire.say(giving_up)
    assert wire.expected == 0
    await wire.end()


async def test_in_pipelined_commands_from_data_on(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(GREETING, MAIL + RCPT + b"DATA\r\nSubject: x\r\n")
    assert wire.expected == 1
    await wire.say(b"\r\n.\r\n")
    assert (len(wire.taken), wire.expected) == (1, 0)
    await wire.end()


async def test_in_pipelined_commands_whose_data_comes_later(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(GREETING, MAIL + RCPT)
    assert wire.expected == 1
    await wire.end()
    assert wire.expected == 0


async def test_in_chunks_to_the_last(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(GREETING, MAIL + RCPT + b"BDAT 4\r\na:b\n")
    assert wire.expected == 1
    await wire.say(b"BDAT 2 LAST\r\n\r\n")
    assert wire.expected == 0
    await wire.end()


async def test_no_more_once_the_client_is_gone(tmp_path):
    wire = Wire(tmp_path)
    await wire.say(GREETING, MAIL, RCPT, b"DATA\r\n", b"Subject: x\r\n")
    assert wire.expected == 1
    await wire.end()
    assert (wire.taken, wire.expected) == ([], 0)
