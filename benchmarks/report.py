"""What a benchmark finds: tables on the terminal now, and a file of results for the page.

A table holds numbers; how each column is written stands beside it, so that the page needs no
run to be laid out anew.
"""

import argparse
import datetime as dt
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import machine

RESULTS: Final = machine.ROOT / "benchmarks" / "results"
Cell = str | float | int | None


@dataclass(frozen=True)
class Column:
    """A heading, and the format of its numbers."""

    name: str
    form: str = ""

    def text(self, cell: Cell) -> str:
        if cell is None:
            return "-"
        return cell if isinstance(cell, str) else f"{cell:{self.form}}"


@dataclass
class Table:
    """Rows of cells, the first of which names the row; and notes that stand under it."""

    title: str
    columns: list[Column]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell) -> None:
        assert len(cells) == len(self.columns)
        self.rows.append(list(cells))

    def texts(self) -> list[list[str]]:
        """Headings and rows as they are read."""
        heads = [column.name for column in self.columns]
        rows = [
            [column.text(cell) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]
        return [heads, *rows]

    def plain(self) -> str:
        """For a terminal: the first column to the left, the others to the right."""
        texts = self.texts()
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = [
            "  ".join(
                text.rjust(width) if number else text.ljust(width)
                for number, (text, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in texts
        ]
        return "\n".join([self.title, *(f"  {line}" for line in [*lines, *self.notes])])


def bar(value: float, bound: float, unit: str = "", *, at_least: bool = False) -> str:
    """A bar and whether it is met: "< 10 ms: met"."""
    met = value >= bound if at_least else value < bound
    sign = ">=" if at_least else "<"
    return f"{sign} {bound:g}{' ' * bool(unit)}{unit}: {'met' if met else 'MISSED'}"


@dataclass
class Report:
    """What one benchmark found in one run, with what is needed to do it again."""

    name: str
    question: str
    command: str
    taken: str
    machine: dict[str, str]
    versions: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    """What is plotted: a list of numbers for each name, the first that of the times."""

    def show(self, table: Table) -> None:
        """Print a table that is complete, and keep it."""
        self.tables.append(table)
        print(f"\n{table.plain()}", flush=True)

    def save(self, directory: Path = RESULTS) -> Path:
        """Write the file of results; what was there before is replaced."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path


def begin(name: str, doc: str, arguments: Sequence[str]) -> Report:
    """An empty report, the machine described."""
    words = ["python", "-m", f"benchmarks.{name}", *arguments]
    taken = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Report(name, doc.splitlines()[0], shlex.join(words), taken, machine.facts())


def load(path: Path) -> Report:
    """A file of results."""
    found = json.loads(path.read_text())
    tables = [
        Table(
            one["title"], [Column(**column) for column in one["columns"]], one["rows"], one["notes"]
        )
        for one in found.pop("tables")
    ]
    return Report(tables=tables, **found)


def parser(doc: str) -> argparse.ArgumentParser:
    """With what all benchmarks understand."""
    one = argparse.ArgumentParser(
        description=doc.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    one.add_argument("--quick", action="store_true", help="a fraction of the messages, one round")
    one.add_argument(
        "--results", type=Path, metavar="DIRECTORY", help="keep the results there for the page"
    )
    return one


def end(report: Report, directory: Path | None) -> int:
    """Keep the results if that is wanted; the exit status."""
    if directory is not None:
        print(f"\nresults: {report.save(directory)}", file=sys.stderr)
    return 0
