"""Where mail for a queue goes instead, from a configuration as written."""

import pytest

from mta.model.queue_key import QueueKey
from mta.routing.redirect import Hop, Redirects
from mta.routing.rollup import RollupList
from tests.texts import configured

VMTAS = "".join(f"<virtual-mta {name}>\n</virtual-mta>\n" for name in "abcd")
POOL = "<virtual-mta-pool p>\nvirtual-mta a\nvirtual-mta b\n</virtual-mta-pool>\n"


class Site:
    """A configuration, and what is known of the world."""

    def __init__(self, text: str, *, rolled_up=None, backoff=()) -> None:
        self.configuration = configured(VMTAS + text)
        self.rolled_up = rolled_up or {}
        self.backoff = {QueueKey.parse(name) for name in backoff}
        self.unknown = set()
        self.loops = []
        rules = [rule for rule, _ in self.configuration.parts.rollup_rules]
        self.redirects = Redirects(
            self.configuration,
            RollupList(rules),
            rolled_up=lambda domain: self.rolled_up.get(domain, ""),
            in_backoff=lambda key: None if key in self.unknown else key in self.backoff,
            on_loop=self.loops.append,
        )

    def way(self, queue: str, *, is_new=True, divert=None) -> list[str]:
        hops = self.redirects.way(QueueKey.parse(queue), is_new=is_new, divert=divert)
        return [f"{hop.directive} {hop.key}" for hop in hops]

    def end(self, queue: str, *, is_new=True) -> str:
        way = self.way(queue, is_new=is_new)
        return way[-1].split()[1] if way else queue


def of_vmta(name: str, lines: str, pattern: str = "*") -> str:
    return f"<virtual-mta {name}>\n<domain {pattern}>\n{lines}\n</domain>\n</virtual-mta>\n"


def of_domain(pattern: str, lines: str) -> str:
    return f"<domain {pattern}>\n{lines}\n</domain>\n"


def rollup(*lines: str) -> str:
    mx = "".join(f"mx {line}\n" for line in lines)
    return f"<mx-rollup-list>\n{mx}</mx-rollup-list>\n"


def test_without_a_directive_mail_stays():
    site = Site("")
    assert site.way("x.com/a") == []
    assert not site.redirects.may_lead_away(QueueKey("x.com", "a"))


def test_queue_to_renames_within_the_virtual_mta():
    site = Site(of_domain("x.com", "queue-to Y.queue"))
    assert site.way("x.com/a") == ["queue-to y.queue/a"]


def test_an_empty_queue_to_clears_an_inherited_one():
    site = Site(of_domain("*", "queue-to y.queue") + of_domain("x.com", 'queue-to ""'))
    assert site.end("x.com/a") == "x.com/a"
    assert site.end("z.com/a") == "y.queue/a"


def test_queue_to_is_one_hop():
    site = Site(of_domain("x.com", "queue-to y.com") + of_domain("y.com", "queue-to z.com"))
    assert site.way("x.com/a") == ["queue-to y.com/a"]
    assert site.way("y.com/a") == ["queue-to z.com/a"]


def test_queue_to_of_itself_is_nothing():
    site = Site(of_domain("*", "queue-to y.queue"))
    assert site.way("y.queue/a") == []
    assert site.loops == []


def test_queue_to_in_a_circle_is_ignored_for_those_on_it():
    text = of_domain("x.com", "queue-to y.com") + of_domain("y.com", "queue-to x.com")
    site = Site(text + of_domain("z.com", "queue-to x.com"))
    assert site.end("x.com/a") == "x.com/a"
    assert site.end("y.com/a") == "y.com/a"
    assert site.end("z.com/a") == "x.com/a"
    assert len(site.loops) == 2


def test_reroute_goes_on_from_vmta_to_vmta():
    site = Site(of_vmta("a", "reroute-to-virtual-mta b") + of_vmta("b", "reroute-to-virtual-mta c"))
    assert site.way("x.com/a") == [
        "reroute-to-virtual-mta x.com/b",
        "reroute-to-virtual-mta x.com/c",
    ]


