from types import SimpleNamespace

import pytest

from mta.model.dns_answer import MxAnswer
from mta.model.host import Host
from mta.model.route import NO_ROUTE, RouteHost, RouteSpec
from mta.routing.hosts import Failure, Plan, Walk, plan, plan_mx

OWN = frozenset({"192.0.2.1", "2001:db8::1"})


def settings(route=NO_ROUTE, no_mx=None):
    return SimpleNamespace(smtp_hosts=route, default_smtp_port=25, bounce_upon_no_mx=no_mx)


def mx(*records, **changes):
    return plan_mx("d.example", MxAnswer(records, **changes), settings())


def names(found, turn=0):
    return [host.name for host in found.ordered(turn)]


def test_hosts_are_tried_by_preference():
    assert names(mx((20, "b.example"), (10, "a.example"), (30, "c.example"))) == [
        "a.example",
        "b.example",
        "c.example",
    ]


def test_equal_hosts_take_turns():
    found = mx((10, "a.example"), (10, "b.example"), (20, "c.example"))
    assert names(found, 0) == ["a.example", "b.example", "c.example"]
    assert names(found, 1) == ["b.example", "a.example", "c.example"]


def test_a_host_named_twice_is_tried_once():
    assert names(mx((10, "A.example."), (20, "a.example"))) == ["a.example"]


def test_a_null_mx_accepts_no_mail():
    """RFC 7505."""
    found = mx(is_null=True)
    assert isinstance(found, Failure)
    assert (found.status, found.bounce) == ("5.1.10", True)


def test_a_domain_that_does_not_exist_bounces():
    found = mx(exists=False)
    assert (found.status, found.bounce) == ("5.1.2", True)


def test_without_mx_the_domain_itself_is_the_host():
    found = mx()
    assert names(found) == ["d.example"]
    assert found.is_implicit


def test_without_mx_mail_bounces_if_told_to():
    found = plan_mx("d.example", MxAnswer(()), settings(no_mx=True))
    assert (found.status, found.bounce) == ("5.4.4", True)


@pytest.mark.parametrize("no_mx", [False, None, 4 * 3600])
def test_without_mx_the_domain_itself_is_the_host_until_mail_is_too_old(no_mx):
    found = plan_mx("d.example", MxAnswer(()), settings(no_mx=no_mx))
    assert (names(found), found.is_implicit) == (["d.example"], True)


def test_a_host_of_the_configuration_needs_no_mx():
    found = plan_mx("d.example", MxAnswer(()), settings(no_mx=True), is_route=True)
    assert names(found) == ["d.example"]


@pytest.mark.parametrize(
    ("domain", "ip"),
    [("[192.0.2.9]", "192.0.2.9"), ("[IPv6:2001:db8::9]", "2001:db8::9")],
)
def test_an_address_literal_is_its_host(domain, ip):
    found = plan(domain, settings())
    walk = Walk(domain, found, OWN)
    assert walk.literal(walk.next()) == ip


def test_a_literal_that_is_none_bounces():
    assert plan("[nonsense]", settings()).status == "5.1.2"


def test_an_ordinary_domain_asks_for_its_mx():
    assert plan("d.example", settings()) is None


def test_a_route_needs_no_mx():
    route = RouteSpec(((RouteHost("relay.example"),), (RouteHost("[192.0.2.1]", 2525),)))
    found = plan("d.example", settings(route))
    assert found.groups == ((RouteHost("relay.example", 25),), (RouteHost("[192.0.2.1]", 2525),))
    assert found.is_route


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1"])
def test_an_mx_that_points_to_loopback_is_passed_over(ip):
    walk = Walk("d.example", mx((10, "a.example"), (20, "b.example")), OWN)
    assert walk.addresses(walk.next(), [ip]) == ()
    assert walk.addresses(walk.next(), ["198.51.100.1"]) == (Host("b.example", "198.51.100.1"),)
    assert walk.failure is None


def test_an_mx_that_is_this_host_ends_the_way():
    walk = Walk("d.example", mx((10, "a.example"), (20, "b.example")), OWN)
    assert walk.addresses(walk.next(), ["192.0.2.1"]) == ()
    assert walk.next() is None
    assert (walk.failure.status, walk.failure.bounce) == ("5.4.6", True)


