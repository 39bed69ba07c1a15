"""House rules that no linter can say."""

import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LINES_MAX = 500
TABLES = ("mta/settings/",)
"""One class for a scope of the language: a table of declarations is read by looking things up."""
NAMES_REFUSED = {
    "util", "utils", "helper", "helpers", "manager", "handler", "handlers", "data", "info",
    "misc", "common", "stuff", "process",
}  # fmt: skip
UNSLEEPING = ("tests/unit/", "tests/conformance/", "tests/property/", "tests/scenario/")
OPENS_WITH_ITS_RULE = ("mta/", "benchmarks/", "tests/property/", "tests/fuzz/", "tests/scenario/")

# Put together so that this file does not name what it refuses.
REFUSED_TEXTS = {
    "a path of somebody's workplace": r"(?<![\w.-])/wo" + r"rk/(main|shared)\b",
    "the host of a package registry": r"\b(pypi\.o" + r"rg|pythonhosted\.o" + r"rg|registry\.npm"
    r"js\.org|deb\.deb" + r"ian\.org)\b",
    "how the text came to be": r"(?i)\b(cla" + r"ude|anthro" + r"pic|chat" + r"gpt|cop" + r"ilot|"
    r"language mod" + r"el)\b",
}
REFUSED_COMMENTS = {
    "an issue number": r"(?i)\bissues? +#?\d+\b|(?<![\w&/(\[])#\d+\b(?![.\w])",
    "a TODO": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
    "a working session": r"(?i)\b(this|last|next|another|previous|my|our) (working )?session\b(?!')"
    r"(?= (did|will|wrote|made|left|found|should))",
}


@cache
def tracked() -> tuple[str, ...]:
    """Files of the project, those not yet committed included; relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout")
    return tuple(sorted({p for p in listed.stdout.split("\0") if p and (ROOT / p).is_file()}))


def sources(*prefixes: str) -> list[str]:
    return [path for path in tracked() if path.endswith(".py") and path.startswith(prefixes or "")]


def texts() -> list[tuple[str, str]]:
    found = []
    for path in tracked():
        if path.startswith("tests/data/"):
            continue
        try:
            found.append((path, (ROOT / path).read_text()))
        except UnicodeDecodeError:
            continue
    return found


def comments(text: str) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(t.start[0], t.string[1:]) for t in tokens if t.type == tokenize.COMMENT]


def docstrings(text: str) -> list[tuple[int, str]]:
    nodes = ast.walk(ast.parse(text))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        (getattr(node, "lineno", 1), ast.get_docstring(node) or "")
        for node in nodes
        if isinstance(node, documented)
    ]


def test_a_module_has_at_most_500_lines():
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path in sources()}
    lengths = {path: n for path, n in lengths.items() if not path.startswith(TABLES)}
    assert {path: n for path, n in lengths.items() if n > LINES_MAX} == {}


def test_a_module_is_named_for_what_it_is():
    assert [p for p in sources("mta/", "benchmarks/") if Path(p).stem in NAMES_REFUSED] == []


def test_a_package_has_two_levels_at_most():
    """`mta/admin/web/` is the deepest: package, noun, part."""
    assert [path for path in sources("mta/") if path.count("/") > 3] == []


def test_a_module_opens_with_one_line_that_says_what_it_is():
    wrong = []
    for path in sources(*OPENS_WITH_ITS_RULE):
        text = (ROOT / path).read_text()
        first, _, rest = (ast.get_docstring(ast.parse(text)) or "").partition("\n")
        is_empty_package = path.endswith("__init__.py") and not text.strip()
        if not is_empty_package and (not first or (rest and not rest.startswith("\n"))):
            wrong.append(path)
    assert wrong == []


def test_the_names_of_test_files_are_unique():
    names = Counter(Path(path).name for path in sources("tests/") if "/test_" in path)
    assert [name for name, count in names.items() if count > 1] == []


def test_tests_are_no_packages():
    assert [path for path in sources("tests/") if path.endswith("__init__.py")] == []


def test_a_test_without_sockets_never_sleeps():
    sleeps = re.compile(r"\b(time|asyncio)\.sleep\((?!0\))")
    assert [p for p in sources(*UNSLEEPING) if sleeps.search((ROOT / p).read_text())] == []


@pytest.mark.parametrize("what", REFUSED_TEXTS)
def test_no_file_mentions(what):
    pattern = re.compile(REFUSED_TEXTS[what])
    found = [f"{path}: {m[0]}" for path, text in texts() for m in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("what", REFUSED_COMMENTS)
def test_no_comment_mentions(what):
    pattern = re.compile(REFUSED_COMMENTS[what])
    found = []
    for path in sources():
        text = (ROOT / path).read_text()
        for line, said in [*comments(text), *docstrings(text)]:
            found += [f"{path}:{line}: {match[0]}" for match in pattern.finditer(said)]
    assert found == []