def test_reroute_may_stand_at_the_top_level_and_be_cleared():
    site = Site("reroute-to-virtual-mta d\n" + of_domain("x.com", 'reroute-to-virtual-mta ""'))
    assert site.end("y.com/a") == "y.com/d"
    assert site.end("x.com/a") == "x.com/a"


def test_reroute_to_itself_is_silently_nothing():
    site = Site("reroute-to-virtual-mta D\n")
    assert site.way("x.com/d") == []
    assert site.loops == []


def test_reroute_in_a_circle_is_ignored_for_those_on_it_and_told():
    text = of_vmta("a", "reroute-to-virtual-mta b") + of_vmta("b", "reroute-to-virtual-mta c")
    site = Site(text + of_vmta("c", "reroute-to-virtual-mta b"))
    assert site.end("x.com/a") == "x.com/b"
    assert site.end("x.com/b") == "x.com/b"
    assert site.end("x.com/c") == "x.com/c"
    assert {str(loop.key) for loop in site.loops} == {"x.com/b", "x.com/c"}


def test_a_pool_as_target_serves_in_turn():
    site = Site(POOL + of_vmta("c", "reroute-to-virtual-mta p"))
    assert [site.end("x.com/c") for _ in range(3)] == ["x.com/a", "x.com/b", "x.com/a"]
    (hop,) = site.redirects.way(QueueKey("x.com", "c"))
    assert hop == Hop("reroute-to-virtual-mta", QueueKey("x.com", "b"), "p")


def test_a_member_of_the_pool_it_is_rerouted_to_gives_to_the_others():
    site = Site(POOL + "reroute-to-virtual-mta p\n" + of_vmta("b", 'reroute-to-virtual-mta ""'))
    assert {site.end("x.com/a") for _ in range(4)} == {"x.com/b"}


def test_backoff_reroute_holds_while_the_queue_is_in_backoff():
    site = Site(of_vmta("a", "backoff-reroute-to-virtual-mta b"))
    assert site.way("x.com/a") == []
    site.backoff = {QueueKey("x.com", "a")}
    assert site.way("x.com/a", is_new=False) == ["backoff-reroute-to-virtual-mta x.com/b"]


def test_two_in_backoff_that_point_at_each_other_keep_their_mail():
    text = of_vmta("a", "backoff-reroute-to-virtual-mta b")
    text += of_vmta("b", "backoff-reroute-to-virtual-mta a")
    site = Site(text, backoff=["x.com/a", "x.com/b", "y.com/a"])
    assert site.end("x.com/a") == "x.com/a"
    assert site.end("x.com/b") == "x.com/b"
    assert site.end("y.com/a") == "y.com/b"
    assert len(site.loops) == 2


def test_a_reroute_is_in_force_although_its_target_gives_back_in_backoff():
    text = of_vmta("a", "reroute-to-virtual-mta b")
    text += of_vmta("b", "backoff-reroute-to-virtual-mta a")
    site = Site(text, backoff=["x.com/b"])
    assert site.end("x.com/a") == "x.com/b"
    assert site.end("x.com/b") == "x.com/b"


def test_a_queue_of_another_shard_might_give_back_so_it_gets_nothing():
    text = of_vmta("a", "backoff-reroute-to-virtual-mta b")
    text += of_vmta("b", "backoff-reroute-to-virtual-mta a")
    site = Site(text, backoff=["x.com/a"])
    site.unknown = {QueueKey("x.com", "b")}
    assert site.end("x.com/a") == "x.com/a"
    site = Site(of_vmta("a", "backoff-reroute-to-virtual-mta b"), backoff=["x.com/a"])
    site.unknown = {QueueKey("x.com", "b")}
    assert site.end("x.com/a") == "x.com/b"


