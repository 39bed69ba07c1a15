"""What a list shows of a message is read from its beginning, wherever its content lies."""

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool.header_blocks import HEAD_OCTETS
from mta.spool.shards import content_path
from mta.spool.store import Spool


async def accepted(spool, content):
    number = spool.next_message_id()
    envelope = Envelope(
        message_id=number, mail_from="", time_queued=0, size=len(content), head_size=0
    )
    found = Recipient(number << 16, envelope, "u@d.example", QueueKey("d.example", "v"), 0.0)
    await spool.accept(envelope, content, [found])
    return number


async def test_header_blocks_are_read_of_messages_that_are_there(tmp_path):
    spool = Spool.open(tmp_path)
    small = await accepted(spool, b"Subject: one\r\n\r\nSubject: not\r\n")
    large = await accepted(spool, b"Subject: two\r\n\r\n" + b"x" * 2 * HEAD_OCTETS)
    read = await spool.header_blocks.each([small, large, large + 1], lambda block: block.decode())
    assert read == {small: "Subject: one", large: "Subject: two"}
    await spool.close()


async def test_content_in_a_file_is_read_too_and_a_missing_file_says_nothing(tmp_path):
    spool = Spool.open(tmp_path)
    there, missing = [await accepted(spool, b"x") for _ in range(2)]

    def into_files(connection):
        connection.execute("UPDATE message SET content = NULL")

    await spool._change(into_files)
    path = content_path(tmp_path, there)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"Subject: three\r\n\r\nhello\r\n")
    read = await spool.header_blocks.each([there, missing], lambda block: block.decode())
    assert read == {there: "Subject: three", missing: ""}
    await spool.close()
