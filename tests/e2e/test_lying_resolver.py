"""A resolver that lies: mail waits or bounces as documented and goes to no wrong host.

What was said of one name is believed of no other.
"""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest

from tests.e2e.daemon import accounting_rows, stays, until
from tests.e2e.netns import MX1, MX2
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 90
EVIL = "mx2.provider.example."
"""Where the lies would have mail go."""


def as_sent(response):
    return response.to_wire(max_size=65535)


def another_id(response, _):
    response.id ^= 0x5555
    return as_sent(response)


def another_question(response, _):
    for part in (response.question, response.answer):
        for rrset in part:
            rrset.name = dns.name.from_text("another.example.")
    return as_sent(response)


def no_response(response, _):
    response.flags &= ~dns.flags.QR
    return as_sent(response)


def garbage(response, _):
    return bytes(range(256))


def nothing(response, _):
    return b"\0"


def cut_short(response, _):
    return as_sent(response)[:-7]


def cut_short_by_tcp(response, transport):
    if transport == "udp":
        response.flags |= dns.flags.TC
        response.answer.clear()
        return as_sent(response)
    return as_sent(response)[:20]


def pointing_at_itself(response, _):
    """The name in the answer is compressed to a pointer to that pointer."""
    wire = bytearray(as_sent(response))
    at = wire.index(b"\xc0\x0c")
    wire[at : at + 2] = bytes([0xC0 | at >> 8, at & 255])
    return bytes(wire)


WAITS = {
    "id.example": another_id,
    "question.example": another_question,
    "query.example": no_response,
    "garbage.example": garbage,
    "nothing.example": nothing,
    "short.example": cut_short,
    "tcp.example": cut_short_by_tcp,
    "pointer.example": pointing_at_itself,
}
LYING = [*WAITS, "stray.example", "circle.example"]
HONEST = f"""
two.example. 60 IN MX 10 mx1.provider.example.
mx1.provider.example. 60 IN A {MX1}
mx2.provider.example. 60 IN A {MX2}
"""


def zone_of(host, *more):
    """Every name that is lied about has that host for its mail."""
    named = "".join(f"{name}. 60 IN MX 10 {host}\n" for name in LYING[:-1])
    return HONEST + named + "\n".join(more)


@pytest.fixture
def config(site, tmp_path):
    path = site.network.directory / "dns.conf"
    (tmp_path / "acct").mkdir()
    path.write_text(
        f"host-name mta.sender.example\npostmaster p@sender.example\nlog-file {tmp_path}/pmta.log\n"
        f"smtp-listener 192.168.1.1:25\n<spool {tmp_path}/spool>\n</spool>\n"
        f"<acct-file {tmp_path}/acct/acct.csv>\nrecords d,b,t,tq\n</acct-file>\n"
        "<domain sender.example>\ndeliver-local-dsn no\n</domain>\n"
        "<domain *>\nconnect-timeout 2s\nretry-after 1s\nretry-after-dns-error 1s\n</domain>\n"
    )
    return path


@pytest.fixture
def rows(tmp_path):
    return lambda kinds: accounting_rows(tmp_path / "acct", kinds)


async def test_what_is_no_answer_to_the_question_has_mail_wait_for_one_that_is(site, config, rows):
    circle = "circle.example. 60 IN CNAME b.example.\nb.example. 60 IN CNAME circle.example."
    site.nameserver.replace(zone_of(EVIL, circle))
    site.nameserver.lies |= {f"{name}.": lie for name, lie in WAITS.items()}
    site.nameserver.stray.add("stray.example.")
    async with site.running(config) as daemon:
        await site.submit(*(Letter(f"r@{name}") for name in LYING), *letters(1, "two.example"))
        await until(lambda: rows("d"), WAIT_S)

        await until(lambda: len(rows("tq")) >= len(LYING), WAIT_S, daemon.said)
        assert [row["rcpt"] for row in rows("d")] == ["r0@two.example"]
        assert {row["dsnStatus"][:5] for row in rows("tq")} == {"4.4.3"}
        site.nameserver.replace(zone_of("mx1.provider.example.", "circle.example. MX 10 " + EVIL))
        site.nameserver.lies.clear()
        site.nameserver.stray.clear()
        await until(lambda: len(rows("d")) == len(LYING) + 1, WAIT_S, daemon.said)
    assert {received.rcpt for received in site.mx2.journal} == {"r@circle.example"}
    assert len(site.mx1.journal) == len(LYING)
    assert rows("b") == []


