"""What the header blocks of messages say, read beside the writer: for operators.

A list of ten thousand recipients looks into as many messages, so only the beginning of each is
read, none is checked, and one that is gone or damaged has nothing to say.
"""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta.spool.shards import content_path

if TYPE_CHECKING:
    from mta.spool.operations import LookUp

HEAD_OCTETS: Final = 16 << 10
"""Of each message. What people read stands before that, but for a hundred Received fields."""


class HeaderBlocks:
    """Those of one spool."""

    def __init__(self, look: "LookUp", directory: Path) -> None:
        self._look = look
        self._directory = directory

    async def each(
        self, message_ids: Iterable[int], read: Callable[[bytes], str]
    ) -> dict[int, str]:
        """What `read` makes of the beginning of each of those messages that is there."""

        def question(connection: sqlite3.Connection) -> dict[int, str]:
            found = {}
            for number in message_ids:
                try:
                    row = connection.execute(
                        "SELECT substr(content, 1, ?) FROM message WHERE id = ?",
                        (HEAD_OCTETS, number),
                    ).fetchone()
                except sqlite3.DatabaseError:
                    continue  # Delivery comes upon it, and salvages the spool.
                if row is not None:
                    found[number] = read(self._head(number, row[0]))
            return found

        return await self._look(question)

    def _head(self, number: int, content: bytes | None) -> bytes:
        if content is None:
            try:
                with content_path(self._directory, number).open("rb") as file:
                    content = file.read(HEAD_OCTETS)
            except OSError:
                return b""
        block, _, _ = content.partition(b"\r\n\r\n")
        return block
