"""The shape of a file: lines, comments, quotes, sections, includes."""

from pathlib import Path

import pytest

from mta.config.comments import comment_start
from mta.model.queue_key import QueueKey
from tests.texts import configured, domain, loaded, only, said

DATA = Path(__file__).parent.parent / "data" / "config"
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
    ("line", "kept"),
    [
        ('password ab"c # it is "secret"', 'password ab"c '),
        ('password a"b#c"d', 'password a"b'),
        ('password "ab # c" # d', 'password "ab # c" '),
        ('password "abc # d', 'password "abc '),
        (r'password "a\" # b" # c', r'password "a\" # b" '),
        ('domain-key s,a.example,"/k #1.pem" # c', 'domain-key s,a.example,"/k #1.pem" '),
        ('reply /said "no/ mode=backoff # "x"', 'reply /said "no/ mode=backoff '),
        ('reply /said "a # b"/ mode=backoff', 'reply /said "a '),
        ('reply /say \\" "a/ skip-mx # "x"', 'reply /say \\" "a/ skip-mx '),
        ('header "X-A" /"/ virtual-mta=a # "x"', 'header "X-A" /"/ virtual-mta=a '),
        ('  /"5.1.1/ bad-mailbox # "x"', '  /"5.1.1/ bad-mailbox '),
        (
            'tls-certificate /etc/c.pem "pass # word" # x',
            'tls-certificate /etc/c.pem "pass # word" ',
        ),
        ('<acct-file "|/bin/x #1"> # x', '<acct-file "|/bin/x #1"> '),
    ],
)
def test_only_a_quote_that_begins_a_word_and_closes_protects_a_hash(line, kept):
    assert line[: comment_start(line)] == kept


def test_an_expression_with_a_quote_is_read_without_the_comment_behind_it():
    text = (
        "<domain *>\nsmtp-pattern-list l\n</domain>\n<smtp-pattern-list l>\n"
        'reply /said "spam/ mode=backoff  # "x"\n</smtp-pattern-list>\n'
    )
    (rule,) = configured(text).reply_rules("l")
    assert rule.text == 'reply /said "spam/ mode=backoff'


def test_a_hash_that_cuts_an_expression_is_pointed_at():
    text = '<bounce-category-patterns>\n/said "a # b"/ other\n</bounce-category-patterns>\n'
    found = only(text, "error")
    assert found.place.line == 2
    assert r"write \x23" in found.hint


def test_a_hash_in_a_quoted_value_of_several_lines_is_text():
    text = '<global>\nadd-header "X-A: one # 1\n two # 2"\n</global>\n'
    assert configured(text).root.add_header == ("X-A: one # 1 two # 2",)


@pytest.mark.parametrize("path", sorted(p for p in DATA.rglob("*") if p.is_file()), ids=str)
def test_real_files_have_their_comments_where_plain_quotes_would_have_them(path):
    for line in path.read_text(encoding="latin-1").splitlines():
        quoted = False
        for at, character in enumerate(line):
            quoted ^= character == '"'
            if character == "#" and not quoted:
                assert comment_start(line) == at
                break
        else:
            assert comment_start(line) == -1


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
    found = only(
        b'# gr\xfc\xdfe\n<global>\npostmaster "j\xf6 <p@a.example>"\n</global>\n', "warning"
    )
    assert "UTF-8" in found.message


def test_include_reads_another_file_in_its_place_and_places_name_it():
    main = "<domain *>\ninclude limits.conf\n</domain>\n"
    configuration = configured(main, limits_conf="max-smtp-out 7\n")
    assert configuration.domain(GMAIL).max_smtp_out == 7
    place = configuration.domain_places(GMAIL)["max-smtp-out"]
    assert str(place) == "/etc/pmta/limits.conf:1"


def test_the_name_of_an_included_file_may_have_escaped_quotes():
    text = 'include "a\\"b.conf"\n'
    found = loaded(text, **{'a"b_conf': "relay-domain a.example\n"}).configuration
    assert any(one.matches("a.example") for one in found.relay_domain)


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


@pytest.mark.parametrize("following", ["relay-domain b.example", "include b.conf"])
def test_a_list_that_ends_in_a_comma_takes_no_directive(following):
    text = f"domain-macro hot a.com,\n\n{following}\n<domain $hot>\nmax-smtp-out 7\n</domain>\n"
    beside = {"b_conf": "relay-domain b.example\n"}
    found = only(text, "warning", **beside)
    assert found.place.line == 1
    assert "ends in a comma" in found.message
    configuration = configured(text, **beside)
    assert configuration.domain(QueueKey("a.com", "{default}")).max_smtp_out == 7
    assert any(one.matches("b.example") for one in configuration.relay_domain)


def test_a_list_that_ends_in_a_comma_at_the_end_of_its_file_is_told():
    assert "ends in a comma" in only("domain-macro hot a.com,\n", "warning").message


def test_a_macro_without_a_list_takes_no_directive():
    assert only("domain-macro hot\nrelay-domain b.example\n", "error").place.line == 1


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
