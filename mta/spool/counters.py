"""The counters of a spool, by name: see `schema`."""

import sqlite3


def value(connection: sqlite3.Connection, name: str) -> int:
    """What a counter says; 0 if there is none."""
    row = connection.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else 0


def raise_to(connection: sqlite3.Connection, name: str, to: int) -> None:
    """Set a counter, but never back."""
    connection.execute(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET value = MAX(value, excluded.value)",
        (name, to),
    )


def put(connection: sqlite3.Connection, name: str, to: int) -> None:
    """Set a counter."""
    connection.execute("INSERT OR REPLACE INTO counter VALUES (?, ?)", (name, to))
