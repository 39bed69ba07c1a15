"""The reference page of all commands, written from their declarations.

`python -m mta.admin.reference DIRECTORY` writes `commands.md` there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mta.admin.command import AdminCommand, Parameter
from mta.admin.commands import COMMANDS
from mta.admin.local_commands import LOCAL_COMMANDS
from mta.admin.protocol import EXIT_MEANINGS
from mta.admin.render import FORMATS

NAME: Final = "commands.md"
_FORM_NAMES: Final = {"text": "text", "dom": "dom", "xml": "XML", "json": "JSON"}

_HEAD = """\
# Commands

This page is generated from the declarations in `mta/admin/commands.py` and
`mta/admin/local_commands.py` by `make docs`; do not edit it.

`mta` and `pmta` are one program:

    mta [--config FILE] [--dom | --xml | --json] COMMAND

Words and options may be shortened while they stay unique (`mta sh topq --err`). The options
above may stand before or after the command. `--config` names the configuration of the
daemon meant, by default `/etc/pmta/config`; the daemon listens for commands at `control`
in its first spool directory, where only its user and root may connect.

A queue is written `domain/vmta`. Where several are allowed, `*` is any run of characters
and `?` any one: `gmail.com/*`, `*/vmta1`, `*/*` (quote it for the shell). Times are
`90s`, `2h15m`, `4d12h`.

`--dom` prints a line `path="value"` per value, `--xml` one line `<rsp>…</rsp>`, `--json`
an object with `data`, `status` and `message`; the names are those of PowerMTA where it
has them. A command that has only text refuses the others.

"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| exit status | meaning |"
    yield "|---|---|"
    yield from (f"| {code:d} | {meaning} |" for code, meaning in EXIT_MEANINGS.items())
    available = [command for command in COMMANDS if not command.unavailable]
    for title, commands in (
        ("On this machine, without a daemon", LOCAL_COMMANDS),
        ("Asking the daemon", [c for c in available if not c.changes]),
        ("Telling the daemon", [c for c in available if c.changes]),
    ):
        yield ""
        yield f"## {title}"
        for command in commands:
            yield from _command(command)
    yield ""
    yield "## Not available"
    yield ""
    yield "Commands of PowerMTA that are refused, with what to do instead."
    yield ""
    yield "| command | why, and what instead |"
    yield "|---|---|"
    yield from (f"| `{c.words}` | {_cell(c.unavailable)} |" for c in COMMANDS if c.unavailable)


def _command(command: AdminCommand) -> Iterator[str]:
    yield ""
    yield f"### {command.words}"
    yield ""
    yield f"    mta {command.usage}"
    yield ""
    yield f"{command.help[0].upper()}{command.help[1:]}."
    if command.aliases:
        yield f"Also: {', '.join(f'`{words}`' for words in command.aliases)}."
    if command.parameters:
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield from map(_parameter, command.parameters)
    if command.forms != FORMATS and not (command.local and command.forms == ("text",)):
        yield ""
        yield f"It answers as {' and '.join(_FORM_NAMES[form] for form in command.forms)} only."
    if command.example:
        yield ""
        yield f"Example: `mta {command.example}`"


def _parameter(parameter: Parameter[object]) -> str:
    spelling = parameter.spelling if parameter.is_option else parameter.metavar
    also = f"; also `--{parameter.also}`" if parameter.also else ""
    return f"| `{_in_code(spelling)}` | {_cell(parameter.help + also)} |"


def _cell(text: str) -> str:
    """Text in a table; what it quotes as code stays as it is."""
    parts = text.split("`")
    for plain in range(0, len(parts), 2):
        parts[plain] = parts[plain].replace("*", "\\*").replace("<", "\\<")
    return _in_code("`".join(parts))


def _in_code(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_text(page(), "utf-8")
