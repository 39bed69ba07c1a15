"""Writes docs/benchmarks.md from the files of results; it measures nothing.

python -m benchmarks.page [--results benchmarks/results] [--page docs/benchmarks.md]
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from benchmarks import plot, report
from benchmarks.machine import ROOT
from benchmarks.report import RESULTS, Report, Table

PAGE: Final = ROOT / "docs" / "benchmarks.md"
ORDER: Final = (
    "throughput", "matrix", "dkim", "workers", "latency", "connections", "scale", "soak",
    "config_scale", "scheduler",
)  # fmt: skip
HEAD: Final = """# Benchmarks

This page is written by `python -m benchmarks.page` from `benchmarks/results/`: change it there.
`make bench` measures everything anew; how, and how long each takes, is in
[howto/benchmarks.md](howto/benchmarks.md). Everything ran on one machine, over loopback: sources,
servers and sinks share its processors. Believe the ratios, not the rates.
"""


def read(directory: Path) -> dict[str, Report]:
    """The results there are, by the name of the benchmark."""
    return {path.stem: report.load(path) for path in sorted(directory.glob("*.json"))}


def pages(found: dict[str, Report], name: str) -> dict[str, str]:
    """The page of that name and the pictures beside it, by file name."""
    written: dict[str, str] = {}
    parts = [HEAD, *_machine(found)]
    for one in ORDER:
        parts += ["", f"## {one.replace('_', ' ').capitalize()}", ""]
        if one in found:
            parts += _section(found[one], written, Path(name).stem)
        else:
            doc = import_module(f"benchmarks.{one}").__doc__ or ""
            parts += [doc.splitlines()[0], "", f"`python -m benchmarks.{one}`: not measured yet."]
    return {name: "\n".join(parts).rstrip() + "\n", **written}


def _machine(found: dict[str, Report]) -> list[str]:
    """What the results have in common; the disk differs a little from one to the next."""
    if not found:
        return []
    newest = max(found.values(), key=lambda one: one.taken)
    rows = [f"| {what} | {value} |" for what, value in newest.machine.items()]
    versions = sorted({one for each in found.values() for one in each.versions if one})
    return ["| machine | |", "|---|---|", *rows, "", *(f"- {one}" for one in versions)]


def _section(one: Report, written: dict[str, str], stem: str) -> list[str]:
    parts = [one.question, "", "```", one.command, "```", "", f"Taken {one.taken}."]
    for table in one.tables:
        parts += ["", *markdown(table)]
    panels = _panels(one)
    if panels:
        picture = f"{stem}-{one.name}.svg"
        written[picture] = plot.svg(one.question, panels)
        parts += ["", f"![{one.question}]({picture})"]
    return parts


def _panels(one: Report) -> list[plot.Panel]:
    """A series whose name ends in "seconds" is the time of those that follow it."""
    panels = []
    seconds: list[float] = []
    for name, values in one.series.items():
        if name.endswith("seconds"):
            seconds = values
        else:
            panels.append(plot.Panel(name, seconds, values))
    return panels


def markdown(table: Table) -> list[str]:
    """The table under its title, its notes behind it."""
    heads, *rows = ([_escaped(text) for text in row] for row in table.texts())
    rule = ["---", *["---:"] * (len(heads) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]
    notes = [line for note in table.notes for line in ("", _escaped(note))]
    return [f"**{_escaped(table.title)}**", "", *lines, *notes]


def _escaped(text: str) -> str:
    for special in ("|", "<", "*"):
        text = text.replace(special, f"\\{special}")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    for name, text in pages(read(given.results), given.page.name).items():
        (given.page.parent / name).write_text(text)
        print(given.page.parent / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
