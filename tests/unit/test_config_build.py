"""From sections to settings: values, defaults, paths, names."""

import gc

import pytest

from mta.config.block import Block
from mta.config.configuration import Configuration
from mta.model.queue_key import QueueKey
from mta.units import UNLIMITED, Rate
from tests.texts import configured, domain, only


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("max-msg-rate 100/h", "max_msg_rate", Rate(100, 3600)),
        ("max-msg-rate 20/15m", "max_msg_rate", Rate(20, 900)),
        ("max-msg-rate unlimited", "max_msg_rate", None),
        ("max-smtp-out unlimited", "max_smtp_out", UNLIMITED),
        ("bounce-after 4d12h", "bounce_after", 4 * 86400 + 12 * 3600),
        ("retry-after 10m,30m, 1h", "retry_after", (600, 1800, 3600)),
        ("use-starttls yes", "use_starttls", True),
        ("use-starttls False", "use_starttls", False),
    ],
)
def test_values(line, attribute, value):
    assert getattr(domain(f"<domain *>\n{line}\n</domain>\n", "a.org"), attribute) == value


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ('max-smtp-out "20"', "max_smtp_out", 20),
        ('use-starttls "yes"', "use_starttls", True),
        ('bounce-after "4h"', "bounce_after", 4 * 3600),
        ('bounce-upon-no-mx "4h"', "bounce_upon_no_mx", 4 * 3600),
        ('max-msg-rate "100/h"', "max_msg_rate", Rate(100, 3600)),
        ('retry-after "10m, 20m"', "retry_after", (600, 1200)),
        ('source-ip-max-smtp-out "0/0" "3"', "source_ip_max_smtp_out", (("0.0.0.0/0", 3),)),
        ('queue-to "x.queue"', "queue_to", "x.queue"),
        ('dkim-headers "X-A","X-B"', "dkim_headers", ("X-A", "X-B")),
    ],
)
def test_quotes_are_optional_around_a_single_word(line, attribute, value):
    assert getattr(domain(f"<domain *>\n{line}\n</domain>\n", "a.org"), attribute) == value


def test_quotes_are_optional_where_several_words_make_a_value():
    one = configured(
        'domain-macro hot "a.com","b.com"\n<domain $hot>\nmax-smtp-out 7\n</domain>\n'
        'smtp-listener "127.0.0.1:26" source="s"\n<source s>\n</source>\n'
        'alias "info" "a@b.example","c@d.example"\n'
        'smtp-server-tls-certificate "/c.pem" "pass # word"\n'
        '<bounce-category-patterns>\n/x/ "spam related"\n</bounce-category-patterns>\n'
        '<acct-file /a>\nrecords "d"\nrecord-fields "d" "type,rcpt"\n'
        'map-header-to-field "d" "header_X" "jobId"\n</acct-file>\n'
    )
    assert one.domain(QueueKey("b.com", "{default}")).max_smtp_out == 7
    assert [(door.port, door.source) for door in one.listeners] == [(26, "s")]
    assert one.submitters.aliases["info"] == ("a@b.example", "c@d.example")
    assert one.root.smtp_server_tls_certificate == ("/c.pem", "pass # word")
    assert [category for _, category, _ in one.bounce_category_patterns] == ["spam related"]
    (acct,) = one.acct_files
    assert acct.record_fields == (("d", ("type", "rcpt")),)
    assert acct.map_header_to_field == (("d", "header_X", "jobId"),)


def test_a_domain_local_is_for_the_names_of_this_host():
    text = (
        "<domain Local>\nmax-smtp-out 3\nretry-after 5m\n</domain>\n"
        "<domain b.example>\nmax-smtp-out 4\n</domain>\n"
        "<virtual-mta v>\n<domain local>\nmax-smtp-out 5\n</domain>\n</virtual-mta>\n"
        "host-name a.example\nhost-name B.example\n"
    )
    assert domain(text, "a.example").max_smtp_out == 3
    other = domain(text, "b.example")
    assert (other.max_smtp_out, other.retry_after) == (4, (300,))
    assert domain(text, "b.example/v").max_smtp_out == 5
    assert domain(text, "local").max_smtp_out == domain(text, "c.example").max_smtp_out == 20


