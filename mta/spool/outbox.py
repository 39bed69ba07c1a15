"""Accounting records that are on disk and not yet in their files.

A row holds the records of one commit. Numbers go up, and none is used twice, so "up to this
row" says all there is to say about what is in the files. After damage some are missing.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mta.model.record import Record
from mta.spool import counters, schema
from mta.spool.pending import ACCOUNTED

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Ask, Change

Records = Callable[[int, Sequence[Record]], None]
"""Called on the loop after a commit: the row's number, and the records in it."""


class Outbox:
    """The records of one spool, and how far the accounting files are."""

    def __init__(self, ask: "Ask", change: "Change") -> None:
        self.on_records: Records | None = None
        self._ask = ask
        self._change = change

    async def after(self, row: int, limit: int) -> list[tuple[int, str]]:
        """Up to limit outbox rows that come after one, as stored."""
        return await self._ask(
            lambda connection: connection.execute(
                "SELECT id, body FROM record WHERE id > ? ORDER BY id LIMIT ?", (row, limit)
            ).fetchall()
        )

    async def written(self) -> dict[int, int]:
        """By shard: how far its outbox is in the accounting files, other shards only."""
        return await self._ask(
            lambda connection: dict(connection.execute("SELECT shard, upto FROM written"))
        )

    async def pending(self) -> list[tuple[int, list[Record]]]:
        """Outbox rows, oldest first: what a stop or a crash left unwritten."""

        def question(connection: sqlite3.Connection) -> list[tuple[int, list[Record]]]:
            rows = connection.execute("SELECT id, body FROM record ORDER BY id").fetchall()
            return [(number, schema.records_of(body)) for number, body in rows]

        return await self._ask(question)

    async def positions(self) -> dict[str, tuple[str, int]]:
        """By accounting file as configured: the file written last, and its good octets."""
        return await self._ask(
            lambda connection: {
                name: (file, octets)
                for name, file, octets in connection.execute(
                    "SELECT name, file, octets FROM position"
                )
            }
        )

    async def pieces(self) -> dict[str, tuple[str, float]]:
        """By path of a file: where it goes when it is complete, if anywhere; when it began."""
        return await self._ask(
            lambda connection: {
                path: (move_to, begun)
                for path, move_to, begun in connection.execute(
                    "SELECT path, move_to, begun FROM piece"
                )
            }
        )

    def save_positions(
        self,
        upto: int,
        positions: dict[str, tuple[str, int]],
        elsewhere: dict[int, int] | None = None,
        pieces: dict[str, tuple[str, float] | None] | None = None,
    ) -> "asyncio.Future[None]":
        """Accounting files are good up to these octets; outbox rows up to `upto` are done.

        `elsewhere` says how far the outboxes of other shards are; `pieces` what of them
        changed, None what is to be forgotten.
        """

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM record WHERE id <= ?", (upto,))
            for counter in ("record", ACCOUNTED):
                counters.raise_to(connection, counter, upto)
            connection.executemany(
                "INSERT INTO written VALUES (?, ?) ON CONFLICT (shard)"
                " DO UPDATE SET upto = excluded.upto",
                list((elsewhere or {}).items()),
            )
            connection.executemany(
                "INSERT INTO position VALUES (?, ?, ?) ON CONFLICT (name)"
                " DO UPDATE SET file = excluded.file, octets = excluded.octets",
                [(name, file, octets) for name, (file, octets) in positions.items()],
            )
            for path, piece in (pieces or {}).items():
                if piece is None:
                    connection.execute("DELETE FROM piece WHERE path = ?", (path,))
                else:
                    connection.execute("REPLACE INTO piece VALUES (?, ?, ?)", (path, *piece))

        return self._change(change, about=(), accounted=upto)
