"""Whatever a file holds, reading it ends with a configuration or with diagnostics."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.config.sections import SECTIONS, all_directives
from mta.settings.directive import directives
from tests.texts import loaded

DIRECTIVES = all_directives()
NAMES = sorted({one.name for one in DIRECTIVES})
VALUES = st.one_of(
    st.sampled_from(
        ["", "yes", "0", "7", "unlimited", "10m", "100/h", "1M", "/x/ y", '"a b"', '""', "$m", "*",
         "a.org", "0/0", "127.0.0.1", "127.0.0.2 b.org", "never", "a,b", "X-A: b", "/(/", "#", "{"]
    ),
    st.text(max_size=20).map(lambda text: re.sub(r"[\r\n]", " ", text)),
)  # fmt: skip
LINES = st.one_of(
    st.builds("{} {}".format, st.sampled_from(NAMES), VALUES),
    st.builds("<{} {}>".format, st.sampled_from(sorted(SECTIONS)), VALUES),
    st.builds("</{}>".format, st.sampled_from(sorted(SECTIONS))),
    st.builds("{} {} {{".format, st.sampled_from(sorted(SECTIONS)), VALUES),
    st.builds("domain-macro {} {}".format, st.sampled_from("mno"), VALUES),
    st.sampled_from(
        ["}", "include config", "include *", "\0", "\ufeff", '"', "<", ">", "</>", "<>"]
    ),
)


def check(result):
    """Either there are errors, or there is a configuration; and each is at a line there is."""
    errors = [d for d in result.diagnostics if d.severity == "error"]
    assert (result.configuration is None) == bool(errors)
    for one in result.diagnostics:
        assert one.message
        assert "\n" not in str(one)


@given(st.binary(max_size=300))
def test_any_octets(octets):
    check(loaded(octets))


@given(st.lists(LINES, max_size=25), st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_lines_of_the_language(lines, end):
    check(loaded(end.join(lines)))


@settings(max_examples=30)
@given(st.data())
def test_whatever_a_kind_reads_it_prints_so_that_it_reads_the_same(data):
    for scope in {rule.scope for rule in SECTIONS.values()}:
        for one in directives(scope).values():
            text = data.draw(VALUES)
            try:
                value = one.kind.parse(text)
            except ValueError:
                continue
            printed = one.kind.print(value)
            assert one.kind.parse(printed) == value, (one.name, text, printed)
