"""What the DNS says now of a domain's mail hosts is shown, and whether one of them answers."""

import asyncio
import json
import re
from xml.etree import ElementTree as ET

import pytest

from mta import cli
from mta.admin.protocol import Exit
from tests.e2e.nameserver import Nameserver
from tests.e2e.scripted_peer import ScriptedPeer

ZONE = """
a.example. 60 IN MX 20 mx2.a.example.
a.example. 60 IN MX 5 MX1.a.example.
mx1.a.example. 30 IN A 127.0.0.1
mx1.a.example. 30 IN AAAA 2001:db8::25
mx2.a.example. 30 IN A 192.0.2.27
plain.example. 60 IN A 192.0.2.1
null.example. 60 IN MX 0 .
nowhere.example. 60 IN MX 10 none.example.
xn--bcher-kva.example. 60 IN A 192.0.2.2
"""
DOM = """status="StatusOk"
host[0].pref="5"
host[0].name="mx1.a.example"
host[0].ip[0]="127.0.0.1"
host[0].ip[1]="2001:db8::25"
host[1].pref="20"
host[1].name="mx2.a.example"
host[1].ip[0]="192.0.2.27"
"""


@pytest.fixture
def server():
    with Nameserver(ZONE, port=0) as server:
        yield server


@pytest.fixture
def resolve(server, tmp_path, capsys):
    """Types the command; how it ends, and what it says."""
    config = tmp_path / "petrel.conf"

    def typed(*words, port=25):
        config.write_text(
            f"host-name us.example\nname-server {server.address}:{server.port}\n"
            f"spool {tmp_path}\n"
            f"<domain *>\ndefault-smtp-port {port}\nconnect-timeout 1s\n</domain>\n"
        )
        code = cli.main(["resolve", *words, "--config", str(config)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return typed


def test_programs_get_status_and_hosts_as_powermta_names_them(resolve):
    assert resolve("--dom", "a.example") == (Exit.DONE, DOM)
    _, xml = resolve("--xml", "a.example")
    assert [e.text for e in ET.fromstring(xml).findall("data/host/name")] == [
        "mx1.a.example", "mx2.a.example",
    ]  # fmt: skip
    _, document = resolve("--json", "A.Example.")
    assert json.loads(document)["data"]["hosts"][0]["ips"] == ["127.0.0.1", "2001:db8::25"]


def test_people_see_questions_answers_and_a_table(resolve, server):
    code, said = resolve("a.example")
    assert code == Exit.DONE
    assert f"Querying {server.address} over UDP about MX a.example\n" in said
    assert "answers:     ttl=60\n    a.example. 60 IN MX " in said
    assert "\n    a.example. 60 IN MX 20 mx2.a.example.\n" in said
    assert "status = StatusOk\n" in said
    assert "\n   5 mx1.a.example 127.0.0.1 2001:db8::25\n  20 mx2.a.example 192.0.2.27\n" in said


def test_tcp_edns_and_packets_are_as_asked_for(resolve, server):
    _, said = resolve("--tcp", "--edns", "--dumppackets", "plain.example")
    assert set(server.transports) == {"tcp"}
    assert "over TCP about MX plain.example\n    " in said
    dumped = "".join(re.findall(r"^    ([0-9A-F]{2,32}) ", said, re.MULTILINE))
    assert b"\5plain".hex().upper() in dumped
    assert "00010000000000010" in dumped, "one question, and the OPT record of EDNS besides"
    assert "    0" not in resolve("plain.example")[1].partition("pref")[0]


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        ("null.example", "null.example accepts no mail (null MX)"),
        ("none.example", "none.example does not exist"),
        ("nowhere.example", "nowhere.example does not exist"),
        ("broken.example", "StatusDnsQueryFailed resolving broken.example"),
    ],
)
def test_a_domain_that_no_mail_can_go_to_says_why(resolve, server, domain, status):
    server.servfail.add("broken.example")
    assert resolve("--dom", domain)[1].startswith(f'status="{status}"\n')
    code, said = resolve(domain)
    assert code == Exit.REFUSED
    assert f"status = {status}\n" in said


