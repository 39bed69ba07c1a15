from types import SimpleNamespace

import pytest

from mta.address import domain_of
from mta.model.pattern_list import Selection
from mta.routing.pattern_match import Match
from mta.routing.pool import Turns
from mta.routing.relay import may_relay
from mta.routing.select import Choice, choose, wish
from tests.texts import configured


class Configuration:
    def __init__(self, fallback="", domains=None):
        self.root = SimpleNamespace(invalid_virtual_mta_fallback=fallback)
        self._domains = domains or {}
        self._vmtas = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}

    def vmta(self, name):
        ip = self._vmtas.get(name.lower())
        return ip and SimpleNamespace(name=name.lower(), smtp_source_host=((ip, "x"),))

    def vmta_sending_from(self, ip):
        return next((self.vmta(name) for name, own in self._vmtas.items() if own == ip), None)

    def pool(self, name):
        return SimpleNamespace(name="p", virtual_mta=("a", "b")) if name == "p" else None

    def domain_vmtas(self, domain):
        return self._domains.get(domain, ())


def source(**changes):
    values = {
        "process_x_virtual_mta": True,
        "allow_empty_x_virtual_mta": False,
        "reject_invalid_virtual_mta": False,
        "default_virtual_mta": "",
    }
    return SimpleNamespace(**(values | changes))


def chosen(
    header=None, *, match=None, domains=None, fallback="", listener_ip="", turns=None, **changes
):
    configuration, rules = Configuration(fallback, domains), source(**changes)
    wanted = wish(configuration, rules, header, match)
    if wanted.error:
        return wanted
    turns = turns or Turns()
    return choose(configuration, rules, "d.example", wanted.name, turns, listener_ip=listener_ip)


def listed(name):
    return Match(Selection(name), "l", "/c:3")


SPREAD_OVER_C = {"d.example": ("c",)}
SPREAD = {"d.example": ("b", "c")}


@pytest.mark.parametrize(
    ("given", "vmta"),
    [
        ({}, "{default}"),
        ({"default_virtual_mta": "c"}, "c"),
        ({"default_virtual_mta": "c", "domains": {"d.example": ("b",)}}, "b"),
        ({"default_virtual_mta": "c", "domains": {"d.example": ("b",)}, "header": "a"}, "a"),
        ({"header": "a", "process_x_virtual_mta": False}, "{default}"),
        ({"header": " A "}, "a"),
        ({"default_virtual_mta": "by-smtp-source-ip", "listener_ip": "192.0.2.2"}, "b"),
        ({"default_virtual_mta": "by-smtp-source-ip", "listener_ip": "192.0.2.9"}, "{default}"),
        ({"default_virtual_mta": "By-SMTP-Source-IP", "listener_ip": "192.0.2.2"}, "b"),
        ({"header": "gone", "fallback": "b"}, "b"),
        ({"header": "gone"}, "gone"),
        ({"header": "", "allow_empty_x_virtual_mta": True}, "{default}"),
        ({"header": ""}, "{none}"),
        ({"header": "", "fallback": "b"}, "b"),
        ({"header": "by-smtp-source-ip", "listener_ip": "192.0.2.2"}, "{none}"),
        ({"header": "By-SMTP-Source-IP", "fallback": "b"}, "b"),
        ({"match": listed("b"), "default_virtual_mta": "c", "domains": SPREAD_OVER_C}, "b"),
        ({"match": listed("b"), "header": "a"}, "a"),
        ({"match": listed("b"), "header": "a", "process_x_virtual_mta": False}, "b"),
        ({"match": listed(""), "default_virtual_mta": "c"}, "{default}"),
        ({"match": listed(None), "default_virtual_mta": "c"}, "c"),
        ({"match": listed("by-smtp-source-ip"), "listener_ip": "192.0.2.3"}, "c"),
    ],
)
def test_who_says_it_first_decides(given, vmta):
    assert chosen(**given).vmta == vmta


