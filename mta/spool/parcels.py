"""Mail on its way from the shard that accepted it to the shard that owns its queue.

A *parcel* is a message with those of its recipients that one shard owns. Its number is
unique for ever and made by the sender. Until the owner has it the recipients are *staged*
with the sender; what the owner has committed it remembers as *taken* until the sender no
longer asks, so a parcel that is handed over twice is taken once. Where the owner may have
taken it before it was staged, its receipts wait with it, and are taken with it or not at all.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mta import ids
from mta.model.message import Envelope, Recipient
from mta.model.record import Record
from mta.spool import counters, schema
from mta.spool.query import fetched

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Ask, Change


class Parcel(NamedTuple):
    """A message, and recipients of it that belong to one other shard."""

    number: int
    envelope: Envelope
    recipients: list[Recipient]
    receipts: Sequence[Record] = ()


class StagedPage(NamedTuple):
    """Parcels that a shard has not taken yet, the oldest first."""

    parcels: list[Parcel]
    damaged: list[Recipient]
    """Of these it is not known what was written: they cannot be handed over."""
    last: int
    """The number the next page comes after; 0 if there is none."""


class Parcels:
    """What a spool knows of parcels that leave and parcels that came."""

    def __init__(self, ask: "Ask", change: "Change") -> None:
        self._ask = ask
        self._change = change

    # Those that leave

    async def staged(self, owner: int, limit: int, after: int = 0) -> StagedPage:
        """The oldest parcels numbered above `after`, at most limit, that a shard has not taken."""

        def question(
            connection: sqlite3.Connection,
        ) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
            rows = fetched(
                connection,
                f"SELECT parcel, {schema.RECIPIENT_COLUMNS} FROM staged"  # noqa: S608 - a constant
                " JOIN recipient ON recipient.id = staged.recipient"
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                " WHERE owner = ?1 AND parcel IN (SELECT DISTINCT parcel FROM staged"
                " WHERE owner = ?1 AND parcel > ?3 ORDER BY parcel LIMIT ?2) ORDER BY parcel",
                (owner, limit, after),
            )
            receipts = fetched(
                connection,
                "SELECT parcel, body FROM receipt WHERE owner = ? AND parcel BETWEEN ? AND ?",
                (owner, after, rows[-1][0] if rows else 0),
            )
            return rows, dict(receipts)

        rows, receipts = await self._ask(question)
        found = schema.recipients_of(row[1:] for row in rows)
        numbers = {row[1]: row[0] for row in rows}
        parcels: dict[int, Parcel] = {}
        for recipient in found.recipients:
            number = numbers[recipient.recipient_id]
            if number not in parcels:
                records = schema.records_of(receipts.get(number, "[]"))
                parcels[number] = Parcel(number, recipient.envelope, [], records)
            parcels[number].recipients.append(recipient)
        return StagedPage(list(parcels.values()), found.damaged, rows[-1][0] if rows else 0)

    def unstage(self, recipients: Sequence[Recipient]) -> "asyncio.Future[None]":
        """The owner has these; ask for it after they were settled."""
        numbers = json.dumps([recipient.recipient_id for recipient in recipients])

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM staged WHERE recipient IN (SELECT value FROM json_each(?))",
                (numbers,),
            )
            _forget_receipts(connection)

        return self._change(change)

    # Those that came

    async def taken(self) -> set[int]:
        """Numbers of the parcels that are here and may be handed over again."""

        def question(connection: sqlite3.Connection) -> set[int]:
            return {number for (number,) in connection.execute("SELECT parcel FROM taken")}

        return await self._ask(question)

    def forget(self, sender: int, below: int) -> "asyncio.Future[None]":
        """The sender will not hand over again what it numbered below that."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM taken WHERE parcel < ? AND parcel & ? = ?",
                (below, ids.SHARDS_MAX - 1, sender),
            )

        return self._change(change)


def forget_strays(connection: sqlite3.Connection) -> None:
    """A crash came after staged recipients were settled, before they were unstaged."""
    connection.execute("DELETE FROM staged WHERE recipient NOT IN (SELECT id FROM recipient)")
    _forget_receipts(connection)


def take_receipts(connection: sqlite3.Connection, taken: set[tuple[int, int]]) -> None:
    """Have receipts in the outbox but for those of parcels, by owner and number, taken."""
    rows = connection.execute("SELECT owner, parcel, body FROM receipt ORDER BY parcel").fetchall()
    connection.execute("BEGIN IMMEDIATE")
    ((last,),) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM record").fetchall()
    last = max(last, counters.value(connection, "record"))
    bodies = [body for *parcel, body in rows if tuple(parcel) not in taken]
    connection.executemany(
        "INSERT INTO record VALUES (?, ?)",
        [(last + place, body) for place, body in enumerate(bodies, 1)],
    )
    connection.execute("DELETE FROM receipt")
    connection.execute("COMMIT")


def _forget_receipts(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM receipt WHERE parcel NOT IN (SELECT parcel FROM staged)")
