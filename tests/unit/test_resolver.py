"""What is asked of whom, and how long an answer holds."""

import random
from types import SimpleNamespace

import dns.asyncresolver
import dns.message
import dns.resolver
import pytest

from mta.daemon.hosts import EQUALS_S, LOOK_UPS_S, HostFinder
from mta.daemon.rollups import Rollups
from mta.errors import ResolveError
from mta.model.queue_key import QueueKey
from mta.model.route import NO_ROUTE, RouteHost, RouteSpec
from mta.net.resolver import LOOK_AGAIN_S, NEGATIVE_TTL_S, TTL_MIN_S, Resolver, asker_of
from mta.sim.loop import VirtualLoop
from mta.sim.zone import Zone


class Clock:
    now = 1_000_000.0


def resolver(zone, clock=None):
    return Resolver(now=lambda: (clock or Clock).now, configured=lambda _: zone)


def zone(**changes):
    return Zone(random.Random(1), latency_s=0.0, **changes)


class Saying:
    """A name server that says one thing to every question, as dnspython hears it."""

    def __init__(self, *records, authority=()):
        self.records, self.authority = records, authority

    async def resolve(self, qname, rdtype, *, search):
        asked = [f"{qname} IN {rdtype}"]
        lines = ["id 1", "opcode QUERY", "rcode NOERROR", "flags QR RD", ";QUESTION", *asked]
        response = dns.message.from_text(
            "\n".join([*lines, ";ANSWER", *self.records, ";AUTHORITY", *self.authority])
        )
        answer = dns.resolver.Answer(qname, rdtype, "IN", response)
        if answer.rrset is None:
            raise dns.resolver.NoAnswer(response=answer.response)
        return answer


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("::1", ("::1", 53)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
    ],
)
def test_a_name_server_is_an_address_of_either_family_with_a_port_of_its_own(given, asked):
    made = asker_of((given, "192.0.2.9:99"))

    assert [(one.address, one.port) for one in made.nameservers] == [asked, ("192.0.2.9", 99)]
    assert made.rotate


async def test_that_a_name_does_not_exist_is_not_believed_longer_because_nobody_answers():
    names, clock = zone(), Clock()
    some = resolver(names, clock)
    assert not (await some.mx("a.example")).exists
    names.failing.add("a.example")
    clock.now += NEGATIVE_TTL_S + 1

    with pytest.raises(ResolveError) as caught:
        await some.mx("a.example")

    assert not caught.value.permanent


async def test_what_there_was_is_better_than_nothing_for_an_hour():
    names, clock = zone(), Clock()
    names.add("a.example", "MX", "10 mx.example.")
    some = resolver(names, clock)
    await some.mx("a.example")
    names.failing.add("a.example")
    clock.now += names.ttl_s + 1

    assert (await some.mx("a.example")).records == ((10, "mx.example"),)


async def test_a_referral_is_no_answer():
    some = resolver(Saying(authority=["a.example. 60 IN NS ns.example."]))

    with pytest.raises(ResolveError, match="refers to others") as caught:
        await some.mx("a.example")

    assert not caught.value.permanent


async def test_without_records_of_the_kind_there_are_none():
    soa = "example. 60 IN SOA ns.example. admin.example. 1 2 3 4 5"

    assert not (await resolver(Saying(authority=[soa])).mx("a.example")).records


async def test_an_alias_ends_when_its_own_time_is_over():
    some = resolver(
        Saying("a.example. 10 IN CNAME b.example.", "b.example. 900 IN MX 5 c.example.")
    )
    await some.mx("a.example")

    assert some.mx_known_until("a.example") == Clock.now + 10


