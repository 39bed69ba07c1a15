"""The reference page of all columns of accounting files.

`python -m mta.accounting.reference DIRECTORY` writes `accounting.md` there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mta.model.record_fields import KINDS

NAME: Final = "accounting.md"

_HEAD = """\
# Accounting files

This page is generated from the declarations in `mta/model/record_fields.py` by `make docs`;
do not edit it.

An accounting file is CSV (RFC 4180) with a header line. Each `<acct-file>` has the kinds of
record that `records` names, and of each kind the columns that `record-fields` names, in that
order. Columns marked *asked for* are there only if `record-fields` names them. A column that
a kind does not have stays empty in its rows.

The name of a file on disk has the date and a number before its suffix:
`acct.csv` is written as `acct-2026-01-31-0000.csv`. A row is written once, and after a crash
still once.

"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "| type | name in `records` | one for each |"
    yield "|---|---|---|"
    for kind in KINDS.values():
        names = ", ".join(f"`{name}`" for name in (kind.short, kind.long, *kind.aliases))
        yield f"| `{kind.short}` | {names} | {kind.doc} |"
    for kind in KINDS.values():
        yield ""
        yield f"## {kind.long} (`{kind.short}`)"
        yield ""
        yield "| column | what it is | |"
        yield "|---|---|---|"
        for one in kind.fields:
            asked = "" if one.is_default else "asked for"
            yield f"| `{one.name}` | {one.doc} | {asked} |"


def main() -> None:
    """Write the page."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_text(page())


if __name__ == "__main__":
    main()
