"""Numbers of messages: none is given out twice, whenever the process dies.

They are reserved in blocks, and a block is on disk before a number of it is given out: another
shard may have the message before anything of it is on this one's disk.
"""

import sqlite3
from typing import TYPE_CHECKING, Final

from mta import ids
from mta.spool import counters

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Change

BLOCK: Final = 10_000
"""Numbers reserved at once; a crash skips what is left of them."""
_COUNTER: Final = "message"


class MessageNumbers:
    """The numbers of one spool, from where those of its last life ended."""

    def __init__(self, connection: sqlite3.Connection, change: "Change", shard: int) -> None:
        self._change = change
        self._shard = shard
        self._next = counters.value(connection, _COUNTER) or 1
        self._asked = self._reserved = self._next
        try:
            counters.raise_to(connection, _COUNTER, self._next + BLOCK)
        except sqlite3.OperationalError:
            return  # A full disk: it is asked again with the first message.
        self._asked = self._reserved = self._next + BLOCK

    def take(self) -> int:
        """An id that no message of this spool had or will have."""
        if self._next >= self._asked - BLOCK // 2:
            self._ask()
        self._next += 1
        return ids.message_id(self._next - 1, self._shard)

    @property
    def taken_below(self) -> int:
        """Every id given out so far is lower."""
        return ids.message_id(self._next, self._shard)

    def is_reserved(self, message_id: int) -> bool:
        """Whether an id that was given out is known to be on disk as such.

        If not, it is before whatever is committed to this spool after it.
        """
        return message_id < ids.message_id(self._reserved, self._shard)

    def _ask(self) -> None:
        self._asked = upto = self._asked + BLOCK
        asked = self._change(
            lambda connection: counters.raise_to(connection, _COUNTER, upto),
            about=(),
            is_synced=True,
        )
        asked.add_done_callback(lambda done: self._note(upto, done))

    def _note(self, upto: int, done: "asyncio.Future[None]") -> None:
        if not done.cancelled() and done.exception() is None:
            self._reserved = max(self._reserved, upto)
