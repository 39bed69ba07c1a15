"""What is wrong is said where it is wrong, with what to do; all of it in one run."""

import pytest

from mta.config.load import check_host
from mta.config.place import gathered
from tests.texts import configured, loaded, only, said

VMTA = "<virtual-mta mailer1>\n{}\n</virtual-mta>\n"
USED = "<domain *>\nsmtp-pattern-list x\n</domain>\n"
OWN = frozenset({"192.0.2.1", "2001:db8::1"})


@pytest.mark.parametrize(
    ("text", "place", "words", "hint"),
    [
        ("max-smtp-ou 3\n", (1, 1), 'no directive "max-smtp-ou"', "total-max-smtp-out"),
        ("<domain *>\n max-smtp-ou 3\n</domain>\n", (2, 2), "<domain> has no", "max-smtp-out"),
        ("max-smtp-out 3\n", (1, 1), "the top level has no", "<domain>"),
        ("<domain *>\nspool /s\n</domain>\n", (2, 1), "<domain> has no", "the top level"),
        ("<address-list x>\nlist /f\n</address-list>\n", (2, 1), "no directive", "address-file"),
        ("<domian *>\n</domian>\n", (1, 1), "no section <domian>", "<domain>"),
        ("<source 0/0>\n<domain *>\n</domain>\n</source>\n", (2, 1), "no section", "top level"),
        ("<domain *>\nmax-smtp-out  many\n</domain>\n", (2, 15), "a whole number", ""),
        ("<domain *>\nmax-msg-rate 5/fortnight\n</domain>\n", (2, 14), "max-msg-rate", ""),
        ("<domain *>\nretry-after soon\n</domain>\n", (2, 13), "retry-after", ""),
        ("<domain *>\nbounce-after\n</domain>\n", (2, 13), "argument missing", "TIME"),
        ("<domain *>\nbounce-upon-no-mx 0\n</domain>\n", (2, 19), "yes, no, never", ""),
        ("<domain *>\nuse-starttls maybe\n</domain>\n", (2, 14), "yes, no", ""),
        ("<domain a b>\n</domain>\n", (1, 1), "one pattern", "domain-macro"),
        ("<domain a.org/vmta>\n</domain>\n", (1, 1), "names a queue", "<virtual-mta>"),
        ("<virtual-mta>\n</virtual-mta>\n", (1, 1), "needs a name", ""),
        (VMTA.format("smtp-source-host 1.2.3 a.org"), (2, 18), "an address", ""),
        (VMTA.format("smtp-source-host 192.0.2.1"), (2, 18), "expected IP HOST", ""),
        (VMTA.format("") + "<domain a.org>\nvirtual-mta mailer2\n</domain>\n", (5, 13),
         "no virtual-mta mailer2", "mailer1"),
        ("<domain *>\nsmtp-pattern-list x\n</domain>\n", (2, 19), "no smtp-pattern-list", "define"),
        *[(f"<source {name}>\n</source>\n", (1, 1), "expected an address or network",
           "for one network") for name in ("10.1.2.0/33", "10.1.2.3-10", "*", "10.1, 10.2", "10")],
        ("domain a.org\n", (1, 1), 'no directive "domain"', "a section begins with <domain …>"),
        ("smtp-port 99999\n", (1, 1), "port from 1 to 65535", ""),
        ("name-server 192.0.2.1:99999\n", (1, 13), "port from 1 to 65535", ""),
        ("relay-address *@a.example\n", (1, 15), "expected an address", ""),
        ("<domain *>\nsmtp-hosts a.example b.example\n</domain>\n", (2, 12), "a comma", ""),
        ("<domain 1.2.3.4>\n</domain>\n", (1, 1), "in brackets: [1.2.3.4]", ""),
        ("<domain *>\nretry-after 99999999999w\n</domain>\n", (2, 13), "100 years", ""),
        ("// so\n", (1, 1), 'no directive "//"', 'begins with "#"'),
        ("; so\n", (1, 1), 'no directive ";"', 'begins with "#"'),
        ("/^5/ x\n", (1, 1), 'no directive "/^5/"', "<bounce-category-patterns>"),
        ("smtp-listener 127.0.0.1:99999\n", (1, 1), "port from 1 to 65535", ""),
        ("smtp-listener\n", (1, 1), "argument missing", "0.0.0.0:25"),
        ("<acct-file>\n</acct-file>\n", (1, 1), "needs a path", "directory"),
        ("<acct-file /a>\n</acct-file>\n<acct-file /a>\n</acct-file>\n", (3, 1), "already", ""),
        ("<acct-file>\ndirectory /a\nrecord-fields bounce,delivry\n</acct-file>\n", (3, 1),
         'no kind of record "delivry"', ""),
        ("<smtp-pattern-list x>\nreply /(/ mode=backoff\n</smtp-pattern-list>\n", (2, 7),
         "not a regular expression", ""),
        ("<smtp-pattern-list x>\nreply /421 mode=backoff\n</smtp-pattern-list>\n", (2, 7),
         "no closing slash", ""),
        ("<smtp-pattern-list x>\nreply /421/ mode=slow\n</smtp-pattern-list>\n", (2, 7),
         'unknown action "mode=slow"', ""),
        ("<smtp-pattern-list x>\nreply /421/ skip-mx,bounce-queue\n</smtp-pattern-list>\n", (2, 7),
         "both skip-mx and bounce-queue", ""),
        ("<bounce-category-patterns>\n/x/\n</bounce-category-patterns>\n", (2, 1), "category", ""),
        ("<virtual-mta a>\n</virtual-mta>\n<virtual-mta-pool a>\n</virtual-mta-pool>\n", (3, 1),
         "a VirtualMTA a, too", "name of its own"),
        ("smtp-listener 127.0.0.1:26 source=nosuch\n<source a>\n</source>\n", (1, 15),
         "no source nosuch", "one there is: a"),
        ("smtp-listener 127.0.0.1:26 source=nosuch\n", (1, 15), "no source nosuch",
         "<source nosuch>"),
        ("<acct-file /a>\n\nrecords d,x\n</acct-file>\n", (3, 1), 'no kind of record "x"', ""),
        ("<acct-file /a>\n\nrecord-fields d\n</acct-file>\n", (3, 1), "which fields", ""),
        ("<acct-file /a>\n\nmap-header-to-field d x\n</acct-file>\n", (3, 1), "expected KIND", ""),
        (VMTA.format("") + "<virtual-mta-pool p>\nvirtual-mta mailer1\n</virtual-mta-pool>\n"
         "<virtual-mta-pool q>\nvirtual-mta p\n</virtual-mta-pool>\n", (8, 1), "p is a pool",
         "each of its VirtualMTAs"),
        ("<virtual-mta-pool p>\nvirtual-mta by-smtp-source-ip\n</virtual-mta-pool>\n", (2, 13),
         "expected a VirtualMTA", ""),
        (VMTA.format("cold-virtual-mta by-smtp-source-ip"), (2, 18), "default-virtual-mta", ""),
        ("invalid-virtual-mta-fallback By-SMTP-Source-IP\n", (1, 30), "default-virtual-mta", ""),
        ("<domain *>\nreroute-to-virtual-mta by-smtp-source-ip\n</domain>\n", (2, 24),
         "default-virtual-mta", ""),
        ("<virtual-mta by-smtp-source-ip>\n</virtual-mta>\n", (1, 1), "meaning of its own",
         "another name"),
        ("<virtual-mta-pool {default}>\n</virtual-mta-pool>\n", (1, 1), "is a VirtualMTA",
         "name of its own"),
        ("<domain *>\nmax-smtp-out 3\n</domian>\n", (3, 1), "closes nothing", "</domain>"),
        ("include http://example.com/x\n", (1, 1), "HTTP", "file"),
    ],
)  # fmt: skip
def test_one_error_at_its_place_with_what_to_do(text, place, words, hint):
    found = only(text, "error")
    assert (found.place.line, found.place.column) == place, found
    assert words in found.message
    assert hint in found.hint
    assert loaded(text).configuration is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("<domain *>\nmax-msg-rate 0\n</domain>\n", 2, "means no limit"),
        ("<virtual-mta-pool p>\n</virtual-mta-pool>\n", 1, "has no virtual-mta"),
        ("<virtual-mta a>\n</virtual-mta>\n<virtual-mta A>\n</virtual-mta>\n", 3, "case does not"),
        ("<global x>\n</global>\n", 1, "no argument"),
        (
            USED + "<smtp-pattern-list x>\nreply /(a+)+b/ mode=backoff\n</smtp-pattern-list>\n",
            5,
            "long",
        ),
        (
            "total-max-smtp-out 5\n<domain *>\nmax-smtp-out 9\n</domain>\n",
            3,
            "max-smtp-out 9 is never reached: total-max-smtp-out 5 binds (/etc/pmta/config:1)",
        ),
        (
            VMTA.format("max-smtp-out 5\n<domain *>\nmax-smtp-out 9\n</domain>"),
            4,
            "never reached: max-smtp-out 5 of VirtualMTA mailer1 binds (/etc/pmta/config:2)",
        ),
        (
            VMTA.format("max-smtp-msg-rate 1/s\n<domain *>\nmax-msg-rate 61/m\n</domain>"),
            4,
            "never reached: VirtualMTA mailer1 has 1/s in all (/etc/pmta/config:2)",
        ),
        ("<smtp-pattern-list x>\n</smtp-pattern-list>\n", 1, "not used"),
        ("<pattern-list x>\n</pattern-list>\n", 1, "not used"),
        ("<domain *>\nbackoff-max-msg-rate 0/d\n</domain>\n", 2, "0/d means no limit"),
        (
            "<acct-file /a>\nrecord-fields b *,dsnSTATUS,dsnStats\n</acct-file>\n",
            2,
            'bounce records have no column "dsnStats": it stays empty',
        ),
        (
            "<acct-file /a>\nrecord-fields d *,!timeImprinted,header_X\n</acct-file>\n",
            2,
            'delivery records have no column "timeImprinted": it removes nothing',
        ),
        (
            "<acct-file /a>\nmap-header-to-field d header_X job\n</acct-file>\n",
            2,
            'delivery records have no column "job": it has no effect',
        ),
        ("<acct-file /a.json>\n</acct-file>\n", 1, "what /a.json gets is CSV"),
        ("<address-list a>\naddress *@a.example\n</address-list>\n", 2, "* stands for itself"),
        (
            "smtp-listener 0/0:26\n<smtp-listener 0.0.0.0:26>\nawait-slot yes\n</smtp-listener>\n",
            2,
            "that of /etc/pmta/config:1, too",
        ),
        (
            "<smtp-user x>\npassword a\n</smtp-user>\n<smtp-user x>\npassword b\n</smtp-user>\n",
            2,
            "another password",
        ),
        ("<source localhost>\n</source>\n<source {pickup}>\n</source>\n", 1, "not used"),
        ("<domain *>\nretry-after 10m,0\n</domain>\n", 2, "without a pause"),
        ('<acct-file /a>\nuser-string "abc\n</acct-file>\n', 2, "the quote is not closed"),
        ("<acct-file /a>\nuser-string 'a b'\n</acct-file>\n", 2, "' is no quote here"),
        ("<domain *>\nqueue-to “x.queue”\n</domain>\n", 2, "“ is no quote here"),
    ],
)
def test_a_warning_says_what_was_probably_not_meant(text, line, words):
    found = only(text, "warning")
    assert found.place.line == line
    assert words in found.message
    assert loaded(text).configuration is not None