def test_a_domain_without_mx_is_its_own_host_and_may_be_spelled_in_any_way(resolve):
    assert "   0 plain.example 192.0.2.1\n" in resolve("plain.example")[1]
    assert "   0 xn--bcher-kva.example 192.0.2.2\n" in resolve("bücher.example")[1]


@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_the_first_host_that_is_there_is_greeted(resolve):
    async with ScriptedPeer() as peer:
        words = ("--connect", "--source=me.example,127.0.0.1", "a.example")
        code, said = await asyncio.to_thread(resolve, *words, port=peer.port)
        assert code == Exit.DONE
        assert peer.heard == ["EHLO me.example", "QUIT"]
        assert ">>> 220 peer.example ESMTP\n<<< EHLO me.example\n" in said
        _, document = await asyncio.to_thread(resolve, "--json", *words, port=peer.port)
        assert ">>> 220 peer.example ESMTP" in json.loads(document)["data"]["lines"]
        port = peer.port
    code, said = await asyncio.to_thread(resolve, *words[:1], *words[2:], port=port)
    assert code == Exit.REFUSED
    assert "ECONNREFUSED" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--use-dane"], "--use-dane: DANE is not applied yet"),
        (["--interactive"], "openssl s_client"),
        (["--source=me.example"], "expected an IP address"),
    ],
)
def test_what_is_not_there_is_said(resolve, words, said):
    code, text = resolve(*words, "a.example")
    assert code == Exit.USAGE
    assert said in text


def test_another_server_may_be_asked(resolve, server):
    other = f"{server.address}:{server.port}"
    assert resolve(f"--server={other}", "plain.example")[0] == Exit.DONE
    code, said = resolve("--server=mine", "plain.example")
    assert code == Exit.REFUSED
    assert "--server=IP[:PORT]: expected an address" in said


SPF = """
ours.example. 60 IN TXT "v=spf1 ip4:192.0.2.1 include:spf.example -all"
spf.example. 60 IN TXT "v=spf1 ip4:198.51.100.0/24 ~all"
twice.example. 60 IN TXT "v=spf1 -all"
twice.example. 60 IN TXT "v=spf1 +all"
"""


@pytest.fixture
def spf(server, tmp_path, capsys):
    """Types `check spf`; how it ends, and what it says."""
    server.replace(SPF)
    config = tmp_path / "petrel.conf"
    config.write_text(f"name-server {server.address}:{server.port}\nspool {tmp_path}\n")

    def typed(*words):
        code = cli.main(["check", "spf", *words, "--config", str(config)])
        said = capsys.readouterr()
        return code, said.out + said.err

    return typed


@pytest.mark.parametrize(
    ("words", "code", "result"),
    [
        (["192.0.2.1", "ours.example"], Exit.DONE, "pass: ip4:192.0.2.1 of ours.example"),
        (["198.51.100.7", "x.example", "<a@ours.example>"], Exit.DONE, "pass: include:spf.example"),
        (["192.0.2.9", "x.example", "a@ours.example"], Exit.REFUSED, "fail: all of ours.example"),
        (["192.0.2.9", "spf.example"], Exit.REFUSED, "softfail: all of spf.example"),
        (["192.0.2.9", "none.example"], Exit.DONE, "none: none.example has no SPF record"),
        (
            ["192.0.2.9", "twice.example"],
            Exit.REFUSED,
            "permerror: twice.example has 2 SPF records",
        ),
    ],
)
def test_spf_of_a_client_is_checked_as_a_receiver_would(spf, words, code, result):
    ended, said = spf(*words)
    assert ended == code
    assert said.splitlines()[-1].startswith(result)


def test_spf_is_told_to_programs_and_asked_over_tcp(spf, server):
    _, document = spf("--json", "--tcp", "192.0.2.9", "x.example", "a@ours.example")
    found = json.loads(document)
    assert (found["status"], found["data"]["result"]) == ("error", "fail")
    assert found["data"]["domain"] == "ours.example"
    assert set(server.transports) == {"tcp"}
    assert "TXT ours.example: 1 strings" in found["data"]["lines"]
    assert b"v=spf1".hex().upper()[:8] in spf("--dumppackets", "192.0.2.1", "ours.example")[1]


def test_what_is_no_address_is_a_usage_error(spf):
    code, said = spf("ours.example", "192.0.2.1")
    assert code == Exit.USAGE
    assert "expected an IP address" in said