async def test_half_of_the_addresses_are_not_kept_for_long():
    class Half(Zone):
        fails = True

        async def resolve(self, qname, rdtype, *, search):
            if rdtype == "A" and self.fails:
                raise dns.resolver.NoNameservers
            return await super().resolve(qname, rdtype, search=search)

    names, clock = Half(random.Random(1), latency_s=0.0), Clock()
    names.add("mx.example", "A", "192.0.2.1")
    names.add("mx.example", "AAAA", "2001:db8::1")
    some = resolver(names, clock)
    assert await some.addresses("mx.example") == ("2001:db8::1",)
    names.fails = False
    clock.now += TTL_MIN_S + 1

    assert await some.addresses("mx.example") == ("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize("name", ["a" * 62 + ".b" * 100, "a..example"])
async def test_what_cannot_be_a_name_bounces(name):
    with pytest.raises(ResolveError, match="is no name") as caught:
        await resolver(zone()).mx(name)

    assert caught.value.permanent


def queue(domain):
    settings = SimpleNamespace(smtp_hosts=NO_ROUTE, default_smtp_port=25, bounce_upon_no_mx=None)
    return SimpleNamespace(key=QueueKey(domain, "v"), settings=settings, backlog=())


def finder(names, own=(), log=None):
    some = resolver(names)
    return HostFinder(some, frozenset(own), Rollups(some), *([log] if log else []))


async def first(found):
    async for host in found:
        return host.name, host.ip
    return None


async def test_equal_hosts_and_their_addresses_take_turns_in_each_of_two_queues():
    names = zone()
    for domain in ("one.example", "two.example"):
        names.add(domain, "MX", "10 a.example.", "10 b.example.")
    names.add("a.example", "A", "192.0.2.1", "192.0.2.2")
    names.add("b.example", "A", "192.0.2.3", "192.0.2.4")
    some, begun = finder(names), {"one.example": [], "two.example": []}
    for _ in range(100):
        for domain, hosts in begun.items():
            hosts.append(await first(some.find(queue(domain), "")))

    for hosts in begun.values():
        assert len(set(hosts)) == 4
        assert min(map(hosts.count, set(hosts))) > 10


@pytest.mark.parametrize(
    ("no_mx", "domain", "told"),
    [(60, "plain.example", [60]), (60, "one.example", []), (False, "plain.example", [])],
)
async def test_who_bounces_old_mail_is_told_before_the_host_of_a_domain_without_mx(
    no_mx, domain, told
):
    names = zone()
    names.add("one.example", "MX", "10 a.example.")
    for name in ("a.example", "plain.example"):
        names.add(name, "A", "192.0.2.1")
    some, found = queue(domain), []
    some.settings.bounce_upon_no_mx = no_mx

    async def without_mx(about, after):
        assert about is some
        found.append(after)

    assert await first(finder(names).find(some, "", without_mx)) is not None
    assert found == told


async def test_smtp_hosts_with_the_mx_of_a_domain_without_one_use_its_address():
    names = zone()
    names.add("plain.example", "A", "192.0.2.1")
    some = queue("x.example")
    some.settings.smtp_hosts = RouteSpec(((RouteHost("plain.example", None, True),),))
    some.settings.bounce_upon_no_mx = True

    assert await first(finder(names).find(some, "")) == ("plain.example", "192.0.2.1")


async def test_hosts_of_another_family_than_the_source_are_named_as_the_cause():
    names = zone()
    names.add("one.example", "MX", "10 a.example.")
    names.add("a.example", "AAAA", "2001:db8::1")

    with pytest.raises(ResolveError, match="no compatible source IP configured") as caught:
        await first(finder(names).find(queue("one.example"), "192.0.2.1"))

    assert not caught.value.permanent


async def every(found):
    return [host.name async for host in found]


async def test_an_equal_of_this_host_gets_nothing_whoever_comes_first():
    names = zone()
    names.add(
        "one.example", "MX", "5 z.example.", "10 a.example.", "10 b.example.", "20 c.example."
    )
    for number, host in enumerate("zabc", 1):
        names.add(f"{host}.example", "A", f"192.0.2.{number}")
    some = finder(names, own=["192.0.2.3"])

    for _ in range(10):
        assert await every(some.find(queue("one.example"), "")) == ["z.example"]


def in_virtual_time(work):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work), loop.time()
    finally:
        loop.close()


