"""What a source makes of the header block of a message: instructions, fields removed and added."""

import re

import pytest

from mta.daemon.submission_rules import ACCT_VALUE_MAX, ENVID_MAX, SubmissionRules, accounted
from mta.smtp import header_block
from tests.texts import configured

HEAD = (
    b"X-Virtual-MTA: a\r\nX-Job: spring\r\nX-Envid: e1\r\nX-DKIM-Options: s=x\r\nX-Camp: autumn\r\n"
    b"Date: now\r\nMessage-ID: <1@x>\r\n\r\n"
)
PROCESSED = ("x-virtual-mta", "x-job", "x-envid", "x-dkim-options")


def rules(*lines, more=""):
    configuration = configured("<source any>\n" + "\n".join(lines) + f"\n</source>\n{more}")
    return SubmissionRules.of(configuration.source("192.0.2.1", "any"), configuration, frozenset())


def removed(given, head=HEAD):
    return given.remove_fields(header_block.find(head, given.wanted), head)


def found(given, head=HEAD):
    return header_block.find(head, given.wanted)


@pytest.mark.parametrize("name", PROCESSED)
def test_an_instruction_is_heard_and_not_sent_on(name):
    given = rules(f"process-{name} yes")
    assert removed(given) == (name,)
    assert removed(given, b"Subject: x\r\n\r\n") == ()
    assert removed(rules()) == ()


@pytest.mark.parametrize("name", sorted({*PROCESSED} - {"x-envid"}))
def test_an_instruction_is_sent_on_where_it_is_retained(name):
    assert removed(rules(f"process-{name} yes", f"retain-{name} yes")) == ()


def test_a_private_key_is_sent_on_only_where_somebody_says_so():
    head = b"X-DKIM-Key: secret\r\n\r\n"
    assert removed(rules(), head) == ("x-dkim-key",)
    assert removed(rules("process-x-dkim-key yes"), head) == ("x-dkim-key",)
    assert removed(rules("retain-x-dkim-key yes"), head) == ()


def test_what_is_not_processed_says_nothing():
    given = rules()
    assert given.x_virtual_mta(found(given)) is None
    assert (given.job_id(found(given), ""), given.env_id(found(given))) == ("", "")


@pytest.mark.parametrize(
    ("lines", "job_id"),
    [
        (["process-x-job yes"], "spring"),
        (["jobid-header X-Camp"], "autumn"),
        (["jobid-header x-camp", "process-x-job yes"], "spring"),
        (["jobid-header X-Job"], "spring"),
        (["jobid-header X-Camp", "jobid-prefix web-"], "web-autumn"),
        (["process-x-job yes", "jobid-prefix {auth}."], "joe.spring"),
        (["jobid-header X-None", "jobid-prefix web-"], ""),
    ],
)
def test_where_the_job_id_comes_from(lines, job_id):
    given = rules(*lines)
    assert given.job_id(found(given), "joe") == job_id


def test_accounting_has_so_much_of_a_field_at_most():
    """Each of 65,000 recipients has a row with it."""
    head = b"Subject: " + b"x" * 100_000 + b"\r\nX-Camp: a b\r\nTo: c\r\n\r\n"
    names = frozenset({b"subject", b"x-camp", b"cc"})
    assert accounted(header_block.find(head, names), names) == {
        "subject": "x" * ACCT_VALUE_MAX,
        "x-camp": "a b",
    }


def test_an_envid_that_no_peer_would_take_is_none():
    given = rules("process-x-envid yes")
    for length, taken in ((ENVID_MAX, True), (ENVID_MAX + 1, False)):
        assert bool(given.env_id(found(given, b"X-Envid: " + b"x" * length + b"\r\n"))) is taken
    assert given.env_id(found(given, "X-Envid: é\r\n".encode())) == ""


