"""The shape of a file: lines, comments, quotes, sections, includes."""

import pytest

from mta.model.queue_key import QueueKey
from tests.texts import configured, domain, only, said

GMAIL = QueueKey("gmail.com", "{default}")


@pytest.mark.parametrize(
    "text",
    [
        "<domain gmail.com>\nmax-smtp-out 7\n</domain>\n",
        "<domain gmail.com>\r\nmax-smtp-out 7\r\n</domain>\r\n",
        "<domain gmail.com>\rmax-smtp-out 7\r</domain>",
        "\ufeff<domain gmail.com>\nmax-smtp-out 7\r\n</domain>",
        "<domain gmail.com>   # a comment\n\t  max-smtp-out\t7   # and another\n \n</domain>",
        "<DOMAIN Gmail.Com>\nMAX-SMTP-OUT 7\n</Domain>",
        '<domain "gmail.com">\nmax-smtp-out 7\n</domain>',
        "< domain gmail.com >\nmax-smtp-out 7\n</ domain >",
        "<domain gmail.com>\nmax-smtp-out 7\n</domain gmail.com>",
        "domain gmail.com {\nmax-smtp-out 7\n}",
        "Domain gmail.com{\nmax-smtp-out 7\n}",
        "domain gmail.com {\nmax-smtp-out 3\n}\n<domain gmail.com>\nmax-smtp-out 7\n</domain>",
    ],
)
def test_spellings_of_one_section(text):
    assert domain(text, "gmail.com").max_smtp_out == 7


@pytest.mark.parametrize("header", ["virtual-mta", "define-virtual-mta"])
def test_both_spellings_of_a_vmta(header):
    text = f"<{header} a>\ndomain gmail.com {{\nmax-smtp-out 7\n}}\n</{header}>\n"
    assert domain(text, "gmail.com/a").max_smtp_out == 7
    assert domain(text, "gmail.com").max_smtp_out != 7


def test_the_same_vmta_in_both_spellings_is_one():
    configuration = configured(
        "<define-virtual-mta a>\nsmtp-source-ip 127.0.0.2\n</define-virtual-mta>\n"
        "<virtual-mta A>\nmax-smtp-out 5\n</virtual-mta>\n"
    )
    vmta = configuration.vmta("a")
    assert vmta is not None
    assert (vmta.max_smtp_out, vmta.smtp_source_host) == (5, (("127.0.0.2", "h.example"),))


def test_a_hash_in_quotes_is_text_and_elsewhere_a_comment():
    configuration = configured('<global>\nadd-header "X-A: 1 # 2" # three\n</global>\n')
    assert configuration.root.add_header == ("X-A: 1 # 2",)


def test_an_escaped_quote_does_not_end_a_quoted_value():
    configuration = configured('<global>\nadd-header "X-A: \\"b\\" # c"\n</global>\n')
    assert configuration.root.add_header == ('X-A: "b" # c',)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("<smtp-user a>\npassword #secret\n</smtp-user>\n", 10),
        ("\nhttp-access #192.0.2.1 admin\n", 13),
        ("<domain *>\nauth-password ###\n</domain>\n", 15),
        ("\ndomain-key # s,a.example,/k.pem\n", 12),
    ],
)
def test_a_comment_that_eats_a_value_is_pointed_at(text, column):
    found = only(text, "error")
    assert (found.place.line, found.place.column) == (2, column)
    assert "argument missing" in found.message
    assert "the comment takes what follows" in found.hint


def test_a_value_that_is_missing_without_a_comment_is_no_comments_fault():
    assert "comment" not in only("http-mgmt-port\n", "error").hint


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("<domain *>\nmax-smtp-out 1\n", 1, "not closed"),
        ("domain * {\nmax-smtp-out 1\n", 1, "not closed"),
        ("<virtual-mta a>\n<domain *>\n</virtual-mta>\n", 2, "not closed before </virtual-mta>"),
        ("</domain>\n", 1, "closes nothing"),
        ("}\n", 1, "closes nothing"),
        ("<domain gmail.com\nmax-smtp-out 1\n", 1, "not a section"),
        ("<domain * {\n", 1, "not a section"),
        ("spool\n", 1, "argument missing"),
        ("spool /s\0\n", 1, "NUL"),
        ("spool " + "x" * 200_000 + "\n", 1, "200006 characters"),
    ],
)
def test_damage_is_an_error_at_its_line(text, line, words):
    found = said(text, "error")
    assert words in found[0].message
    assert found[0].place.line == line