def test_a_value_that_cannot_be_read_is_shown_short_and_a_secret_one_is_not():
    assert len(only(f"workers {'x' * 5000}\n", "error").message) < 600
    secret = only('smtp-server-tls-certificate "/c.pem secret\n', "error")
    assert "secret" not in secret.message


def test_limits_that_can_be_reached_are_no_matter():
    text = "total-max-smtp-out 9\n<domain *>\nmax-smtp-out 9\nmax-msg-rate 60/m\n</domain>\n"
    limits = "max-msg-rate 60/m\nmax-smtp-out unlimited"
    nested = f"max-smtp-msg-rate 1/s\n<domain *>\n{limits}\n</domain>"
    assert said(text + VMTA.format(nested), "warning") == []


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("<virtual-mta a>\nprocess-bounces yes\n</virtual-mta>\n", 2, "not in force yet"),
        ("<bounce-processor>\n</bounce-processor>\n", 1, "not in force yet"),
        ("<acct-file |/bin/x>\n</acct-file>\n", 1, "not in force yet"),
        ("<acct-file /a>\nrecords d,f\n</acct-file>\n", 2, "not in force yet"),
        ("<acct-file /a>\nmax-size 1K\n</acct-file>\n", 2, "1M at least"),
        (USED + "<smtp-pattern-list X>\n</smtp-pattern-list>\n", 2, "x is X of /etc/pmta/config:4"),
        ("<spool /a>\n</spool>\n<spool /b>\n</spool>\n", 3, "one spool directory"),
    ],
)
def test_a_note_says_what_does_nothing(text, line, words):
    (found,) = [d for d in said(text, "note") if words in d.message]
    assert found.place.line == line


