"""Content on its way to a peer that answers, or hangs up, before it has all of it."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.model.attempt import Attempt
from mta.model.host import Host
from mta.model.message import FileContent
from mta.model.outcome import Stage
from mta.net.dialogue import CHUNK_OCTETS, Dialogue
from mta.smtp.client import Transaction
from mta.smtp.extensions import Extensions
from tests.conformance.test_rfc5321_client import envelope, recipient

SETTINGS = SimpleNamespace(
    data_send_timeout=180,
    smtp_data_termination_timeout=600,
    smtp_multiple_line_response_timeout=300,
    pix_bug_workaround=True,
)
CONTENT = b"Subject: x\r\n\r\n" + b"A line of text.\r\n" * (4 * CHUNK_OCTETS // 17)
TO_DATA = b"250 ok\r\n250 ok\r\n354 go ahead\r\n"


class Transport(asyncio.Transport):
    """Of a peer that takes one piece of content, and no more until `flows` is set."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.is_closed = False
        self.protocol = None
        self.flows = False
        self.paused = asyncio.Event()
        self.ended = asyncio.Event()
        """Set by the final dot."""

    def set_protocol(self, protocol):
        self.protocol = protocol

    def get_write_buffer_size(self):
        return 0

    def write(self, data):
        assert not self.is_closed, "written to a connection that is over"
        self.written += data
        if data == b".\r\n":
            self.ended.set()
        if len(data) == CHUNK_OCTETS and not self.flows:
            self.protocol.pause_writing()
            self.paused.set()

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def abort(self):
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort


class Conversation:
    """One transaction that is under way."""

    def __init__(self, content, *, is_pix=False):
        self.transport = Transport()
        self.dialogue = Dialogue(
            Attempt(),
            Extensions(pipelining=True),
            SETTINGS,
            host=Host("mx.example", "192.0.2.1", 25),
            is_pix=is_pix,
        )
        self.dialogue.adopt(self.transport)
        one = Transaction(envelope(), (recipient(),), b"", content)
        self.task = asyncio.create_task(self.dialogue.transact(one))

    async def says(self, octets):
        """Once what is under way has come as far as it can."""
        await asyncio.sleep(0)
        self.dialogue.data_received(octets)

    async def result(self):
        async with asyncio.timeout(10):
            return await self.task


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return FileContent(path, len(CONTENT))


async def begun(content, **options):
    """Some of the content is out, and more is to come."""
    made = Conversation(content, **options)
    await made.says(TO_DATA)
    await made.transport.paused.wait()
    return made


async def test_a_refusal_before_the_end_is_the_outcome_and_nobody_has_failed(large):
    one = await begun(large)
    await one.says(b"552 5.3.4 too large\r\n")
    result = await one.result()
    assert str(result.final) == "552 5.3.4 too large"
    assert not result.broken
    assert len(one.transport.written) < len(CONTENT)
    assert one.transport.is_closed
    assert one.dialogue.ending == "a reply before the end of the content"


async def test_a_refusal_together_with_the_go_ahead_is_one_too(large):
    one = Conversation(large)
    await one.says(TO_DATA + b"452 4.3.1 no room\r\n")
    result = await one.result()
    assert (str(result.final), result.broken) == ("452 4.3.1 no room", "")
    assert one.transport.written.endswith(b"DATA\r\n")


async def test_nothing_is_delivered_whose_end_was_not_sent(large):
    one = await begun(large)
    await one.says(b"250 ok\r\n")
    result = await one.result()
    assert result.final is None
    assert result.broken.endswith("a reply before the end of the content: 250 ok")
    assert result.broken_stage is Stage.CONTENT
    assert one.transport.is_closed


async def test_nor_where_the_end_goes_alone_because_of_a_firewall():
    one = Conversation(b"Subject: x\r\n\r\nbody\r\n", is_pix=True)
    await one.says(TO_DATA + b"250 ok\r\n")
    result = await one.result()
    assert result.final is None
    assert result.broken
    assert b"\r\n.\r\n" not in one.transport.written


async def test_all_of_it_and_its_end_go_to_a_peer_that_takes_it(large):
    one = await begun(large)
    one.transport.flows = True
    one.dialogue.resume_writing()
    await one.transport.ended.wait()
    await one.says(b"250 taken\r\n")
    result = await one.result()
    assert (str(result.final), result.broken) == ("250 taken", "")
    assert one.dialogue.ending == ""
    assert one.transport.written.endswith(CONTENT + b".\r\n")


async def test_who_hangs_up_between_messages_is_noticed_after_a_message_that_cannot_be_sent():
    """A command that we refuse to write leaves no transaction behind."""
    one = Conversation(b"Subject: x\r\n\r\nbody\r\n")
    await one.says(TO_DATA + b"250 ok\r\n")
    await one.result()
    lost = []
    one.dialogue.on_lost = lambda: lost.append(True)
    refused = Transaction(envelope(), (recipient("a\0@b.example"),), b"", b"")
    with pytest.raises(Exception, match="cannot stand in a command"):
        await one.dialogue.transact(refused)
    assert one.dialogue.usable
    one.dialogue.connection_lost(None)
    assert lost == [True]
