"""Which rollup queue a domain belongs to, by its mail hosts. The examples are the guide's."""

import pytest

from mta.model.dns_answer import MxAnswer
from mta.routing.rollup import RollupList, lowest
from mta.settings.kinds import ROLLUP_RULE

NAMES = (
    "mx1.domain.com domain.rollup",
    "mx2.domain.com domain.rollup",
    "mx1.domain2.com domain2.rollup",
)


def listed(*lines):
    return RollupList(map(ROLLUP_RULE.parse, lines))


def queue(rollup, *hosts, ips=(), domain="domain.com"):
    answer = MxAnswer(tuple((int(host.split()[0]), host.split()[1]) for host in hosts))
    return rollup.match(domain, lowest(answer), frozenset(ips))


@pytest.mark.parametrize(
    ("hosts", "found"),
    [
        (["10 mx1.domain.com", "10 mx2.domain.com"], "domain.rollup"),
        (["10 mx1.domain.com", "20 mx2.domain.com"], ""),
        (["10 mx1.domain.com", "10 mx2.domain.com", "10 mx3.domain.com"], "domain.rollup"),
        (["10 mx1.domain.com"], ""),
        (["10 mx1.domain2.com", "10 mx2.domain2.com"], "domain2.rollup"),
        (["10 mx1.domain2.com", "20 mx1.domain2.com"], "domain2.rollup"),
        (["10 mx1.mail.domain.com"], ""),
        ([], ""),
    ],
)
def test_all_hosts_of_the_queue_are_of_the_lowest_preference(hosts, found):
    assert queue(listed(*NAMES), *hosts) == found


def test_the_hosts_of_a_queue_of_names_are_those_names():
    rollup = listed(*NAMES)
    assert rollup.queue("domain.rollup").hosts == ("mx1.domain.com", "mx2.domain.com")
    assert listed("*.a.com a.rollup").queue("a.rollup").hosts == ()


def test_a_wildcard_takes_a_domain_all_of_whose_hosts_match():
    rollup = listed("*.a.com a.rollup")
    assert queue(rollup, "10 mx1.a.com", "10 mx2.a.com", "20 mx.b.com") == "a.rollup"
    assert queue(rollup, "10 mx1.a.com", "10 mx.b.com") == ""
    assert queue(rollup, "10 a.com") == ""


def test_by_ip_the_first_domain_lends_its_hosts_and_others_join_by_address():
    rollup = listed("*.a.com a.rollup rollup-by-ip")
    assert queue(rollup, "10 n1.a.com", ips=["1", "2"], domain="n1") == "a.rollup"
    assert rollup.origin("a.rollup").domain == "n1"
    assert queue(rollup, "10 n2.a.com", ips=["2", "3"], domain="n2") == "a.rollup"
    assert queue(rollup, "10 n3.a.com", ips=["9"], domain="n3") == ""
    assert queue(rollup, "10 mx.vanity.com", ips=["1"], domain="vanity") == "a.rollup"
    assert queue(rollup, "10 mx.vanity.com", ips=["1", "9"], domain="other") == ""


def test_by_ip_an_origin_that_moves_away_is_one_no_more():
    rollup = listed("*.a.com a.rollup rollup-by-ip")
    queue(rollup, "10 n1.a.com", ips=["1"], domain="n1")
    assert queue(rollup, "10 mx.b.com", ips=["1"], domain="n1") == ""
    assert rollup.origin("a.rollup") is None
    assert queue(rollup, "10 n2.a.com", ips=["5"], domain="n2") == "a.rollup"


@pytest.mark.parametrize(
    "line",
    [
        "mx.a.com",
        "mx.a.com a.queue",
        "mx.*.com a.rollup",
        "*a.com a.rollup",
        "*.a.com a.rollup by-ip",
        "mx.a.com a.rollup rollup-by-ip",
    ],
)
def test_a_line_that_means_nothing_is_refused(line):
    with pytest.raises(ValueError, match=r"expected|wildcard"):
        ROLLUP_RULE.parse(line)
