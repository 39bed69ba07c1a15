"""Rows into the tables of a spool, many to a statement, and out of them.

Each step of SQLite gives up the interpreter lock, and taking it back from a busy event loop
is what a step costs most.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from mta import ids
from mta.spool import gathering

ROWS_MAX: Final = 32
"""Rows in one statement, a power of two.

Each number of rows needs a statement of its own, which stays prepared and takes up to 40 KB. So
only powers of two are used: with all numbers up to this one, the memory of a busy daemon grew by
1 MB until even the rarest of them had come.
"""
OR_FAIL: Final = "OR FAIL"
"""A statement of many rows that fails need not undo those before: the transaction is rolled
back as a whole. Otherwise SQLite keeps a copy of every page it is about to change, in a file."""
OR_IGNORE: Final = "OR IGNORE"


class RecipientRow(NamedTuple):
    """A recipient as the journal has it; the table has a number for the queue."""

    id: int
    domain: str
    vmta: str
    due: float
    size: int
    address: str
    pool: str
    orcpt: str
    notify: str
    attempts: int
    last_reply: str
    priority: int
    sum: int


MessageRow = tuple[int, str, bytes | None]
"""Id, stored envelope, content; None where that is a file."""


class Tables:
    """The tables of an open database, for one transaction after the other."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._statements: dict[tuple[str, int], str] = {}
        self._queues: dict[tuple[str, str], int] = {}
        self.forget_queues()

    def forget_queues(self) -> None:
        """What is known of the queues' numbers is read again: there was a roll back."""
        rows = self.connection.execute("SELECT id, domain, vmta FROM queue")
        self._queues = {(domain, vmta): number for number, domain, vmta in rows}

    def insert(self, into: str, width: int, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of so many values; `into` is "OR … INTO table"."""
        start, count = 0, ROWS_MAX
        while left := len(rows) - start:
            while count > left:
                count //= 2
            values = [value for row in rows[start : start + count] for value in row]
            self.connection.execute(self._insert_statement(into, width, count), values)
            start += count

    def _insert_statement(self, into: str, width: int, count: int) -> str:
        statement = self._statements.get((into, count))
        if statement is None:
            values = ",".join([f"({','.join('?' * width)})"] * count)
            statement = f"INSERT {into} VALUES {values}"  # noqa: S608 - constants
            self._statements[into, count] = statement
        return statement

    def add_messages(self, conflict: str, rows: Sequence[MessageRow]) -> None:
        """Messages; `conflict` says what becomes of one that is there."""
        self.insert(f"{conflict} INTO message", 3, rows)

    def add_recipients(self, conflict: str, rows: Sequence[RecipientRow]) -> None:
        """Recipients of messages that are there."""
        numbered = [(row.id, self._queue_number((row.domain, row.vmta)), *row[3:]) for row in rows]
        self.insert(f"{conflict} INTO recipient", 12, numbered)

    def defer(self, rows: Sequence[tuple[float, int, str, int]]) -> None:
        """Recipients by (due, attempts, last reply, id)."""
        self.connection.executemany(
            "UPDATE recipient SET due = ?, attempts = ?, last_reply = ? WHERE id = ?", rows
        )

    def remove(self, recipients: Sequence[int]) -> list[int]:
        """Recipients, and messages with their last; which of those have a file for content."""
        connection = self.connection
        connection.execute(
            "DELETE FROM recipient WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(recipients),),
        )
        messages = list({number >> ids.RECIPIENT_BITS for number in recipients})
        cursor = connection.execute(
            "DELETE FROM message WHERE id IN (SELECT value FROM json_each(?)) AND NOT EXISTS"
            " (SELECT 1 FROM recipient WHERE recipient.id"
            "  BETWEEN message.id << 16 AND (message.id << 16) + 65535)"
            " RETURNING id, content IS NULL",
            (json.dumps(messages),),
        )
        return [number for number, is_file in cursor.fetchall() if is_file]

    def has_one_of(self, recipients: Sequence[int]) -> bool:
        """Whether one of these recipients is there."""
        found = self.connection.execute(
            "SELECT 1 FROM recipient WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1",
            (json.dumps(recipients),),
        )
        return found.fetchone() is not None

    def absent(self, messages: Sequence[int]) -> list[int]:
        """Which of these messages are not there."""
        cursor = self.connection.execute(
            "SELECT value FROM json_each(?) WHERE value NOT IN (SELECT id FROM message)",
            (json.dumps(messages),),
        )
        return [number for (number,) in cursor.fetchall()]

    def _queue_number(self, key: tuple[str, str]) -> int:
        number = self._queues.get(key)
        if number is None:
            cursor = self.connection.execute(
                "INSERT INTO queue (id, domain, vmta) VALUES (?, ?, ?)"
                " ON CONFLICT (domain, vmta) DO UPDATE SET domain = domain RETURNING id",
                (gathering.NUMBER if key == gathering.GATHERING else None, *key),
            )
            number = self._queues[key] = cursor.fetchone()[0]
        return number
