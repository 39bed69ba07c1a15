"""The test's own network and name server, before anything is tried on them."""

import socket
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.e2e.nameserver import Nameserver
from tests.e2e.netns import MX1, NAMESERVER, SENDER_ADDRESSES, Network

ZONE = """
example.com. 60 IN MX 10 mx.example.com.
mx.example.com. 60 IN A 198.51.100.25
alias.example.com. 60 IN CNAME mx.example.com.
deep.below.example.net. 60 IN A 198.51.100.25
""" + "\n".join(f"many.example. 60 IN TXT {number:0200}" for number in range(40))


@pytest.fixture
def nameserver():
    with Nameserver(ZONE, port=0) as server:
        yield server


def ask(server, name, kind="A", **options):
    query = dns.message.make_query(name, kind, **options)
    return dns.query.udp(query, server.address, port=server.port, timeout=5)


def test_a_record_is_answered(nameserver):
    assert "10 mx.example.com." in ask(nameserver, "example.com", "MX").answer[0].to_text()
    assert nameserver.asked("example.com", "MX") == 1


def test_an_alias_is_followed(nameserver):
    answer = ask(nameserver, "alias.example.com").answer
    assert [rrset[0].to_text() for rrset in answer] == ["mx.example.com.", "198.51.100.25"]


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("nothing.example.com", dns.rcode.NXDOMAIN),
        ("example.com", dns.rcode.NOERROR),
        ("below.example.net", dns.rcode.NOERROR),
    ],
)
def test_a_name_without_the_record_exists_or_does_not(nameserver, name, rcode):
    response = ask(nameserver, name, "AAAA")
    assert (response.rcode(), len(response.answer), len(response.authority)) == (rcode, 0, 1)


def test_it_fails_and_keeps_silent_on_request(nameserver):
    nameserver.servfail.add("example.com")
    assert ask(nameserver, "mx.example.com").rcode() == dns.rcode.SERVFAIL
    nameserver.silent.add(".")
    with pytest.raises(dns.exception.Timeout):
        dns.query.udp(
            dns.message.make_query("example.net", "A"),
            nameserver.address, port=nameserver.port, timeout=0.1,
        )  # fmt: skip


def test_a_large_answer_is_cut_on_udp_and_whole_on_tcp(nameserver):
    assert ask(nameserver, "many.example", "TXT").flags & dns.flags.TC
    query = dns.message.make_query("many.example", "TXT")
    response = dns.query.tcp(query, nameserver.address, port=nameserver.port, timeout=5)
    assert len(response.answer[0]) == 40


def test_the_sending_host_owns_its_addresses_and_reaches_the_provider(network: Network):
    with network.provider.inside():
        listener = socket.create_server((MX1, 25))
    for address in SENDER_ADDRESSES:
        with network.sender.inside():
            client = socket.create_connection((MX1, 25), timeout=5, source_address=(address, 0))
        connection, (source, _) = listener.accept()
        assert source == address
        connection.close()
        client.close()
    listener.close()


def test_nothing_else_is_reached(network: Network):
    with network.sender.inside(), pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("203.0.113.1", 25), timeout=5)


def test_the_host_asks_the_tests_own_name_server(network: Network):
    with network.provider.inside():
        server = Nameserver(ZONE, NAMESERVER)
    with server:
        assert MX1 in network.sender.run("getent", "ahostsv4", "mx.example.com")


def test_default_paths_are_private(network: Network):
    network.sender.run("mkdir", "-p", "/var/spool/pmta", "/var/log/pmta/acct")
    assert (network.directory / "spool" / "pmta").is_dir()
    assert (network.directory / "log" / "pmta" / "acct").is_dir()
    assert not Path("/var/log/pmta").exists()
