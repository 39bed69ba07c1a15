"""Writes docs/benchmarks.md from the files of results; it measures nothing.

A benchmark may have several, `NAME.json` and what other machines found in `NAME.LABEL.json`.

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
[howto/benchmarks.md](howto/benchmarks.md). Each ran on one machine, over loopback: sources, servers
and sinks share its processors. Believe the ratios, not the rates, and compare only what one machine
found: processors and disks differ, and the machines are shared with others.
"""


def read(directory: Path) -> dict[str, list[Report]]:
    """The results there are, by the name of the benchmark, the newest first."""
    found: dict[str, list[Report]] = {}
    for one in map(report.load, directory.glob("*.json")):
        found.setdefault(one.name, []).append(one)
    return {
        name: sorted(some, key=lambda one: one.taken, reverse=True) for name, some in found.items()
    }


def pages(found: dict[str, list[Report]], name: str) -> dict[str, str]:
    """The page of that name and the pictures beside it, by file name."""
    written: dict[str, str] = {}
    parts = [HEAD, *_versions(found)]
    for one in ORDER:
        parts += ["", f"## {one.replace('_', ' ').capitalize()}", ""]
        if one not in found:
            doc = import_module(f"benchmarks.{one}").__doc__ or ""
            parts += [doc.splitlines()[0], "", f"`python -m benchmarks.{one}`: not measured yet."]
            continue
        newest = found[one][0]
        parts += [newest.question, "", "```", newest.command, "```"]
        for number, each in enumerate(found[one]):
            picture = f"{Path(name).stem}-{one}{number or ''}.svg"
            parts += _results(each, picture, written)
    return {name: "\n".join(parts).rstrip() + "\n", **written}


def _versions(found: dict[str, list[Report]]) -> list[str]:
    """All programs that were measured."""
    versions = {one for some in found.values() for each in some for one in each.versions if one}
    return [f"- {one}" for one in sorted(versions)]


def _results(one: Report, picture: str, written: dict[str, str]) -> list[str]:
    machine = ", ".join(f"{what} {value}" for what, value in one.machine.items())
    petrel = next((each for each in one.versions if each.startswith("Petrel")), "")
    parts = ["", f"Taken {one.taken}, {petrel}; {machine}."]
    for table in one.tables:
        parts += ["", *markdown(table)]
    panels = _panels(one)
    if panels:
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
