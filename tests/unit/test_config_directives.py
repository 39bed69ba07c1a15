"""Every directive of the reference is declared, where it may stand and as often."""

import csv
import re
from pathlib import Path

import pytest

from mta.config.sections import ALIASES, MISPRINTS, SECTIONS, all_directives
from mta.settings.directive import Status, directives

TABLE = Path(__file__).parent.parent / "data" / "config" / "directives.tsv"


def rows():
    """(name, scopes, whether it repeats) of each row of the reference."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            scopes = [re.sub(r"\(.*|only", "", one).strip() for one in row["scopes"].split(",")]
            yield row["name"], scopes, row["repeatable"].startswith("yes")


SECTION_ROWS = [row for row in rows() if row[0].startswith("<")]
DIRECTIVE_ROWS = [row for row in rows() if not row[0].startswith("<")]


def test_the_table_is_whole():
    assert (len(SECTION_ROWS), len(DIRECTIVE_ROWS)) == (28, 395)


@pytest.mark.parametrize(("name", "scopes", "repeats"), SECTION_ROWS)
def test_a_section_may_stand_where_the_reference_says(name, scopes, repeats):
    del repeats
    tag = name.strip("<>")
    assert set(scopes) <= set(SECTIONS[ALIASES.get(tag, tag)].parents)


@pytest.mark.parametrize(("name", "scopes", "repeats"), DIRECTIVE_ROWS)
def test_a_directive_is_declared_in_each_of_its_scopes(name, scopes, repeats):
    for scope in scopes:
        declared = directives(SECTIONS[scope].scope).get(MISPRINTS.get(name, name))
        assert declared is not None, scope
        assert declared.repeats == repeats, scope


@pytest.mark.parametrize("declared", all_directives(), ids=lambda one: f"{one.scope}-{one.name}")
def test_a_declaration_is_complete(declared):
    """A meaning, a reason where it does nothing, and a default that reads back as itself."""
    assert declared.doc.endswith((".", ")")), declared.doc
    assert declared.kind.syntax
    assert (declared.status is Status.NO_EFFECT) == bool(declared.reason)
    assert not declared.reason or len(declared.reason.split()) > 3
    for value in declared.default if declared.repeats else (declared.default,):
        text = declared.kind.print(value)
        if text:
            assert declared.kind.parse(text) == value