def test_the_last_value_counts_for_what_is_given_once():
    text = "<domain *>\nmax-smtp-out 3\nmax-smtp-out 4\n</domain>\n"
    assert domain(text, "a.org").max_smtp_out == 4


def test_what_repeats_adds_up_over_sections_of_one_name():
    one = configured(
        "<virtual-mta a>\nsmtp-source-host 127.0.0.2 b.org\n</virtual-mta>\n"
        "<virtual-mta a>\nsmtp-source-host 127.0.0.3 c.org\n</virtual-mta>\n"
    ).vmta("a")
    assert one is not None
    assert one.smtp_source_host == (("127.0.0.2", "b.org"), ("127.0.0.3", "c.org"))


def test_a_host_name_beyond_ascii_is_as_it_stands_in_the_dns():
    text = (
        "host-name bücher.example\n<virtual-mta a>\nhost-name ä.example\n"
        "smtp-source-host 127.0.0.1 ö.example\n</virtual-mta>\n"
    )
    one = configured(text)
    assert one.root.host_name == "xn--bcher-kva.example"
    assert one.vmta("a").host_name == "xn--4ca.example"
    assert one.vmta("a").smtp_source_host == (("127.0.0.1", "xn--nda.example"),)
    assert "host name" in only("host-name ö..example\n", "error").message


def test_host_names_the_first_is_the_main_one_and_all_are_relayed_to():
    one = configured("host-name mx.example.com\nhost-name example.com\nrelay-domain example.org\n")
    assert one.root.host_name == "mx.example.com"
    for name in ("mx.example.com", "example.com", "example.org"):
        assert any(pattern.matches(name) for pattern in one.relay_domain), name
    assert not any(pattern.matches("example.net") for pattern in one.relay_domain)


def test_the_name_of_the_host_where_none_is_given():
    assert configured("").root.host_name == "h.example"


def test_the_ehlo_name_is_that_of_the_source_then_of_the_vmta_then_of_the_host():
    one = configured(
        "host-name h.org\nsmtp-source-host 127.0.0.4 d.org\n"
        "<virtual-mta a>\nsmtp-source-host 127.0.0.2 b.org\nsmtp-source-ip 127.0.0.3\n"
        "host-name c.org\n</virtual-mta>\n"
        "<virtual-mta e>\nsmtp-source-ip 127.0.0.5\n</virtual-mta>\n"
        "<virtual-mta f>\n</virtual-mta>\n"
    )
    sources = {name: one.vmta(name).smtp_source_host for name in "aef"}
    assert sources == {
        "a": (("127.0.0.2", "b.org"), ("127.0.0.3", "c.org")),
        "e": (("127.0.0.5", "h.org"),),
        "f": (("127.0.0.4", "d.org"),),
    }


def test_the_narrower_of_two_rates_of_a_vmta_holds():
    text = "<virtual-mta a>\nmax-smtp-msg-rate 100/m\nmax-msg-rate 200/h\n</virtual-mta>\n"
    assert configured(text).vmta("a").max_msg_rate == Rate(200, 3600)


def test_a_pool_gives_its_members_what_they_leave_open():
    one = configured(
        "<virtual-mta a>\n</virtual-mta>\n<virtual-mta b>\nmax-smtp-out 2\n</virtual-mta>\n"
        "<virtual-mta-pool P>\nvirtual-mta a\nvirtual-mta B\nmax-smtp-out 9\n</virtual-mta-pool>\n"
    )
    assert one.pool("p").virtual_mta == ("a", "B")
    assert (one.vmta("a").max_smtp_out, one.vmta("b").max_smtp_out) == (9, 2)


def test_domain_vmtas_come_from_the_most_specific_block_that_names_any():
    text = (
        "<virtual-mta a>\n</virtual-mta>\n<virtual-mta b>\n</virtual-mta>\n"
        "<domain *>\nvirtual-mta a\n</domain>\n"
        "<domain x.org>\nvirtual-mta b\nvirtual-mta a\n</domain>\n<domain y.org>\n</domain>\n"
    )
    one = configured(text)
    assert one.domain_vmtas("x.org") == ("b", "a")
    assert one.domain_vmtas("y.org") == ("a",)


