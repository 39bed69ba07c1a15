"""Notifications that are owed: who is to be told what, and the message it is about; and copies.

What is owed is on disk before the outcome it tells of, and goes when the notification itself
is a message in the spool. So a kill may have somebody told twice, and never not at all. A copy
of what was delivered (`bcc-upon-delivery`) is owed in the same way.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mta import ids
from mta.bounces.dsn import Action, Told
from mta.errors import SpoolDamagedError
from mta.model.attempt import Attempt
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool import delays, recovery, schema
from mta.spool.delays import Delays, Look
from mta.spool.query import fetched
from mta.spool.shards import content_path

if TYPE_CHECKING:
    import asyncio

    from mta.spool.operations import Ask, Change, LookUp


PAGE_OCTETS_MAX: Final = 16 << 20
"""Of what is owed, read at once: a copy has the whole message, however large."""


class Owed(NamedTuple):
    """One notification: about recipients of one message; or one copy; as stored."""

    number: int
    body: str
    content: bytes
    """The message; of a large one the header block, but for a copy."""

    @property
    def told(self) -> list[Told]:
        """What is to be told; raises whatever comes of a row that is not what was written."""
        return _told(self.body)

    @property
    def copy(self) -> tuple[Envelope, str] | None:
        """The message and who gets a copy of it, if this is one; raises as `told`."""
        values = json.loads(self.body)
        if "copy" not in values:
            return None
        envelope = schema.envelope_of(values["envelope"])
        if len(self.content) != envelope.size:
            raise SpoolDamagedError("the message to be copied is not what was written")
        return envelope, values["copy"]


class OwedReports:
    """The notifications of one spool that are not written yet."""

    def __init__(
        self,
        ask: "Ask",
        look: "LookUp",
        change: "Change",
        directory: Path,
    ) -> None:
        self.delays = Delays(look, change)
        self._ask = ask
        self._change = change
        self._directory = directory

    def put(self, told: Sequence[Told], look: Look | None = None) -> "asyncio.Future[None]":
        """Remember that these are to be told; ask for it before their outcome is settled.

        `look` is the one that found them, if they are delayed.
        """
        ordered = sorted(told, key=_subject)
        groups = [list(group) for _, group in groupby(ordered, key=_subject)]

        def change(connection: sqlite3.Connection) -> None:
            for group in groups:
                envelope = group[0].recipient.envelope
                body = {
                    "envelope": schema.envelope_text(envelope),
                    "told": [_values(one) for one in group],
                }
                content = self._content(connection, envelope.message_id, envelope.head_size)
                connection.execute(
                    "INSERT INTO report (body, content) VALUES (?, ?)", (json.dumps(body), content)
                )
            if look is not None:
                delays.note(connection, look)

        if look is not None:
            return self._change(change)
        return self._change(change, about={r.recipient.envelope.message_id for r in told})

    def put_copies(self, copies: Sequence[tuple[Envelope, str]]) -> "asyncio.Future[None]":
        """Remember who gets a copy of which message; ask for it before it is settled."""

        def change(connection: sqlite3.Connection) -> None:
            for envelope, address in copies:
                body = {"envelope": schema.envelope_text(envelope), "copy": address}
                content = self._content(connection, envelope.message_id, envelope.size)
                connection.execute(
                    "INSERT INTO report (body, content) VALUES (?, ?)", (json.dumps(body), content)
                )

        return self._change(change, about={envelope.message_id for envelope, _ in copies})

    async def pending(self, limit: int) -> list[Owed]:
        """The oldest that are owed, up to limit."""

        def question(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            last, octets = 0, 0
            sizes = connection.execute(
                "SELECT id, length(content) FROM report ORDER BY id LIMIT ?", (limit,)
            )
            for place, (number, size) in enumerate(sizes.fetchall()):
                octets += size
                if place and octets > PAGE_OCTETS_MAX:
                    break
                last = number
            return fetched(
                connection,
                "SELECT id, body, content FROM report WHERE id <= ? ORDER BY id",
                (last,),
            )

        return [Owed(*row) for row in await self._ask(question, is_of_mail=False)]

    def written(self, numbers: Sequence[int]) -> "asyncio.Future[None]":
        """These are messages in the spool now."""

        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM report WHERE id = ?", [(one,) for one in numbers])

        return self._change(change, about=())

    def set_aside(self, number: int) -> "asyncio.Future[None]":
        """It cannot be told: keep what is owed where an operator can look at it."""

        def change(connection: sqlite3.Connection) -> None:
            recovery.set_report_aside(connection, self._directory, number)

        return self._change(change)

    def _content(self, connection: sqlite3.Connection, number: int, size: int) -> bytes:
        row = connection.execute("SELECT content FROM message WHERE id = ?", (number,)).fetchone()
        if row is not None and row[0] is not None:
            return bytes(row[0])
        try:
            with content_path(self._directory, number).open("rb") as file:
                return file.read(size)
        except OSError:
            return b""


def _subject(told: Told) -> tuple[int, str, str, str]:
    """What one notification is about: a message, the VirtualMTA it went through, what became of
    it there, and whom to tell: with VERP each recipient has a sender of its own.
    """
    recipient = told.recipient
    about = recipient.envelope.message_id, recipient.queue.vmta, told.action.name
    return *about, recipient.return_path


def _values(told: Told) -> dict[str, Any]:
    recipient = told.recipient
    return {
        "recipient": {
            "index": recipient.recipient_id & (ids.RECIPIENTS_MAX - 1),
            "address": recipient.address,
            "queue": list(recipient.queue),
            "orcpt": recipient.orcpt,
        },
        "action": told.action.name,
        "status": told.status,
        "diagnostic": told.diagnostic,
        "words": told.words,
        "attempt": asdict(told.attempt),
        "category": told.category,
        "retry_until": told.retry_until,
    }


def _told(body: str) -> list[Told]:
    values = json.loads(body)
    envelope = schema.envelope_of(values["envelope"])
    told = []
    for one in values["told"]:
        of = one.pop("recipient")
        recipient = Recipient(
            ids.recipient_id(envelope.message_id, of["index"]),
            envelope,
            of["address"],
            QueueKey(*of["queue"]),
            0.0,
            orcpt=of["orcpt"],
        )
        action, attempt = Action[one.pop("action")], Attempt(**one.pop("attempt"))
        told.append(Told(recipient=recipient, action=action, attempt=attempt, **one))
    return told