def test_every_problem_is_found_in_one_run_in_the_order_of_lines():
    text = (
        "nonsense 1\n<domain *>\nmax-smtp-out x\nmax-msg-rate 0\n</domain>\n<nosuch>\n</nosuch>\n"
    )
    assert [(d.severity, d.place.line) for d in said(text)] == [
        ("error", 1),
        ("error", 3),
        ("warning", 4),
        ("error", 6),
    ]


@pytest.mark.parametrize("text", ["http-mgmt-port 0\n", "<domain *>\nlog-commands no\n</domain>\n"])
def test_what_is_not_in_force_yet_and_turned_off_is_not_told(text):
    assert not said(text)


def test_notes_that_say_the_same_are_told_once_with_their_lines():
    block = "<domain d{}.example>\nuse-dane yes\n</domain>\n"
    (one,) = gathered(said("".join(block.format(n) for n in range(1, 4)) + "# x\n"))
    assert (one.place.line, one.message) == (
        2,
        "use-dane: not in force yet (also lines 5, 8)",
    )
    (many,) = gathered(said("".join(block.format(n) for n in range(1, 13))))
    assert many.message.endswith("(also lines 5, 8, 11, 14, 17, 20, 23, 26 and 3 more)")
    assert len(gathered(said("<domain *>\nx 1\nx 1\n</domain>\n"))) == 2, "errors are told each"


