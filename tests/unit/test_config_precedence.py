"""Who decides: VirtualMTA, then pool, then the top level; and `explain` says the same."""

import pickle
from itertools import product

import pytest

from mta.model.queue_key import QueueKey
from tests.texts import configured, said

GLOBAL = "<domain {}>\nmax-smtp-out {}\n</domain>\n"
KEY = QueueKey("gmail.com", "a")


def configuration(vmta, pool, top):
    """Limits by pattern in the VMTA, in its pool and at the top level."""
    return configured(
        "<virtual-mta a>\n"
        + "".join(GLOBAL.format(*one) for one in vmta.items())
        + "</virtual-mta>\n<virtual-mta-pool p>\nvirtual-mta a\n"
        + "".join(GLOBAL.format(*one) for one in pool.items())
        + "</virtual-mta-pool>\n"
        + "".join(GLOBAL.format(*one) for one in top.items())
    )


def test_what_another_process_gets_knows_nothing_of_the_blocks_of_this_one():
    """Settings are found by the identity of blocks, and there others have the same."""
    text = (
        "<virtual-mta a>\n</virtual-mta>\n<source 127.0.0.1>\nlog-commands yes\n</source>\n"
        "<domain a.example>\nmax-smtp-out 7\n</domain>\n"
    )
    asked, fresh = configured(text), configured(text)
    key = QueueKey("a.example", "a")
    assert (asked.domain(key).max_smtp_out, asked.source("127.0.0.1").log_commands) == (7, True)
    assert len(pickle.dumps(asked)) == len(pickle.dumps(fresh))
    there = pickle.loads(pickle.dumps(asked))
    assert (there.domain(key).max_smtp_out, there.source("127.0.0.1").log_commands) == (7, True)


@pytest.mark.parametrize(
    ("vmta", "pool", "top", "expected"),
    [
        ({"*": 1}, {"gmail.com": 2}, {"gmail.com": 3}, 1),
        ({"yahoo.com": 1}, {"*": 2}, {"gmail.com": 3}, 2),
        ({}, {"yahoo.com": 2}, {"*": 3}, 3),
        ({"*": 1, "gmail.com": 4}, {"gmail.com": 2}, {"gmail.com": 3}, 4),
        ({}, {}, {"*": 1, "gmail.com": 3}, 3),
    ],
)
def test_the_nearest_speaker_decides(vmta, pool, top, expected):
    assert configuration(vmta, pool, top).domain(KEY).max_smtp_out == expected


def test_each_directive_is_decided_by_itself():
    one = configured(
        "<virtual-mta a>\n<domain *>\nmax-smtp-out 1\n</domain>\n</virtual-mta>\n"
        "<domain gmail.com>\nmax-smtp-out 3\nbounce-after 1d\n</domain>\n"
    ).domain(KEY)
    assert (one.max_smtp_out, one.bounce_after) == (1, 86400)


def test_explain_agrees_with_what_holds_for_every_layering():
    patterns = [{}, {"*": 1}, {"gmail.com": 2}, {"*": 3, "[*.]gmail.com": 4}]
    for vmta, pool, top in product(patterns, repeat=3):
        one = configuration(vmta, pool, top)
        rows = {row.directive: row for row in one.explain(KEY)}
        limit = rows["max-smtp-out"]
        assert limit.value_text == str(one.domain(KEY).max_smtp_out)
        given = len(vmta) + len(pool) + len(top)
        assert (limit.place is not None) == bool(given)
        assert len(limit.hides) == max(0, given - 1)
        assert (one.domain_places(KEY).get("max-smtp-out")) == limit.place


def test_explain_names_the_line_that_decides_and_those_it_hides():
    one = configured(
        "<domain *>\nmax-smtp-out 3\n</domain>\n<domain gmail.com>\nmax-smtp-out 7\n</domain>\n"
    )
    (row,) = [
        row
        for row in one.explain(KEY._replace(vmta="{default}"))
        if "smtp-out" in row.directive and row.place
    ]
    assert row.value_text == "7"
    assert str(row.place) == "/etc/pmta/config:5"
    assert [(text, str(place)) for text, place in row.hides] == [("3", "/etc/pmta/config:2")]


def test_queues_with_the_same_layers_share_their_settings():
    one = configured("<domain gmail.com>\nmax-smtp-out 3\n</domain>\n")
    assert one.domain(QueueKey("a.org", "x")) is one.domain(QueueKey("b.org", "y"))
    assert one.domain(QueueKey("gmail.com", "x")) is not one.domain(QueueKey("b.org", "y"))


SOURCES = (
    "<source 0/0>\nalways-allow-relaying no\nsmtp-service yes\nlog-data yes\n</source>\n"
    "<source 10/8>\nalways-allow-relaying yes\n</source>\n"
    "<source 10.1/16>\nlog-data no\n</source>\n"
    "<source {auth}>\nalways-allow-relaying yes\n</source>\n"
)


@pytest.mark.parametrize(
    ("ip", "relays", "logs"),
    [("192.0.2.1", False, True), ("10.2.0.1", True, True), ("10.1.0.1", True, False)],
)
@pytest.mark.parametrize("order", [1, -1])
def test_source_networks_lie_on_one_another_longest_on_top(ip, relays, logs, order):
    blocks = [block + "</source>\n" for block in SOURCES.split("</source>\n") if block]
    one = configured("".join(blocks[::order]))
    source = one.source(ip)
    assert (source.always_allow_relaying, source.log_data) == (relays, logs)
    assert one.source_matches(ip)


def test_a_named_source_lies_on_top_of_the_networks():
    assert configured(SOURCES).source("192.0.2.1", "{auth}").always_allow_relaying


def test_where_no_source_speaks_nothing_is_allowed():
    one = configured("<source 10/8>\nalways-allow-relaying yes\n</source>\n")
    assert not one.source_matches("192.0.2.1")
    assert not one.source("192.0.2.1").always_allow_relaying


ALL = "<virtual-mta-pool all>\nvirtual-mta a\n</virtual-mta-pool>\n"
SLOW = (
    "<virtual-mta-pool slow>\nvirtual-mta a\nmax-smtp-out 2\n"
    "<domain gmail.com>\nmax-smtp-out 1\n</domain>\n</virtual-mta-pool>\n"
)
VMTA = "<virtual-mta a>\n</virtual-mta>\n"


@pytest.mark.parametrize("pools", [(ALL, SLOW), (SLOW, ALL)])
def test_of_two_pools_of_a_virtual_mta_the_one_with_directives_holds(pools):
    one = configured(VMTA + "".join(pools))

    assert one.domain(KEY).max_smtp_out == 1
    assert one.vmta("a").max_smtp_out == 2


def test_that_only_one_of_two_pools_with_directives_holds_is_said():
    told = said(VMTA + SLOW + SLOW.replace("slow", "fast"))

    assert any("is in pool slow, too" in one for one in map(str, told))


def test_mail_of_the_daemon_itself_comes_from_no_network():
    one = configured("<virtual-mta a>\nsmtp-source-host 192.0.2.0/24 a.example\n</virtual-mta>\n")

    assert one.vmta_sending_from("") is None
    assert one.vmta_sending_from("192.0.2.7").name == "a"
