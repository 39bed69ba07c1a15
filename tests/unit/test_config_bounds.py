"""No file, however large or twisted, takes for ever: each thing that multiplies has a bound."""

import pytest

from mta.admin import files
from mta.config import grammar, macros, place
from mta.config.place import Diagnostics
from tests.texts import configured, only, said


def test_files_that_include_the_next_many_times_are_given_up_with_one_error(monkeypatch):
    monkeypatch.setattr(grammar, "FILES_MAX", 100)
    included = {f"f{n}_conf": f"include f{n + 1}.conf\n" * 10 for n in range(12)}
    found = only("include f0.conf\n", "error", **included, f12_conf="")
    assert "at most 100 files in all" in found.message


def test_all_files_together_are_no_larger_than_one_may_be(monkeypatch):
    monkeypatch.setattr(grammar, "OCTETS_MAX", 1 << 20)
    found = only("include a.conf\n" * 20, "error", a_conf="# " + "x" * 90_000 + "\n")
    assert "at most 1 MiB in all" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "domain-macro b a.com,b.com\n" + "<domain $b>\n</domain>\n" * 10,
        "domain-macro b a.com,b.com\ndomain-macro a "
        + "$b," * 10
        + "c.com\n<domain $a>\n</domain>\n",
    ],
)
def test_macros_expand_to_so_many_patterns_in_all(monkeypatch, text):
    monkeypatch.setattr(macros, "TOTAL_MAX", 15)
    found = said(text, "error")
    assert found
    assert all("more than 15 patterns in all" in one.message for one in found)


def test_slips_by_the_thousand_are_told_without_a_guess_for_each(monkeypatch):
    monkeypatch.setattr(place, "COMPARED_MAX", 3000)
    found = said("max-smpt-out 1\nhost-nam a\n" + "host-nane a\n" * 50, "error")
    assert len(found) == 52
    assert found[1].hint == 'did you mean "host-name"?'
    assert found[-1].hint == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("</domain {}x", "not the end of a section"),
        ("<domain a{}b>", "one pattern"),
        ("domain a{}b{{", "one pattern"),
    ],
)
def test_a_line_of_blanks_is_read_at_once(text, words):
    found = said(text.format(" " * 90_000) + "\n", "error")
    assert any(words in one.message for one in found)


def test_of_a_file_without_end_no_more_is_read_than_is_wanted(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "OCTETS_MAX", 5)
    path = tmp_path / "config"
    path.write_bytes(b"x" * 100)
    assert len(files.DiskFiles().read(str(path))) == 6


def test_a_word_as_long_as_a_line_is_not_compared():
    assert Diagnostics().nearest("x" * 5000, ["x" * 4999], 0.7) == ""


def test_lines_of_one_directive_are_kept_in_their_order():
    text = "".join(f"relay-domain d{n}.example\n" for n in range(5))
    names = [pattern.text for pattern in configured(text).relay_domain]
    assert names == [*(f"d{n}.example" for n in range(5)), "h.example"]


def test_a_file_in_utf_16_is_called_by_its_name():
    found = only("host-name a.example\n".encode("utf-16"), "error")
    assert (found.message, found.hint) == ("the file is UTF-16", "save it as UTF-8")