@pytest.mark.parametrize(
    ("lines", "head", "names", "later"),
    [
        ([], b"", [], False),
        (["add-date-header yes"], b"", ["Date"], False),
        (["add-date-header yes"], HEAD, [], False),
        (["add-date-header override"], HEAD, ["Date"], False),
        (["add-date-header yes", "date-header-time delivery"], b"", [], True),
        (["add-date-header yes", "date-header-time delivery"], HEAD, [], False),
        (["date-header-time delivery"], b"", [], False),
        (["add-message-id-header yes"], b"", ["Message-ID"], False),
        (["add-message-id-header yes"], HEAD, [], False),
        (["add-date-header yes", "remove-header date"], b"", [], False),
        (["add-message-id-header yes", "remove-header Message-Id"], b"", [], False),
    ],
)
def test_what_is_added_where_it_is_missing(lines, head, names, later):
    given = rules(*lines)
    added = given.added_fields(found(given, head), 64, 1e9, "h.example")
    assert re.findall(r"(?m)^(\S+): \S.*\r\n", added) == names
    assert given.adds_date_later(found(given, head)) is later


def test_a_date_that_is_overridden_is_not_sent_on():
    assert removed(rules("add-date-header override")) == ("date",)


SHOWN = "add-x-virtual-mta-header yes"
HEARD = "process-x-virtual-mta yes"


@pytest.mark.parametrize(
    ("lines", "head", "shown"),
    [
        ([], b"", False),
        ([SHOWN], b"", True),
        ([SHOWN], HEAD, False),
        ([SHOWN, HEARD], HEAD, True),
        ([SHOWN, HEARD, "retain-x-virtual-mta yes"], HEAD, False),
    ],
)
def test_the_virtual_mta_is_shown_where_no_field_does(lines, head, shown):
    given = rules(*lines)
    assert given.shows_vmta(found(given, head)) is shown


@pytest.mark.parametrize(
    ("lines", "names", "received"),
    [
        ([], (), True),
        (["remove-received-headers yes"], ("received",), True),
        (["add-received-header no"], (), False),
        (["remove-header Received,X-A"], ("received", "x-a"), False),
        (["remove-header X-A", 'remove-header ""'], (), True),
    ],
)
def test_which_fields_go(lines, names, received):
    given = rules(*lines)
    assert removed(given, b"") == names
    assert given.adds_received is received


def test_a_from_field_is_rewritten_by_the_list_of_the_source():
    more = "<rewrite-list w>\nfrom-domain a.example b.example\n</rewrite-list>\n"
    given = rules("rewrite-list w", more=more)
    head = b"From: x@A.example, y@c.example\r\n\r\n"
    assert given.from_domains(head) == {"a.example": "b.example"}
    assert rules().from_domains(head) == {}


SOURCES = """smtp-source-host 192.0.2.9 h.example
<virtual-mta a>
</virtual-mta>
<virtual-mta b>
smtp-source-host 192.0.2.1 b.example
</virtual-mta>
<virtual-mta c>
smtp-source-ip 192.0.2.2
smtp-source-host 198.51.100.0/24 c.example
</virtual-mta>
<virtual-mta d>
smtp-source-host 127.0.0.0/8 d.example
</virtual-mta>
"""


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("192.0.2.1", "b"),
        ("192.0.2.2", "c"),
        ("198.51.100.7", "c"),
        ("127.0.0.2", "d"),
        ("127.0.0.1", None),
        ("192.0.2.9", None),
        ("2001:db8::1", None),
    ],
)
def test_which_virtual_mta_sends_from_an_address(ip, name):
    vmta = configured(SOURCES).vmta_sending_from(ip)
    assert (vmta and vmta.name) == name


def test_a_virtual_mta_has_what_its_pool_says_of_header_fields():
    lists = "".join(f"<rewrite-list {n}>\nmail-from *@* x@*\n</rewrite-list>\n" for n in "uv")
    configuration = configured(
        "<virtual-mta a>\n</virtual-mta>\n"
        "<virtual-mta b>\ninclude-headers-from own\nrewrite-list u\n</virtual-mta>\n"
        "<virtual-mta-pool p>\nvirtual-mta a\nvirtual-mta b\ninclude-headers-from of-pool\n"
        f"rewrite-list v\n</virtual-mta-pool>\n{lists}"
    )
    a, b = configuration.vmta("a"), configuration.vmta("b")
    assert (a.include_headers_from, a.rewrite_list) == ("/etc/pmta/of-pool", "v")
    assert (b.include_headers_from, b.rewrite_list) == ("/etc/pmta/own", "u")
