"""Pages that are made from declarations are those of these declarations."""

from pathlib import Path

import pytest

from mta.accounting import reference as accounting
from mta.admin.files import DiskFiles
from mta.config import reference as config
from mta.config.load import load

ROOT = Path(__file__).parent.parent.parent
ANNOTATED = ROOT / "config" / "annotated.conf"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (ROOT / "docs" / "reference" / config.NAME, config.page),
        (ROOT / "docs" / "reference" / accounting.NAME, accounting.page),
        (ANNOTATED, config.annotated),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_committed_page_is_up_to_date(path, text):
    assert path.read_text("utf-8") == text(), "run: make docs"


def test_the_annotated_configuration_loads_without_a_problem():
    diagnostics = load(str(ANNOTATED), DiskFiles(), host_name="h.example").diagnostics
    assert [str(d) for d in diagnostics if d.severity != "note"] == []