def test_rollup_comes_after_queue_to_and_before_reroute():
    text = rollup("mx1.p.net p.rollup") + of_domain("x.com", "queue-to y.com")
    text += of_vmta("a", "reroute-to-virtual-mta b", "p.rollup")
    site = Site(text, rolled_up={"y.com": "p.rollup"})
    assert site.way("x.com/a") == [
        "queue-to y.com/a",
        "mx p.rollup/a",
        "reroute-to-virtual-mta p.rollup/b",
    ]


def test_what_is_queued_is_rolled_up_but_not_renamed():
    text = rollup("mx1.p.net p.rollup") + of_domain("x.com", "queue-to z.com")
    site = Site(text, rolled_up={"x.com": "p.rollup"})
    assert site.way("x.com/a", is_new=False) == ["mx p.rollup/a"]


@pytest.mark.parametrize(
    "lines", ["disable-mx-rollup yes", "smtp-hosts mx.x.com", "type discard"]
)  # fmt: skip
def test_rollup_is_not_for_a_domain_that_says_otherwise(lines):
    site = Site(rollup("mx1.p.net p.rollup") + of_domain("x.com", lines))
    site.rolled_up = {"x.com": "p.rollup"}
    assert site.way("x.com/a") == []


def test_a_wildcard_rolls_up_only_where_the_queue_has_hosts():
    text = rollup("*.p.net p.rollup")
    assert Site(text, rolled_up={"x.com": "p.rollup"}).way("x.com/a") == []
    text += of_vmta("a", "smtp-hosts lookup-mx:p.net", "p.rollup")
    site = Site(text, rolled_up={"x.com": "p.rollup"})
    assert site.way("x.com/a") == ["mx p.rollup/a"]
    assert site.way("x.com/b") == []


def test_mail_waits_for_the_mail_hosts_only_where_it_may_be_rolled_up():
    site = Site(rollup("mx1.p.net p.rollup") + of_domain("y.com", "disable-mx-rollup yes"))
    site.rolled_up = {"x.com": None, "y.com": None}
    assert site.redirects.must_look_up(QueueKey("x.com", "a"))
    assert not site.redirects.must_look_up(QueueKey("y.com", "a"))
    assert not site.redirects.must_look_up(QueueKey("p.rollup", "a"))


def test_a_rollup_queue_that_is_gone_is_an_orphan():
    site = Site(of_domain("mine.rollup", "smtp-hosts mx.x.com"))
    assert site.redirects.leads_away(QueueKey("p.rollup", "a")) == "mx"
    assert not site.redirects.leads_away(QueueKey("mine.rollup", "a"))


def test_cold_comes_after_renaming_and_its_own_rules_follow():
    text = of_vmta("a", "queue-to y.queue", "x.com") + of_vmta("c", "queue-to route.queue")
    asked = []

    def divert(key):
        asked.append(str(key))
        return "c"

    site = Site(text)
    assert site.way("x.com/a", divert=divert) == [
        "queue-to y.queue/a",
        "cold-virtual-mta y.queue/c",
        "queue-to route.queue/c",
    ]
    assert asked == ["y.queue/a"]


def test_a_queue_that_an_older_version_named_with_u_labels_is_emptied():
    site = Site(of_domain("bücher.example", "queue-to y.queue"))
    old = QueueKey("bücher.example", "a")
    assert site.redirects.may_lead_away(old)
    assert site.redirects.leads_away(old) == "A-labels"
    hops = site.redirects.home(old, "xn--bcher-kva.example")
    assert hops == [
        Hop("A-labels", QueueKey("xn--bcher-kva.example", "a")),
        Hop("queue-to", QueueKey("y.queue", "a")),
    ]
    assert not site.redirects.may_lead_away(QueueKey("ü" * 64, "a"))


def test_queue_to_may_name_a_domain_with_u_labels():
    site = Site(of_domain("x.com", "queue-to Bücher.queue"))
    assert site.way("x.com/a") == ["queue-to xn--bcher-kva.queue/a"]
