"""What is in the journal and not in the database: mail that may be gone before it comes there.

The writer keeps it in memory as it writes frames; a start makes it again from the frames it
finds. Then it goes into the database in one transaction. A line of a frame is one of

    ["a", message, parcel, octets, recipients, staged]   accepted; octets of the content in
          the frame, null where it is a file. The next line is the envelope as it is stored.
          If there are receipts of what is staged, they stand behind it
    ["s", done, deferred, tries, tried]                            settled
    ["r", row, records]                                 of all of them, for the accounting outbox

What comes from a frame may be in the database in part: a change that asked for single messages
had them there before the others. So whatever a frame says is said to the database, too, and
what is there already is left as it is.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from mta import ids
from mta.spool import counters, schema, tries
from mta.spool.tables import OR_FAIL, OR_IGNORE, RecipientRow, Tables

if TYPE_CHECKING:
    from mta.model.record import Record
    from mta.spool.journal import Frame
    from mta.spool.operations import Accept, Deferral, Settle, Staged

JOURNAL: Final = "journal"
"""The counter of the last generation of the journal that is in the database."""
JOURNAL_FRAMES: Final = "journal-frames"
"""The counter of how many frames of that generation are."""
ACCOUNTED: Final = "accounted"
"""The counter of the last outbox row whose records are in the accounting files."""


class Line:
    """An operation as the journal has it."""

    __slots__ = ("octets", "records")

    def __init__(self, values: list[Any], records: "Sequence[Record]") -> None:
        """ValueError or TypeError if there is no way to store one of the values."""
        self.octets = schema.json_text(values).encode()
        self.records = schema.records_text(list(records)).encode()[1:-1] if records else b""


class AcceptLine(Line):
    """A message with its recipients."""

    __slots__ = ("content", "message", "parcel", "receipts", "rows", "staged", "text")

    def __init__(self, accept: "Accept") -> None:
        envelope, content = accept.envelope, accept.content
        self.message = envelope.message_id
        self.parcel = accept.parcel
        self.text = schema.stored_text(envelope, content)
        self.content = content if isinstance(content, bytes) else None
        self.rows = [
            RecipientRow(
                r.recipient_id, r.queue.domain, r.queue.vmta, r.due, envelope.size, r.address,
                r.pool, r.orcpt, r.notify, r.attempts, r.last_reply, r.priority,
                schema.recipient_sum(r.recipient_id, r.address, r.orcpt, r.notify),
            )
            for r in accept.recipients
        ]  # fmt: skip
        self.staged = accept.staged
        self.receipts = accept.receipts
        size = None if self.content is None else len(self.content)
        values = ["a", self.message, self.parcel, size, self.rows, self.staged]
        if self.receipts:
            values.append(self.receipts)
        super().__init__(values, accept.records)
        self.octets += b"\n" + self.text.encode()


class SettleLine(Line):
    """Recipients that are done with, or have to wait."""

    __slots__ = ()

    def __init__(self, settle: "Settle") -> None:
        values = ["s", settle.done, settle.deferred, settle.tries, settle.tried]
        super().__init__(values, settle.records)


def records_line(row: int, records: bytes) -> bytes:
    """A row of the accounting outbox, its records as JSON."""
    return b'["r",%d,%b]' % (row, records)


class _Message:
    """One that waits."""

    __slots__ = ("content", "receipts", "rows", "staged", "text")

    def __init__(self, text: str, content: bytes | None) -> None:
        self.text = text
        self.content = content
        self.rows: dict[int, RecipientRow] = {}
        self.staged: list[Staged] = []
        self.receipts: Sequence[Record] = ()


class Unfit(NamedTuple):
    """A message that the database cannot take."""

    number: int
    text: str
    content: bytes | None
    error: Exception


class Pending:
    """Messages that wait, by id, and what is to be done to those in the database."""

    def __init__(self, *, is_replay: bool = False) -> None:
        self._is_replay = is_replay
        self._messages: dict[int, _Message] = {}
        self._shared: set[int] = set()
        """Messages that came as parcels: other recipients may be in the database already."""
        self._taken: list[tuple[int]] = []
        self._done: list[int] = []
        self._deferred: dict[int, tuple[float, int, str, int]] = {}
        self._tries: dict[int, dict[int, tries.Row]] = {}
        self._tried: list[int] = []
        self._perhaps_gone: list[int] = []
        """Shared messages without recipients here."""
        self._records: dict[int, str] = {}
        self.recipients = 0

    def __bool__(self) -> bool:
        return bool(self._messages or self._done or self._deferred or self._records or self._taken)

    @property
    def size(self) -> int:
        """About how many rows it takes to have all of it in the database."""
        return self.recipients + len(self._done) + len(self._deferred)

    def holds(self, message_id: int) -> bool:
        """Whether a message of that id is here."""
        return message_id in self._messages

    def knows_one_of(self, recipients: Sequence[int], tables: Tables) -> bool:
        """Whether one of these was here before, and is not gone from journal and database."""
        for number in recipients:
            message = self._messages.get(number >> ids.RECIPIENT_BITS)
            if (message is not None and number in message.rows) or number in self._done:
                return True
        return tables.has_one_of(recipients)

    # What the journal has

    def accept(self, line: AcceptLine) -> None:
        """A message waits."""
        self._accept(line.message, line.parcel, line.text, line.content, line.rows, line.staged)
        if line.receipts:
            self._messages[line.message].receipts = line.receipts

    def _accept(
        self,
        number: int,
        parcel: int,
        text: str,
        content: bytes | None,
        rows: Iterable[RecipientRow],
        staged: "Iterable[Staged]",
    ) -> None:
        message = self._messages.get(number)
        if message is None:
            message = self._messages[number] = _Message(text, content)
        before = len(message.rows)
        for row in rows:
            message.rows[row.id] = row
        self.recipients += len(message.rows) - before
        message.staged += staged
        if parcel:
            self._shared.add(number)
            self._taken.append((parcel,))

    def settle(self, settle: "Settle") -> list[int]:
        """Recipients are done or deferred; ids of messages that are gone and were files."""
        return self._settle(settle.done, settle.deferred, settle.tries, settle.tried)

    def _settle(
        self,
        done: Sequence[int],
        deferred: "Sequence[Deferral]",
        tries_now: Sequence[tries.Row],
        tried: Sequence[int],
    ) -> list[int]:
        for row in deferred:
            self._defer(*row)
        for one in tries_now:
            self._tries.setdefault(one[0], {})[one[1]] = one
        for number in tried:
            self._tries.pop(number, None)
        self._tried += tried
        gone = []
        for number in done:
            message_id = number >> ids.RECIPIENT_BITS
            message = self._messages.get(message_id)
            is_here = message is not None and message.rows.pop(number, None) is not None
            if self._is_replay or not is_here:
                self._done.append(number)
                self._deferred.pop(number, None)
            if message is not None and is_here:
                self.recipients -= 1
                if not message.rows:
                    gone += self._drop(message_id, message)
        return gone

    def _defer(self, due: float, attempts: int, reply: str, number: int) -> None:
        message = self._messages.get(number >> ids.RECIPIENT_BITS)
        row = None if message is None else message.rows.get(number)
        if message is not None and row is not None:
            message.rows[number] = row._replace(due=due, attempts=attempts, last_reply=reply)
        if self._is_replay or row is None:
            self._deferred[number] = due, attempts, reply, number

    def _drop(self, number: int, message: _Message) -> list[int]:
        del self._messages[number]
        if message.content is not None:
            return []
        if number in self._shared:
            self._perhaps_gone.append(number)
            return []
        return [number]

    def record(self, row: int, records: bytes) -> None:
        """A row of the outbox, as JSON, waits for the accounting files."""
        self._records[row] = records.decode()

    def accounted(self, upto: int) -> None:
        """Outbox rows up to that one are in the files; the database has heard of it."""
        self._records = {row: text for row, text in self._records.items() if row > upto}

    # Into the database

    def write(self, tables: Tables) -> list[int]:
        """All of it, within a transaction; ids of messages that are gone and were files."""
        self._write_messages(tables, self._messages)
        conflict = self._conflict
        tables.insert(f"{conflict} INTO taken", 1, self._taken)
        tables.defer(list(self._deferred.values()))
        noted = [row for places in self._tries.values() for row in places.values()]
        if noted:
            tries.note(tables.connection, noted)
        if self._tried:
            tries.forget(tables.connection, self._tried)
        gone = tables.remove(self._done) if self._done else []
        if self._perhaps_gone:
            gone += tables.absent(self._perhaps_gone)
        if self._records:
            upto = counters.value(tables.connection, ACCOUNTED)
            rows = [(row, text) for row, text in self._records.items() if row > upto]
            tables.insert(f"{conflict} INTO record", 2, rows)
        return gone

    def write_some(self, tables: Tables, message_ids: Collection[int]) -> None:
        """These messages, within a transaction; `forget` them once it is committed."""
        self._write_messages(tables, [one for one in message_ids if one in self._messages])

    def forget(self, message_ids: Collection[int]) -> None:
        """These messages are in the database."""
        for number in message_ids:
            message = self._messages.pop(number, None)
            if message is not None:
                self.recipients -= len(message.rows)

    def drop_unfit(self, tables: Tables, unfit: tuple[type[Exception], ...]) -> "list[Unfit]":
        """Drop messages whose rows raise one of `unfit`; opens a transaction and undoes it."""
        found: list[Unfit] = []
        connection = tables.connection
        connection.execute("BEGIN IMMEDIATE")
        for number, message in self._messages.items():
            connection.execute("SAVEPOINT one")
            try:
                self._write_messages(tables, [number])
            except unfit as error:
                found.append(Unfit(number, message.text, message.content, error))
                connection.execute("ROLLBACK TO one")
                tables.forget_queues()
            connection.execute("RELEASE one")
        connection.execute("ROLLBACK")
        tables.forget_queues()
        self.forget([one.number for one in found])
        return found

    @property
    def _conflict(self) -> str:
        return OR_IGNORE if self._is_replay else OR_FAIL

    def _write_messages(self, tables: Tables, message_ids: Collection[int]) -> None:
        found = [(number, self._messages[number]) for number in message_ids]
        if not found:
            return
        is_shared = not self._shared.isdisjoint(message_ids)
        tables.add_messages(
            OR_IGNORE if is_shared else self._conflict,
            [(number, message.text, message.content) for number, message in found],
        )
        tables.add_recipients(
            self._conflict, [row for _, message in found for row in message.rows.values()]
        )
        staged = [row for _, one in found for row in one.staged if row[0] in one.rows]
        if staged:
            tables.insert(f"{self._conflict} INTO staged", 3, staged)
        receipts = [
            (*one.staged[0][1:], schema.records_text(list(one.receipts)))
            for _, one in found
            if one.receipts
        ]
        if receipts:
            tables.insert(f"{self._conflict} INTO receipt", 3, receipts)

    # From the journal

    @classmethod
    def of_frames(cls, frames: "Sequence[Frame]") -> "Pending":
        """What frames say, in their order. ValueError or TypeError if one is not of ours."""
        pending = cls(is_replay=True)
        for frame in frames:
            for kind, values, text, content in _lines(frame):
                if kind == "a":
                    number, parcel, _, rows, staged, *receipts = values
                    recipients = [RecipientRow(*row) for row in rows]
                    pending._accept(number, parcel, text, content, recipients, staged)
                    if receipts:
                        (pending._messages[number].receipts,) = receipts
                elif kind == "s":
                    pending._settle(*values)
                elif kind == "r":
                    row, records = values
                    pending._records[row] = schema.json_text(records)
                else:
                    raise ValueError(f"a line of kind {kind!r}")
        return pending

    @property
    def highest_message(self) -> int:
        """The highest id of a message it has heard of; 0 if of none."""
        settled = max(self._done, default=0) >> ids.RECIPIENT_BITS
        return max(settled, *self._messages, 0)


def is_whole(frame: "Frame") -> bool:
    """Whether the contents in a frame are those its text speaks of."""
    return all(
        content is None or crc32(content) == schema.content_sum(text)
        for _, _, text, content in _lines(frame)
    )


def _lines(frame: "Frame") -> Iterator[tuple[str, list[Any], str, bytes | None]]:
    """Kind, values, and of a message the envelope and content there is."""
    at = 0
    lines = iter(frame.text.split(b"\n"))
    for line in lines:
        kind, *values = json.loads(line)
        text, content = "", None
        if kind == "a":
            text = next(lines, b"").decode()
            size = values[2]
            if size is not None:
                content = frame.contents[at : at + size]
                at += size
        yield kind, values, text, content
