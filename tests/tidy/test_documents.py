"""What the documents point at exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    if path.exists()
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
QUOTED = re.compile(r"`([^`\n]+)`")
OURS = re.compile(r"(?:mta|tests|docs|config|benchmarks|\.ci)/[\w./-]+")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|[`$] ?|&& )make((?: +[a-z][a-z-]*(?![\w=]))+)", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def document(request) -> Path:
    return request.param


def test_links_lead_to_files(document):
    targets = [t for t in LINK.findall(document.read_text()) if not re.match(r"\w+:", t)]
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_named_files_exist(document):
    text = FENCED.sub("", document.read_text())
    named = {path for quoted in QUOTED.findall(text) for path in OURS.findall(quoted)}
    wanted = {path.rstrip("./") for path in named if "NNNN" not in path}
    assert [path for path in sorted(wanted) if not exists(path)] == []


def exists(path: str) -> bool:
    """Itself, or a module named without its suffix, or the begin of names (`test_seed_`)."""
    there = ROOT / path
    return there.exists() or any(there.parent.glob(there.name + "*"))


def test_make_commands_are_targets(document):
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    used = {word for words in MAKE.findall(document.read_text()) for word in words.split()}
    assert sorted(used - targets) == []
