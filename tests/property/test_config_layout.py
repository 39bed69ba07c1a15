"""Laying a configuration out changes nothing it means, and a second time changes nothing."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mta.config.grammar import Reader, Section
from mta.config.layout import laid_out
from mta.config.place import Diagnostics
from tests.property.test_config_any_bytes import LINES
from tests.texts import MAIN, Texts

FILES = sorted(
    path
    for path in (Path(__file__).parent.parent / "data" / "config").rglob("*")
    if path.suffix in (".conf", ".txt")
)


def tree(text):
    """What the grammar reads, without places."""

    def plain(node):
        if isinstance(node, Section):
            return (node.name, node.argument, [plain(one) for one in node.body])
        return (node.name, node.value)

    return plain(Reader(Texts({MAIN: text}), Diagnostics()).read(MAIN))


def check(text):
    once = laid_out(text)
    assert tree(once) == tree(text)
    assert laid_out(once) == once


@given(st.lists(LINES, max_size=20), st.sampled_from(["\n", "\r\n", "\r"]))
@example(["domain-macro a b,", " # c", "d,", "<domain x>"], "\n")
@example(["domain-macro a b,", "SPOOL  /s"], "\n")
@example(['command "a', 'b"', "spool /s"], "\n")
@example(["<virtual-mta a> host-name b </virtual-mta>", "}"], "\n")
def test_any_lines(lines, end):
    check(end.join(lines))


@given(st.text(max_size=200))
def test_any_text(text):
    check(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_real_files(path):
    check(path.read_bytes().decode("utf-8", "replace"))


def test_comments_stay_and_lines_are_as_documented():
    text = (
        "\ufeff# head\r\n\r\n\r\nSPOOL   /s# here\r\n<Virtual-MTA  a >  # a vmta\r\n"
        "# within\r\n\tDOMAIN  gmail.com{\r\nmax-smtp-out\t7\r\n}\r\n</virtual-mta>\r\n\r\n"
        "domain-macro m a.org,\r\nb.org"
    )
    assert laid_out(text) == (
        "# head\n\nspool /s  # here\n<virtual-mta a>  # a vmta\n    # within\n"
        "    domain gmail.com {\n        max-smtp-out 7\n    }\n</virtual-mta>\n\n"
        "domain-macro m a.org,\n    b.org\n"
    )