def many_mx(silent, *others):
    names = zone()
    hosts = [*silent, *others]
    names.add("one.example", "MX", *(f"{n} {host}." for n, host in enumerate(hosts, 1)))
    names.silent.update(silent)
    return names


def test_one_connection_waits_for_the_dns_so_long_and_then_takes_what_is_known():
    silent = [f"mx{n}.example" for n in range(20)]
    names = many_mx(silent, "known.example", "unknown.example")
    names.add("known.example", "A", "192.0.2.1")
    names.add("unknown.example", "A", "192.0.2.2")
    log = []
    some = finder(names, log=log.append)

    async def work():
        await some._resolver.addresses("known.example")
        return await every(some.find(queue("one.example"), ""))

    found, took_s = in_virtual_time(work())

    assert found == ["known.example"]
    assert LOOK_UPS_S <= took_s < LOOK_UPS_S + 1
    (line,) = log
    assert line.startswith("one.example/v: the name servers took more than 60 s, and mx")
    assert "and 19 more were not looked up" in line


def test_what_the_time_for_the_dns_was_too_short_for_is_tried_again_later():
    names = many_mx([f"mx{n}.example" for n in range(20)])

    with pytest.raises(ResolveError, match="took more than 60 s") as caught:
        in_virtual_time(every(finder(names).find(queue("one.example"), "")))

    assert not caught.value.permanent


def test_an_equal_host_that_is_not_looked_up_holds_up_the_others_for_a_moment_only():
    names = zone()
    names.add("one.example", "MX", "10 a.example.", "10 b.example.", "10 c.example.")
    names.silent.update(["b.example", "c.example"])
    names.add("a.example", "A", "192.0.2.1")
    some = finder(names)

    async def work():
        while (found := await first(some.find(queue("one.example"), ""))) is None:
            pass
        return found

    hosts = some._turns
    hosts.getrandbits = lambda _: 0
    found, took_s = in_virtual_time(work())

    assert found == ("a.example", "192.0.2.1")
    assert took_s <= EQUALS_S + 1


@pytest.fixture
def asked(monkeypatch, tmp_path):
    file, servers = tmp_path / "resolv.conf", []
    clock = Clock()

    async def resolve(asker, *_, **__):
        servers[:] = map(str, asker.nameservers)
        raise dns.resolver.NXDOMAIN

    monkeypatch.setattr(dns.asyncresolver.Resolver, "resolve", resolve)
    some = Resolver(now=lambda: clock.now, resolv_conf=str(file))

    async def ask(content=None, after_s=LOOK_AGAIN_S):
        if content is None:
            file.unlink(missing_ok=True)
        else:
            new = file.with_suffix(".new")
            new.write_text(content)
            new.replace(file)
        clock.now += after_s
        some.clear("*")
        await some.mx("one.example")
        return list(servers)

    return ask


async def test_servers_that_the_system_gets_are_asked_from_then_on(asked):
    old, new = "nameserver 192.0.2.1\n", "nameserver 192.0.2.2\nnameserver 192.0.2.3\n"
    assert await asked(old) == ["192.0.2.1"]
    assert await asked(new, after_s=LOOK_AGAIN_S - 1) == ["192.0.2.1"]
    assert await asked(new, after_s=1) == ["192.0.2.2", "192.0.2.3"]


@pytest.mark.parametrize("broken", [None, "", "# being written\n", "nameserver nonsense\n"])
async def test_a_file_that_names_no_server_takes_none_away(asked, broken):
    assert await asked("nameserver 192.0.2.1\n") == ["192.0.2.1"]
    assert await asked(broken) == ["192.0.2.1"]
    assert await asked("nameserver 192.0.2.2\n") == ["192.0.2.2"]


@pytest.mark.parametrize("broken", [None, "", "nameserver nonsense\n"])
async def test_a_start_without_servers_defers_until_there_are_some(asked, broken):
    with pytest.raises(ResolveError, match="no name server") as caught:
        await asked(broken)
    assert not caught.value.permanent
    assert await asked("nameserver 192.0.2.2\n") == ["192.0.2.2"]
