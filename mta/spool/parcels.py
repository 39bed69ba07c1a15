"""Mail on its way from the shard that accepted it to the shard that owns its queue.

A *parcel* is a message with those of its recipients that one shard owns. Its number is
unique for ever and made by the sender. Until the owner has it the recipients are *staged*
with the sender; what the owner has committed it remembers as *taken* until the sender no
longer asks, so a parcel that is handed over twice is taken once.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mta import ids
from mta.errors import SpoolDamagedError
from mta.model.message import Envelope, Recipient
from mta.spool import schema

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Ask, Change


class Parcel(NamedTuple):
    """A message, and recipients of it that belong to one other shard."""

    number: int
    envelope: Envelope
    recipients: list[Recipient]


class Parcels:
    """What a spool knows of parcels that leave and parcels that came."""

    def __init__(self, ask: "Ask", change: "Change") -> None:
        self._ask = ask
        self._change = change

    # Those that leave

    async def staged(self, owner: int, limit: int) -> list[Parcel]:
        """The oldest parcels, at most limit, that a shard has not taken yet."""

        def question(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(
                f"SELECT parcel, {schema.RECIPIENT_COLUMNS} FROM staged"  # noqa: S608 - a constant
                " JOIN recipient ON recipient.id = staged.recipient"
                " JOIN queue ON queue.id = recipient.queue"
                " JOIN message ON message.id = recipient.id >> 16"
                " WHERE owner = ?1 AND parcel IN"
                " (SELECT DISTINCT parcel FROM staged WHERE owner = ?1 ORDER BY parcel LIMIT ?2)"
                " ORDER BY parcel",
                (owner, limit),
            ).fetchall()

        envelopes: dict[int, Envelope] = {}
        parcels: dict[int, Parcel] = {}
        for number, *row in await self._ask(question):
            try:
                recipient = schema.recipient_of(tuple(row), envelopes)
            except SpoolDamagedError:
                continue
            parcel = parcels.setdefault(number, Parcel(number, recipient.envelope, []))
            parcel.recipients.append(recipient)
        return list(parcels.values())

    def unstage(self, recipients: Sequence[Recipient]) -> "asyncio.Future[None]":
        """The owner has these; ask for it after they were settled."""
        numbers = json.dumps([recipient.recipient_id for recipient in recipients])

        def change(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM staged WHERE recipient IN (SELECT value FROM json_each(?))",
                (numbers,),
            )

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
