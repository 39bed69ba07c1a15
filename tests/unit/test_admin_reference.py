"""The committed page of commands is the one their declarations give."""

from pathlib import Path

from mta.admin import reference
from mta.admin.commands import COMMANDS
from mta.admin.local_commands import LOCAL_COMMANDS

ROOT = Path(__file__).parent.parent.parent


def test_the_committed_page_is_up_to_date():
    committed = (ROOT / "docs" / "reference" / reference.NAME).read_text("utf-8")
    assert committed == reference.page(), "run: make docs"


def test_every_command_is_on_the_page():
    page = reference.page()
    for command in (*COMMANDS, *LOCAL_COMMANDS):
        assert f"### {command.words}\n" in page or f"| `{command.words}` |" in page