def test_what_is_not_given_is_named_with_its_value():
    defaults = {d.message for d in loaded("").diagnostics if not d.place.line}
    for start in (
        "no spool is given; it is /",
        "no log-file",
        "no postmaster",
        "no http-mgmt-port",
    ):
        assert any(message.startswith(start) for message in defaults), start


@pytest.mark.parametrize(
    ("listener", "source", "accepts", "expected"),
    [
        ("0.0.0.0:25", "0/0", "", "error"),
        ("0.0.0.0:25", "0/0", "allow-open-relay yes\n", "warning"),
        ("0.0.0.0:25", "10/8", "", ""),
        ("127.0.0.1:25", "0/0", "", ""),
        ("192.168.1.1:25", "0/0", "", ""),
        ("1.2.3.4:25", "0/0", "", "error"),
        ("0.0.0.0:25", "128/1", "", "error"),
        ("0.0.0.0:25", "::/0", "", "error"),
    ],
)
def test_an_open_relay_is_refused_unless_accepted(listener, source, accepts, expected):
    text = (
        f"smtp-listener {listener}\n{accepts}"
        f"<source {source}>\nalways-allow-relaying yes\n</source>\n"
    )
    assert [d.severity for d in said(text) if "relay" in d.message] == [expected] * bool(expected)


def test_an_open_relay_behind_a_password_is_none():
    text = (
        "smtp-listener 0.0.0.0:25\n"
        "<source 0/0>\nalways-allow-relaying yes\nrequire-auth yes\n</source>\n"
    )
    assert not said(text, "error")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("<virtual-mta a>\nsmtp-source-ip 192.0.2.9\n</virtual-mta>\n", 2),
        ("<virtual-mta a>\nsmtp-source-host 192.0.2.9 a.example\n</virtual-mta>\n", 2),
        ("smtp-source-host 192.0.2.9 a.example\n", 1),
        ("<virtual-mta a>\nsmtp-source-host 198.51.100.0/24 a.example\n</virtual-mta>\n", 2),
        ("smtp-listener 192.0.2.9:25\n", 1),
    ],
)
def test_an_address_of_another_host_is_told_at_its_line(text, line):
    (found,) = check_host(configured(text), OWN)
    assert (found.severity, found.place.line) == ("error", line)
    assert "192.0.2.1" in found.hint


def test_own_addresses_and_loopback_are_no_problem():
    text = (
        "smtp-source-host 192.0.2.1 a.example\nsmtp-listener 0.0.0.0:25\n"
        "<virtual-mta a>\nsmtp-source-host 2001:db8::/64 a.example\nsmtp-source-ip 127.0.0.5\n"
        "</virtual-mta>\n"
    )
    assert check_host(configured(text), OWN) == ()