def test_a_name_that_does_not_exist_is_refused_where_told_to():
    refused = chosen("gone", reject_invalid_virtual_mta=True)
    assert refused.error == "5.5.0 specified Virtual MTA 'gone' does not exist"
    assert chosen("", reject_invalid_virtual_mta=True).error.endswith("'' does not exist")
    assert chosen("by-smtp-source-ip", reject_invalid_virtual_mta=True).error


def test_a_name_that_comes_with_a_message_cannot_grow_or_break_the_reply():
    refused = chosen("é\n" + "x" * 5000, reject_invalid_virtual_mta=True)
    assert refused.error == f"5.5.0 specified Virtual MTA '??{'x' * 98}' does not exist"


def test_which_line_chose_is_known():
    configuration, rules = Configuration("b"), source()
    assert wish(configuration, rules, None, listed("a")).by == "pattern-list l (/c:3)"
    assert wish(configuration, rules, "a", None).by == ""
    fell_back = wish(configuration, rules, "gone", None)
    assert fell_back.by == "invalid-virtual-mta-fallback, as it asked for 'gone'"


def test_a_pool_serves_in_turn():
    turns = Turns()
    assert [chosen("p", turns=turns) for _ in range(3)] == [
        Choice("a", "p"),
        Choice("b", "p"),
        Choice("a", "p"),
    ]


def test_a_domain_is_spread_over_its_lines_in_turn():
    turns = Turns()
    assert [chosen(domains=SPREAD, turns=turns).vmta for _ in range(4)] == ["b", "c", "b", "c"]


def test_each_domain_has_its_own_turn():
    turns = Turns()
    members = ("a", "b")
    for domain in ("one.example", "two.example"):
        seen = [turns.next("p", members, domain) for _ in range(4)]
        assert sorted(seen) == ["a", "a", "b", "b"]


def test_domains_with_one_message_each_are_spread_too():
    turns = Turns()
    seen = [turns.next("p", ("a", "b"), f"{n}.example") for n in range(10)]
    assert seen.count("a") == 5


def pattern(text):
    return SimpleNamespace(matches=lambda what: what == text)


RELAY = """
host-name Mx.Sender.Example.
relay-domain bücher.example
relay-domain *.deep.example.
relay-address "Otto"@example.com.
relay-address /^ann@example\\.com$/
"""


@pytest.mark.parametrize(
    ("rcpt", "may"),
    [
        ("x@mx.sender.example", True),
        ("x@MX.sender.example.", True),
        ("x@xn--bcher-kva.example", True),
        ("x@Bücher.example.", True),
        ("x@a.deep.example.", True),
        ("otto@example.com", True),
        ('"otto"@EXAMPLE.com.', True),
        ('"ann"@example.com.', True),
        ("x@example.com.", False),
        ("x@bücher.example.evil.example", False),
        ('"x@bücher.example"@evil.example', False),
        ("otto@example.com.evil.example", False),
        ('"otto@example.com"@evil.example', False),
        ("x@deep.example.", False),
    ],
)
def test_no_spelling_opens_or_closes_a_relay(rcpt, may):
    assert may is may_relay(
        configured(RELAY),
        SimpleNamespace(always_allow_relaying=False),
        is_local_client=False,
        source_matched=True,
        domain=domain_of(rcpt),
        address=rcpt,
    )


def relay(*, allow=False, local=False, matched=False, domains=(), addresses=()):
    return may_relay(
        SimpleNamespace(
            relay_domain=list(map(pattern, domains)), relay_address=list(map(pattern, addresses))
        ),
        SimpleNamespace(always_allow_relaying=allow),
        is_local_client=local,
        source_matched=matched,
        domain="d.example",
        address="u@d.example",
    )


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ({}, False),
        ({"local": True}, True),
        ({"local": True, "matched": True}, False),
        ({"matched": True, "allow": True}, True),
        ({"matched": True}, False),
        ({"domains": ("d.example",)}, True),
        ({"domains": ("other.example",)}, False),
        ({"addresses": ("u@d.example",)}, True),
    ],
)
def test_who_may_relay(given, may):
    assert relay(**given) is may