@pytest.mark.parametrize("turn", [0, 1])
def test_hosts_as_near_as_this_one_are_not_used_in_whichever_order_they_come(turn):
    """RFC 5321 §5.1."""
    walk = Walk("d.example", mx((5, "z.example"), (10, "a.example"), (10, "b.example")), OWN, turn)
    assert walk.next().name == "z.example"
    assert walk.equals == ()
    assert walk.addresses(RouteHost("z.example", 25), ["198.51.100.1"])
    first = walk.next().name
    assert {first, *walk.equals} == {"a.example", "b.example"}
    assert walk.is_ours(["198.51.100.2", "192.0.2.1"])
    assert walk.next() is None


def test_equal_hosts_elsewhere_are_used():
    walk = Walk("d.example", mx((10, "a.example"), (10, "b.example")), OWN)
    walk.next()
    assert not walk.is_ours(["198.51.100.1", "127.0.0.1"])
    assert walk.next().name == "b.example"
    assert walk.equals == ()


def routed(*hosts):
    return Walk("d.example", plan("d.example", settings(RouteSpec(tuple(hosts)))), OWN)


LOOK_UP, RELAY = RouteHost("other.example", lookup_mx=True), RouteHost("relay.example")


@pytest.mark.parametrize(
    "answer",
    [mx((10, "a.example"), (20, "b.example")), plan_mx("o.example", MxAnswer(()), settings())],
)
def test_a_route_goes_on_behind_an_mx_answer_that_leads_here(answer):
    walk = routed((LOOK_UP,), (RELAY,))
    walk.expand(walk.next(), answer)
    assert walk.addresses(walk.next(), ["192.0.2.1"]) == ()
    assert walk.next().name == "relay.example"
    assert walk.addresses(RELAY, ["192.0.2.1"]) == (Host("relay.example", "192.0.2.1"),)


def test_a_route_that_only_leads_here_waits_for_the_operator_and_says_why():
    walk = routed((LOOK_UP,))
    walk.expand(walk.next(), mx((10, "a.example"), (20, "b.example")))
    assert walk.addresses(walk.next(), ["192.0.2.1"]) == ()
    assert walk.next() is None
    assert (walk.failure.status, walk.failure.bounce) == ("4.4.4", False)
    assert "comes back to this host" in walk.failure.text


def test_a_host_that_the_route_names_itself_is_used_though_an_mx_answer_has_it_too():
    walk = routed((LOOK_UP,), (RouteHost("a.example"),))
    walk.expand(walk.next(), mx((10, "a.example")))
    assert walk.addresses(walk.next(), ["192.0.2.1"]) == ()
    assert walk.addresses(walk.next(), ["192.0.2.1"]) == (Host("a.example", "192.0.2.1"),)


def test_a_route_may_point_here():
    found = plan("d.example", settings(RouteSpec(((RouteHost("localhost", 2525),),))))
    walk = Walk("d.example", found, OWN)
    assert walk.addresses(walk.next(), ["127.0.0.1"]) == (Host("localhost", "127.0.0.1", 2525),)


def test_addresses_of_a_host_take_turns():
    ips = ["198.51.100.1", "198.51.100.2"]
    first = [Walk("d.example", mx((10, "a.example")), OWN, turn) for turn in (0, 1)]
    assert [walk.addresses(walk.next(), ips)[0].ip for walk in first] == ips


@pytest.mark.parametrize(
    ("permanent", "status", "bounce"), [(True, "5.4.4", True), (False, "4.4.3", False)]
)
def test_hosts_without_address(permanent, status, bounce):
    walk = Walk("d.example", mx((10, "a.example")), OWN)
    walk.next()
    walk.unresolved(permanent=permanent)
    assert (walk.failure.status, walk.failure.bounce) == (status, bounce)


def test_a_route_that_does_not_work_never_bounces():
    found = plan("d.example", settings(RouteSpec(((RouteHost("gone.example"),),))))
    walk = Walk("d.example", found, OWN)
    walk.next()
    walk.unresolved(permanent=True)
    assert not walk.failure.bounce


def test_a_route_may_ask_for_the_mx_of_a_domain():
    route = Plan(((RouteHost("other.example", 2525, lookup_mx=True),),), is_route=True)
    walk = Walk("d.example", route, OWN)
    walk.expand(walk.next(), mx((10, "mx.other.example")))
    host = walk.next()
    assert host == RouteHost("mx.other.example", 2525)
    assert walk.addresses(host, ["127.0.0.1"]) == ()
