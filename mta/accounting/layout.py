"""From records to the lines of one accounting file (RFC 4180).

The columns are those of the first kind the file records, then what further kinds add, each
in its own order. Cells a kind does not have stay empty. Guide: record-fields.
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple, Protocol

from mta.model.record import Record
from mta.model.record_fields import KINDS

Value = str | float | int
Cell = Callable[[dict[str, Value]], Value]


class _Row(NamedTuple):
    """How the cells of one kind of record are found: most by a key, the others are made."""

    keys: tuple[str, ...]
    """Empty for a cell that is made or stays empty."""
    made: tuple[tuple[int, Cell], ...]
    """By their place in the row."""


class LayoutSettings(Protocol):
    """What of an accounting file decides its lines."""

    @property
    def records(self) -> tuple[str, ...]: ...
    @property
    def record_fields(self) -> tuple[tuple[str, tuple[str, ...]], ...]: ...
    @property
    def map_header_to_field(self) -> tuple[tuple[str, str, str], ...]: ...
    @property
    def iso_times(self) -> bool: ...
    @property
    def user_string(self) -> str: ...


class Layout:
    """The columns of one accounting file."""

    def __init__(self, settings: LayoutSettings) -> None:
        self._iso_times = settings.iso_times
        self._user_string = settings.user_string
        self._times: dict[int, str] = {}
        fields = dict(settings.record_fields)
        chosen = {
            kind: _chosen(kind, fields.get(kind, ("*",)))
            for kind in settings.records
            if kind in KINDS
        }
        columns = dict.fromkeys(name for names in chosen.values() for name in names)
        self.columns: tuple[str, ...] = tuple(columns)
        self._rows = {
            kind: self._row(kind, names, settings.map_header_to_field)
            for kind, names in chosen.items()
        }

    @property
    def header(self) -> bytes:
        """The first line of every file."""
        return self._lines([self.columns])

    def lines(self, records: Sequence[Record]) -> tuple[bytes, int]:
        """The lines of those records this file has, and how many they are."""
        rows = []
        for kind, values in records:
            found = self._rows.get(kind)
            if found is None:
                continue
            values["type"] = kind
            row = list(map(values.get, found.keys, repeat("")))
            for place, cell in found.made:
                row[place] = cell(values)
            rows.append(row)
        return self._lines(rows), len(rows)

    def _lines(self, rows: Sequence[Sequence[Value]]) -> bytes:
        if not rows:
            return b""
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return text.getvalue().encode("utf-8", "replace")

    def _row(self, kind: str, names: Sequence[str], mapped: Sequence[tuple[str, str, str]]) -> _Row:
        keys: list[str] = []
        made: list[tuple[int, Cell]] = []
        for place, name in enumerate(self.columns):
            cell = self._cell(kind, name, mapped) if name in names else ""
            keys.append(cell if isinstance(cell, str) else "")
            if not isinstance(cell, str):
                made.append((place, cell))
        return _Row(tuple(keys), tuple(made))

    def _cell(self, kind: str, name: str, mapped: Sequence[tuple[str, str, str]]) -> str | Cell:
        """The key of a cell, or what makes it."""
        headers = [
            f"header_{header.removeprefix('header_').lower()}"
            for of_kind, header, field in mapped
            if of_kind == kind and field.lower() == name.lower()
        ]
        plain = self._plain_cell(kind, name)
        if not headers:
            return plain

        def first(values: dict[str, Value]) -> Value:
            for header in headers:
                if header in values:
                    return values[header]
            return values.get(plain, "") if isinstance(plain, str) else plain(values)

        return first

    def _plain_cell(self, kind: str, name: str) -> str | Cell:
        field = next((field for field in KINDS[kind].fields if field.name == name), None)
        if field is not None and field.is_time:
            return lambda values: self._time(values.get(name))
        if name == "userString":
            return lambda _: self._user_string
        if name == "totalSecondsQueued":
            return _seconds_queued
        return name.lower() if name.lower().startswith("header_") else name

    def _time(self, value: str | float | None) -> str | int:
        if value is None:
            return ""
        second = int(value)
        if not self._iso_times:
            return second
        text = self._times.get(second)
        if text is None:
            if len(self._times) > 1000:
                self._times.clear()
            text = time.strftime("%Y-%m-%d %H:%M:%S%z", time.localtime(second))
            self._times[second] = text
        return text


def _chosen(kind: str, items: Sequence[str]) -> list[str]:
    """The columns of one kind: `type`, then what the items say, each once."""
    defaults = [field.name for field in KINDS[kind].fields if field.is_default]
    spelled = {field.name.lower(): field.name for field in KINDS[kind].fields}
    names: dict[str, None] = {"type": None}
    for item in items:
        if item == "*":
            names.update(dict.fromkeys(defaults))
        elif not item.startswith("!"):
            names[spelled.get(item.lower(), item)] = None
    for item in items:
        if item.startswith("!"):
            names.pop(spelled.get(item[1:].lower(), item[1:]), None)
    names.pop("type", None)
    return ["type", *names]


def _seconds_queued(values: dict[str, Value]) -> str | int:
    logged, queued = values.get("timeLogged"), values.get("timeQueued")
    if logged is None or queued is None:
        return ""
    return max(0, int(float(logged) - float(queued)))