async def test_what_was_not_asked_is_not_believed(site, config, rows):
    """Records of other names in an answer, where all of it is said of one that was asked."""

    def poison(response, _):
        for section in (response.answer, response.authority, response.additional):
            for name, kind, value in (
                ("mx1.provider.example.", "A", MX2),
                ("two.example.", "MX", f"5 {EVIL}"),
            ):
                section.append(dns.rrset.from_text(name, 3600, "IN", kind, value))
        return as_sent(response)

    site.nameserver.replace(f"{HONEST}poison.example. 60 IN MX 10 mx2.provider.example.")
    site.nameserver.lies["poison.example."] = poison
    async with site.running(config):
        await site.submit(*letters(1, "poison.example"))
        await until(lambda: rows("d"), WAIT_S)
        await site.submit(*letters(1, "two.example"))
        await until(lambda: len(rows("d")) == 2, WAIT_S)
    assert [received.rcpt for received in site.mx2.journal] == ["r0@poison.example"]
    assert [received.rcpt for received in site.mx1.journal] == ["r0@two.example"]


async def test_an_answer_of_thousands_of_hosts_is_used_as_far_as_it_goes(site, config, rows):
    many = "\n".join(f"huge.example. 60 IN MX 20 nowhere{n}.example." for n in range(1500))
    site.nameserver.replace(f"{HONEST}{many}\nhuge.example. 60 IN MX 10 mx1.provider.example.")
    async with site.running(config):
        await site.submit(*letters(3, "huge.example"))
        await until(lambda: len(rows("d")) == 3, WAIT_S)
    assert "tcp" in site.nameserver.transports
    assert len(site.mx1.journal) == 3


async def test_a_name_that_is_said_not_to_exist_bounces_and_no_other_does(site, config, rows):
    def denied(response, _):
        response.set_rcode(dns.rcode.NXDOMAIN)
        response.answer.clear()
        return as_sent(response)

    site.nameserver.replace(f"{HONEST}gone.example. 60 IN MX 10 mx1.provider.example.")
    site.nameserver.lies["gone.example."] = denied
    async with site.running(config):
        await site.submit(*letters(1, "gone.example"), *letters(1, "two.example"))
        await until(lambda: len(rows("d,b")) == 2, WAIT_S)
    assert [(row["rcpt"], row["dsnStatus"][:5]) for row in rows("b")] == [
        ("r0@gone.example", "5.1.2")
    ]


LOOPS = {
    "own.example": "own.example. 60 IN MX 10 a.example.\na.example. 60 IN A 192.168.1.1",
    "loopback.example": "loopback.example. 60 IN MX 10 b.example.\nb.example. 60 IN A 127.0.0.2",
    "none.example": "none.example. 60 IN MX 10 c.example.\nc.example. 60 IN A 0.0.0.0",
    "six.example": "six.example. 60 IN MX 10 d.example.\nd.example. 60 IN AAAA ::1",
    "mapped.example": "mapped.example. 60 IN MX 10 e.example.\n"
    "e.example. 60 IN AAAA ::ffff:127.0.0.1",
    "implicit.example": "implicit.example. 60 IN A 127.0.0.1",
    "before.example": "before.example. 60 IN MX 5 a.example.\n"
    "before.example. 60 IN MX 10 mx1.provider.example.",
}


async def test_a_foreign_domain_that_points_here_makes_no_loop(site, config, rows):
    site.nameserver.replace(
        f"{HONEST}{chr(10).join(LOOPS.values())}\n"
        "after.example. 60 IN MX 20 a.example.\nafter.example. 60 IN MX 10 mx1.provider.example.\n"
    )
    async with site.running(config):
        await site.submit(*(Letter(f"r@{name}") for name in (*LOOPS, "after.example")))
        await until(lambda: len(rows("d,b")) == len(LOOPS) + 1, WAIT_S)
        await stays(lambda: len(rows("d,b")), 1)
    assert {row["rcpt"]: row["dsnStatus"][:5] for row in rows("b")} == {
        f"r@{name}": "5.4.6" for name in LOOPS
    }
    assert [received.rcpt for received in site.journal] == ["r@after.example"]
