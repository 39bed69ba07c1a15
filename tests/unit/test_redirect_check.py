"""What `mta check` says of directives that send mail nowhere, or round in a circle."""

import pytest

from mta.routing.redirect_check import check
from tests.texts import configured

VMTAS = "<virtual-mta a>\n{a}\n</virtual-mta>\n<virtual-mta b>\n{b}\n</virtual-mta>\n"


def told(text="", *, a="", b=""):
    found = check(configured(VMTAS.format(a=a, b=b) + text))
    return [f"{one.severity}: {one.message}" for one in found]


def of_domain(pattern, line):
    return f"<domain {pattern}>\n{line}\n</domain>\n"


def rollup(*lines):
    return "<mx-rollup-list>\n" + "".join(f"mx {line}\n" for line in lines) + "</mx-rollup-list>\n"


@pytest.mark.parametrize(
    "text",
    [
        rollup("mx1.x.com x.rollup", "*.y.com y.rollup rollup-by-ip"),
        rollup("*.x.com x.rollup") + of_domain("x.rollup", "smtp-hosts lookup-mx:x.com"),
        of_domain("*.x.com", "queue-to x.com"),
        of_domain("x.com", "queue-to x.queue") + of_domain("x.queue", "smtp-hosts mx.x.com"),
        of_domain("x.com", "queue-to x.rollup") + rollup("mx1.x.com x.rollup"),
        of_domain("*", "reroute-to-virtual-mta b"),
        of_domain("*", "max-cold-virtual-mta-msg 100/day"),
    ],
)
def test_nothing_is_said_of_what_works(text):
    assert told(text) == []


def test_a_wildcard_without_hosts_rolls_nothing_up():
    (line,) = told(rollup("*.x.com x.rollup"))
    assert line == (
        "warning: mx *.x.com: x.rollup has no smtp-hosts, so nothing is rolled up into it"
    )
    inside = of_domain("x.rollup", "smtp-hosts mx.x.com")
    (line,) = told(rollup("*.x.com x.rollup"), a=inside)
    assert "x.rollup has no smtp-hosts in VirtualMTA {default}" in line


def test_rollup_by_ip_is_for_one_worker():
    (line,) = told(rollup("*.x.com x.rollup rollup-by-ip") + "workers 2\n")
    assert line == "warning: mx *.x.com: with several workers rollup-by-ip rolls nothing up"


def test_a_queue_without_a_way_out_is_told():
    (line,) = told(of_domain("x.com", "queue-to x.queue"))
    assert line.startswith("warning: queue-to x.queue: there is no such domain")


def test_a_chain_of_queue_to_is_told():
    text = of_domain("x.com", "queue-to y.com") + of_domain("y.com", "queue-to z.com")
    (line,) = told(text)
    assert line.startswith("warning: queue-to is one hop: mail goes to y.com and no further")


def test_reroutes_in_a_circle_are_told_at_each_line():
    there = of_domain("x.com", "reroute-to-virtual-mta b")
    back = of_domain("*", "reroute-to-virtual-mta a")
    lines = told(a=there, b=back)
    assert lines == [
        "warning: reroute-to-virtual-mta comes back to x.com/a; it is ignored, and the mail stays",
        "warning: reroute-to-virtual-mta comes back to x.com/b; it is ignored, and the mail stays",
    ]


def test_a_circle_of_the_top_level_is_told():
    lines = told("reroute-to-virtual-mta b\n", b=of_domain("*", "reroute-to-virtual-mta a"))
    assert len(lines) == 2


def test_two_that_are_each_others_way_out_in_backoff_are_noted():
    lines = told(
        a=of_domain("*", "backoff-reroute-to-virtual-mta b"),
        b=of_domain("*", "backoff-reroute-to-virtual-mta a"),
    )
    assert len(lines) == 2
    assert all(line.startswith("note: backoff-reroute-to-virtual-mta comes back") for line in lines)


def test_a_cold_virtual_mta_that_cannot_be_one_is_told():
    pool = "<virtual-mta-pool p>\nvirtual-mta b\n</virtual-mta-pool>\n"
    lines = told(pool, a="cold-virtual-mta p\ncold-virtual-mta a")
    assert [line.split(": ", 1)[1] for line in lines] == [
        "cold-virtual-mta p is a pool, which takes no mail this way",
        "cold-virtual-mta a names itself",
    ]


def test_a_target_that_does_not_exist_is_an_error():
    with pytest.raises(AssertionError, match="there is no virtual-mta gone"):
        told(of_domain("*", "reroute-to-virtual-mta gone"))
