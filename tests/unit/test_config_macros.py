"""`domain-macro`: one block for many domains."""

import pytest

from tests.texts import domain, only, said


def block(pattern, limit=7):
    return f"<domain {pattern}>\nmax-smtp-out {limit}\n</domain>\n"


@pytest.mark.parametrize(
    ("macros", "pattern", "names"),
    [
        ("domain-macro y yahoo.com,ymail.com\n", "$y", ["yahoo.com", "ymail.com"]),
        ("domain-macro y yahoo.com, ymail.com\n", "$Y", ["yahoo.com", "ymail.com"]),
        ("domain-macro tld com,co.uk\n", "aol.$tld", ["aol.com", "aol.co.uk"]),
        ("domain-macro a x,y\ndomain-macro b com,org\n", "$a.$b", ["x.com", "y.org"]),
        ("domain-macro b $a,c.org\ndomain-macro a a.org,b.org\n", "$b", ["a.org", "c.org"]),
        ("domain-macro y yahoo.com\n", "*.$y", ["a.yahoo.com"]),
        ("domain-macro\ty\tyahoo.com\n", "$y", ["yahoo.com"]),
        ("domain-macro y yahoo.com\n", "[*.]$y", ["yahoo.com", "a.yahoo.com"]),
    ],
)
@pytest.mark.parametrize("is_after", [False, True])
def test_each_spelling_gets_the_block(macros, pattern, names, is_after):
    text = block(pattern) + macros if is_after else macros + block(pattern)
    for name in names:
        assert domain(text, name).max_smtp_out == 7
    assert domain(text, "elsewhere.net").max_smtp_out != 7


def test_a_domain_written_out_beats_the_same_from_a_macro():
    macro = "domain-macro y yahoo.com,ymail.com\n"
    for text in (
        macro + block("$y", 3) + block("yahoo.com"),
        block("yahoo.com") + macro + block("$y", 3),
    ):
        assert domain(text, "yahoo.com").max_smtp_out == 7
        assert domain(text, "ymail.com").max_smtp_out == 3


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (block("$nobody"), 1, "$nobody is not defined; add a line"),
        ("domain-macro yahoo y.com\n" + block("$yaho"), 2, 'did you mean "$yahoo"'),
        ("domain-macro a $b\ndomain-macro b $a\n" + block("$a"), 3, "refer to one another"),
        ("domain-macro a\n" + block("b.org"), 1, "a name and a list"),
        ("domain-macro a! b\n", 1, "a name and a list"),
        ("domain-macro a b.org c.org\n", 1, "a comma is missing in 'b.org c.org'"),
    ],
)
def test_macros_that_cannot_be(text, line, words):
    found = only(text, "error")
    assert words in found.message
    assert found.place.line == line


def test_macros_in_macros_have_a_depth():
    chain = "".join(f"domain-macro m{n} $m{n + 1}\n" for n in range(330))
    text = f"{chain}domain-macro m330 a.com\n"
    found = only(text + block("$m0"), "error")
    assert "more than 50 deep: $m0 → $m1 → $m2 → …" in found.message
    assert found.place.line == 332
    assert domain(text + block("$m290"), "a.com").max_smtp_out == 7


def test_a_product_without_end_is_refused_at_once():
    items = ",".join(f"d{n}" for n in range(100))
    text = f"domain-macro a {items}\n" + block("$a.$a.$a.$a")
    assert "100000000 patterns" in only(text, "error").message


def test_a_macro_nobody_uses_and_one_given_twice_are_told():
    found = said("domain-macro a x.org\ndomain-macro A y.org\n")
    assert {(d.severity, d.place.line) for d in found} == {("warning", 2), ("note", 2)}


def test_a_macro_of_nothing_is_refused():
    assert "a name and a list" in only("domain-macro a ,\n", "error").message