def test_relative_paths_are_beside_the_file():
    one = configured("spool var/spool\nlog-file ../log\n<acct-file acct.csv>\n</acct-file>\n")
    assert one.spools[0].directory == "/etc/pmta/var/spool"
    assert one.root.log_file == "/etc/log"
    assert one.acct_files[0].path == "/etc/pmta/acct.csv"


@pytest.mark.parametrize(
    ("line", "address", "port"),
    [
        ("smtp-listener 0.0.0.0:25", "0.0.0.0", 25),
        ("smtp-listener 0/0:2525", "0.0.0.0", 2525),
        ("smtp-listener [::1]:587", "::1", 587),
        ("smtp-listener 127.0.0.1", "127.0.0.1", 25),
        ("smtp-listener 10.1.0.0/16:25", "10.1.0.0/16", 25),
    ],
)
def test_listeners(line, address, port):
    for text in (f"{line}\n", f"<{line}>\n</smtp-listener>\n"):
        (one,) = configured(text).listeners
        assert (one.address, one.port) == (address, port)


def test_a_listener_may_name_its_source_both_ways():
    source = "<source {in}>\n</source>\n"
    for text in (
        "smtp-listener 127.0.0.1:25 source={in}\n",
        "<smtp-listener 127.0.0.1:25>\nsource {in}\n</smtp-listener>\n",
    ):
        assert configured(source + text).listeners[0].source == "{in}"


def test_an_acct_file_of_the_simple_dialect():
    one = configured(
        "<acct-file>\ndirectory /a\nrecord-fields bounces, connections, deliveries\n</acct-file>\n"
    ).acct_files[0]
    assert (one.path, one.records, one.record_fields) == ("/a/acct.csv", ("b", "c", "d"), ())


def test_a_program_in_quotes_may_have_a_closing_bracket():
    text = '<acct-file "|/bin/x -e \\"a\\" >b">\nrecords b\n</acct-file>\n'
    (acct,) = configured(text).acct_files
    assert (acct.path, acct.records) == ('|/bin/x -e "a" >b', ("b",))


def test_an_acct_file_of_the_guide():
    one = configured(
        "<acct-file /a.csv>\nrecords d, b\nrecord-fields d *,header_X\nmove-to /b\n"
        "move-interval 5m\nmax-size 50M\ndelete-after never\n</acct-file>\n"
    ).acct_files[0]
    assert one.records == ("d", "b")
    assert one.record_fields == (("d", ("*", "header_X")),)
    assert (one.move_to, one.move_interval, one.max_size) == ("/b", 300, 50 << 20)
    assert one.delete_after is None


def test_columns_after_a_tab_or_several_blanks():
    text = "<acct-file /a.csv>\nrecord-fields\td\trcpt,\torig\nrecord-fields b   *\n</acct-file>\n"
    one = configured(text).acct_files[0]
    assert one.record_fields == (("d", ("rcpt", "orig")), ("b", ("*",)))


def test_reply_rules_in_their_order():
    one = configured(
        "<smtp-pattern-list l>\nreply /^421/ mode=backoff\n"
        "reply /a\\/b/ disable-source-ip,reenable-after=15m\n</smtp-pattern-list>\n"
        "<domain *>\nsmtp-pattern-list L\n</domain>\n"
    )
    first, second = one.reply_rules("L")
    assert first.verdict.mode == "backoff"
    assert (second.verdict.disable_source_ip, second.verdict.reenable_after) == (True, 900)
    assert second.pattern.search("x A/B y")


def test_a_configuration_is_freed_without_the_collector():
    """A daemon lives for months and is reloaded every day."""

    def alive():
        return [x for x in gc.get_objects() if isinstance(x, Configuration | Block)]

    gc.collect()
    gc.disable()
    try:
        before = {id(x) for x in alive()}  # The traceback of another test may hold some.
        one = configured("<domain *>\nmax-smtp-out 3\n</domain>\n<source 10/8>\n</source>\n")
        one.domain(QueueKey("a.org", "{default}"))
        one.source("10.0.0.1")
        del one
        assert not [x for x in alive() if id(x) not in before]
    finally:
        gc.enable()


def test_loading_leaves_the_collector_as_it_was():
    configured("")
    assert gc.isenabled()
    gc.disable()
    try:
        configured("")
        assert not gc.isenabled()
    finally:
        gc.enable()