def test_after_damage_reading_goes_on():
    text = "<domain *>\n\0\nmax-smtp-out x\n</domain>\n}\nno-such 1\n"
    assert [d.place.line for d in said(text, "error")] == [2, 3, 5, 6]


def test_octets_that_are_no_utf8_are_latin1_with_a_warning():
    found = only(b"# gr\xfc\xdfe\n<global>\nadd-header X-A:\xe4\n</global>\n", "warning")
    assert "UTF-8" in found.message


def test_include_reads_another_file_in_its_place_and_places_name_it():
    main = "<domain *>\ninclude limits.conf\n</domain>\n"
    configuration = configured(main, limits_conf="max-smtp-out 7\n")
    assert configuration.domain(GMAIL).max_smtp_out == 7
    place = configuration.domain_places(GMAIL)["max-smtp-out"]
    assert str(place) == "/etc/pmta/limits.conf:1"


def test_include_with_wildcards_reads_in_order_and_none_is_a_note():
    main = "<domain *>\ninclude *.conf\n</domain>\n"
    configuration = configured(main, b_conf="max-smtp-out 2\n", a_conf="max-smtp-out 1\n")
    assert configuration.domain(GMAIL).max_smtp_out == 2
    assert "no file matches" in only(main, "note").message


def test_a_section_cannot_begin_in_one_file_and_end_in_another():
    found = said("include a.conf\n</domain>\n", "error", a_conf="<domain *>\n")
    assert [(d.place.file, d.place.line) for d in found] == [
        ("/etc/pmta/a.conf", 1),
        ("/etc/pmta/config", 2),
    ]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, "cannot read /etc/pmta/a.conf: No such file"),
        ({"a_conf": "include config\n"}, "include one another"),
        ({"a_conf": "include a.conf\n"}, "include one another"),
    ],
)
def test_includes_that_cannot_be(others, words):
    assert words in only("include a.conf\n", "error", **others).message


def test_sections_without_end_are_no_stack_overflow():
    assert any("too deep" in d.message for d in said("<domain *>\n" * 5000, "error"))


def test_a_list_that_ends_in_a_comma_goes_on():
    macro = "domain-macro big gmail.com,\n yahoo.com,\n aol.com\n"
    text = macro + "<domain $big>\nmax-smtp-out 7\n</domain>\n"
    for name in ("gmail.com", "yahoo.com", "aol.com"):
        assert domain(text, name).max_smtp_out == 7


def test_a_macro_may_have_its_list_on_the_next_line():
    text = "domain-macro big\ngmail.com,yahoo.com\n\n<domain $big>\nmax-smtp-out 7\n</domain>\n"
    assert domain(text, "yahoo.com").max_smtp_out == 7


def test_a_quoted_value_may_go_on_to_its_closing_quote():
    text = '<global>\nadd-header "X-A: one\n   two"\nadd-header "X-B: \\"b\\""\n</global>\n'
    assert configured(text).root.add_header == ("X-A: one two", 'X-B: "b"')


def test_a_quote_that_never_closes_takes_no_other_lines():
    text = '<global>\nadd-header "X-A: one\n</global>\npostmaster "p@example.com"\n'
    assert configured(text).root.postmaster == ("p@example.com",)


def test_a_section_on_one_line_is_one_error_and_nothing_after_it_is_lost():
    text = (
        "<virtual-mta a> host-name a.org smtp-source-ip 127.0.0.2 </virtual-mta>\n"
        "<domain *>\nmax-smtp-out x\n</domain>\n"
    )
    first, second = said(text, "error")
    assert "there is more after <virtual-mta a>" in first.message
    assert (first.place.line, first.place.column) == (1, 16)
    assert second.place.line == 3
