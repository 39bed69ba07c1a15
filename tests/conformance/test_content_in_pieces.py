"""Content that comes by itself after DATA is the content that was sent, wherever it is cut."""

import pytest

from mta.net.spill import MEMORY_OCTETS_MAX
from tests.conformance.wire import GREETING, MAIL, Wire, dialogue

COMMANDS = (GREETING, *MAIL.splitlines(keepends=True), b"DATA\r\n")
CONTENT = b"Subject: x\r\n\r\none\r\n..two\r\n"
END = b".\r\n"
ACCEPTED = [250, 250, 250, 354, 250]


@pytest.mark.parametrize("at", range(len(CONTENT + END) + 1))
async def test_it_may_be_cut_anywhere(tmp_path, at):
    whole = CONTENT + END
    codes, taken = await dialogue(tmp_path, *COMMANDS, whole[:at], whole[at:])
    assert codes == ACCEPTED
    assert [one.content for one in taken] == [CONTENT.replace(b"..", b".")]


async def test_commands_behind_its_end_are_answered_after_it(tmp_path):
    codes, taken = await dialogue(tmp_path, *COMMANDS, CONTENT, END + MAIL + b"QUIT\r\n")
    assert codes == [*ACCEPTED, 250, 250, 221]
    assert len(taken) == 1


async def test_half_a_command_behind_its_end_waits_for_the_other_half(tmp_path):
    codes, taken = await dialogue(tmp_path, *COMMANDS, CONTENT + END + b"NO", b"OP\r\n")
    assert codes == [*ACCEPTED, 250]
    assert len(taken) == 1


async def test_a_refused_message_ends_no_connection(tmp_path):
    again = (*MAIL.splitlines(keepends=True), b"DATA\r\n", CONTENT + END)
    codes, taken = await dialogue(tmp_path, *COMMANDS, b"bare\rCR\r\n" + END, *again)
    assert codes == [250, 250, 250, 354, 554, 250, 250, 354, 250]
    assert len(taken) == 1


async def test_data_without_a_recipient_is_no_content(tmp_path):
    codes, taken = await dialogue(tmp_path, GREETING, b"DATA\r\n", b"NOOP\r\n")
    assert codes == [250, 503, 250]
    assert taken == []


async def test_nothing_is_kept_of_what_a_client_did_not_finish(tmp_path):
    wire = Wire(tmp_path)
    line = b"x" * 78 + b"\r\n"
    await wire.say(*COMMANDS, line * (MEMORY_OCTETS_MAX // len(line) + 2), line)
    assert list(tmp_path.iterdir()) != []
    await wire.end()
    assert wire.taken == []
    assert list(tmp_path.iterdir()) == []
