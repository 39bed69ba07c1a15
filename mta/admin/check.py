"""`mta check` and `mta test config`: what a start would say, without starting.

`check` is about files, which may be meant for another host: what only this one lacks is
a warning. `test config` is about this host, where the same stops the start.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mta.admin.dns_check import check_dns
from mta.admin.files import DiskFiles, load_file
from mta.admin.protocol import Exit
from mta.admin.render import Format, render_nodes
from mta.admin.text import printable
from mta.admin.tls_check import check_tls
from mta.admin.tree import Node
from mta.config.hidden import without_secret
from mta.config.load import Diagnostic, check_host, with_lines
from mta.config.place import gathered
from mta.net.local_addresses import local_addresses
from mta.signing.check import check_signing

LINE_SHOWN = 100
"""Characters of a line that are shown, around what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found, for standard output, and how to end."""

    text: str
    exit: Exit


def check(
    files: Sequence[str],
    *,
    form: Format = "text",
    is_strict: bool = False,
    is_for_this_host: bool = False,
    asks_dns: bool = False,
) -> Checked:
    """Load each file by itself and tell everything found in it.

    JSON is a bare list; where it is for this host (a command of PowerMTA), the document of others.
    """
    found = {
        file: _diagnose(file, is_for_this_host=is_for_this_host, asks_dns=asks_dns)
        for file in files
    }
    bad = {"error", "warning"} if is_strict else {"error"}
    failed = {f for f, diagnostics in found.items() if any(d.severity in bad for d in diagnostics)}
    text = _to_text(found, failed)
    if form == "json" and not is_for_this_host:
        text = _to_json(found, failed)
    elif form != "text":
        text = render_nodes(_nodes(found, failed), form, text.rstrip("\n"), failed=bool(failed))
    return Checked(text, Exit.REFUSED if failed else Exit.DONE)


def _diagnose(file: str, *, is_for_this_host: bool, asks_dns: bool) -> list[Diagnostic]:
    loaded = load_file(file)
    if loaded.configuration is None:
        return list(loaded.diagnostics)
    of_host = check_host(loaded.configuration, local_addresses())
    if not is_for_this_host:
        of_host = tuple(replace(d, severity="warning") for d in of_host)
    of_dns = check_dns(loaded.configuration) if asks_dns else ()
    of_files = (*check_signing(loaded.configuration), *check_tls(loaded.configuration))
    found = [*loaded.diagnostics, *of_host, *of_files, *of_dns]
    return list(with_lines(found, DiskFiles()))


def _to_text(found: dict[str, list[Diagnostic]], failed: set[str]) -> str:
    lines = []
    for file, diagnostics in found.items():
        for diagnostic in gathered(diagnostics):
            lines.append(str(diagnostic))
            lines += _shown(diagnostic)
        counts = ", ".join(
            f"{number} {severity}{'' if number == 1 else 's'}"
            for severity in ("error", "warning", "note")
            if (number := sum(d.severity == severity for d in diagnostics))
        )
        verdict = "cannot be used" if file in failed else "can be used"
        lines.append(f"{file} {verdict}{f': {counts}' if counts else '.'}")
    return "".join(f"{printable(line)}\n" for line in lines)


def _shown(diagnostic: Diagnostic) -> list[str]:
    """The line as written, and below it a caret at the place."""
    line = without_secret(diagnostic.line.expandtabs(1).rstrip())
    if not line:
        return []
    before = len(line) - len(line.lstrip())
    at = diagnostic.place.column - 1
    start = max(before, at - LINE_SHOWN // 2)
    return [f"    {line[start : start + LINE_SHOWN]}", f"    {' ' * max(0, at - start)}^"]


def _nodes(found: dict[str, list[Diagnostic]], failed: set[str]) -> dict[str, Node]:
    files: list[Node] = []
    for file, diagnostics in found.items():
        shown: list[Node] = [
            {
                "severity": d.severity,
                "file": d.place.file,
                "line": d.place.line,
                "column": d.place.column,
                "message": d.message,
                "hint": d.hint or None,
            }
            for d in diagnostics
        ]
        files.append({"name": file, "usable": file not in failed, "diagnostic": shown})
    return {"file": files}


def _to_json(found: dict[str, list[Diagnostic]], failed: set[str]) -> str:
    documents = [
        {
            "file": file,
            "usable": file not in failed,
            "diagnostics": [
                {
                    "severity": d.severity,
                    "file": d.place.file,
                    "line": d.place.line,
                    "column": d.place.column,
                    "message": d.message,
                    "hint": d.hint,
                }
                for d in diagnostics
            ],
        }
        for file, diagnostics in found.items()
    ]
    return json.dumps(documents, ensure_ascii=False, indent=2) + "\n"
