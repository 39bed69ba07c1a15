"""What a client says and does while its message is on its way to the disk: it waits its turn."""

import asyncio

import pytest

from mta.model.reply import Reply
from tests.conformance.wire import GREETING, Wire

COMMANDS = (b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n", b"DATA\r\n")
CONTENT = b"Subject: x\r\n\r\nbody\r\n.\r\n"


@pytest.fixture
async def wire(tmp_path):
    made = Wire(tmp_path)
    made.reception.disk = asyncio.get_running_loop().create_future()
    assert await made.say(GREETING, *COMMANDS) == [250, 250, 250, 354]
    return made


async def test_nothing_is_answered_before_the_message_is_on_disk(wire):
    assert await wire.say(CONTENT) == []
    assert await wire.say(b"NOOP\r\n", b"MAIL FROM:<e@f.example>\r\nRSET\r\n") == []
    wire.reception.disk.set_result(None)
    assert await wire.say() == []
    assert wire.transport.written.endswith(
        b"250 2.6.0 message received\r\n250 2.0.0 ok\r\n250 2.1.0 sender ok\r\n250 2.0.0 ok\r\n"
    )
    await wire.end()


async def test_the_next_message_goes_as_the_first_did(wire):
    assert await wire.say(CONTENT) == []
    wire.reception.disk.set_result(None)
    assert await wire.say(*COMMANDS, CONTENT, b"QUIT\r\n") == [250, 250, 354, 250, 221]
    assert len(wire.taken) == 2
    await wire.end()


async def test_one_that_ends_its_side_hears_of_its_message(wire):
    assert await wire.say(CONTENT) == []
    wire.inbound.eof_received()
    assert await wire.say() == []
    assert not wire.inbound.task.done()
    wire.reception.disk.set_result(None)
    await wire.say()
    assert wire.transport.written.endswith(b"250 2.6.0 message received\r\n")
    await wire.end()


async def test_the_session_of_one_that_is_gone_lasts_until_its_message_is_on_disk(wire):
    assert await wire.say(CONTENT) == []
    wire.transport.close()
    await wire.say()
    assert not wire.inbound.task.done()
    wire.reception.disk.set_result(None)
    await wire.end()


async def test_a_stop_waits_for_the_message(wire):
    assert await wire.say(CONTENT) == []
    closing = asyncio.create_task(wire.inbound._door.close(10))
    assert await wire.say() == []
    wire.reception.disk.set_result(None)
    await closing
    assert b"250 2.6.0 message received\r\n421 4.3.2" in wire.transport.written
    await wire.end()


async def test_a_refusal_is_said_and_ends_the_connection_if_it_is_421(wire):
    assert await wire.say(CONTENT) == []
    wire.reception.disk.set_result(Reply(421, ("4.3.2 stopping",)))
    await wire.say()
    assert wire.transport.written.endswith(b"421 4.3.2 stopping\r\n")
    assert wire.transport.is_closing()
    await wire.end()


async def test_a_defect_of_ours_ends_the_connection_and_not_with_250(wire):
    loop, said = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: said.append(context["exception"]))
    assert await wire.say(CONTENT) == []
    wire.reception.disk.set_exception(ValueError("a defect"))
    await wire.say()
    assert [str(error) for error in said] == ["a defect"]
    assert b"250 2.6.0" not in wire.transport.written
    assert wire.transport.is_closing()
    await wire.end()
