"""Our own SPF is tested before mail goes: what the provider got, and what the rows say."""

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.nameserver import Nameserver
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 60
ZONE = """
good.example. 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"
bad.example. 60 IN TXT "v=spf1 ip4:192.0.2.1 -all"
wrong.example. 60 IN TXT "v=spf1 nonsense"
later.example. 60 IN TXT "v=spf1 ip4:127.0.0.1 -all"
"""
TOP = "<virtual-mta {{default}}>\n{source}\n</virtual-mta>\nname-server 127.0.0.1:{port}"
SOURCE = "smtp-source-host 127.0.0.1 mta.sender.example"


@pytest.fixture
async def site(tmp_path):
    with Nameserver(ZONE, port=0) as nameserver:
        nameserver.servfail.add("later.example")
        async with Provider() as provider:
            loopback = Loopback(tmp_path, provider.port)
            loopback.provider, loopback.nameserver = provider, nameserver
            yield loopback


def configure(site, directive, source=SOURCE):
    senders = "".join(
        f"<domain {name}.example>\ndeliver-local-dsn no\n</domain>\n"
        for name in ("good", "bad", "wrong", "none", "later")
    )
    top = TOP.format(source=source, port=site.nameserver.port)
    site.configure(top=f"{top}\n{senders}", domain=directive)


def letters(*domains):
    return [Letter(f"{one}@corp.example", mail_from=f"x@{one}.example") for one in domains]


@pytest.mark.parametrize("name", ["check-spf-outbound", "check-mfrom-outbound"])
async def test_only_what_passes_is_sent(site, name):
    configure(site, f"{name} yes")
    async with site.running() as daemon:
        await site.submit(*letters("bad", "good", "none", "good", "wrong", "later"))
        await until(lambda: len(site.rows("d")) == 2, DELIVERY_S, site.told)
        await until(lambda: len(site.rows("b")) == 3, DELIVERY_S, site.told)
        await until(lambda: site.rows("t"), DELIVERY_S, site.told)
        assert {row["rcpt"] for row in site.rows("t")} == {"later@corp.example"}
        site.nameserver.servfail.clear()
        assert (await daemon.command("clear", "dnscache", "later.example")).code == 0
        await until(lambda: len(site.rows("d")) == 3, DELIVERY_S, site.told)
    assert sorted(one.mail_from for one in site.provider.journal) == [
        "x@good.example",
        "x@good.example",
        "x@later.example",
    ]
    bounced = {row["rcpt"]: (row["dsnStatus"][:6], row["dsnDiag"]) for row in site.rows("b")}
    assert {rcpt: status for rcpt, (status, _) in bounced.items()} == {
        "bad@corp.example": "5.7.23",
        "none@corp.example": "5.7.23",
        "wrong@corp.example": "5.7.24",
    }
    assert bounced["bad@corp.example"][1] == (
        "x-pmta;SPF fail for x@bad.example from 127.0.0.1: all of bad.example (check-spf-outbound)"
    )
    (status,) = {row["dsnStatus"][:6] for row in site.rows("t")}
    assert status == "4.7.24"
    if site.worker_count == 1:
        assert site.nameserver.asked("good.example", "TXT") == 1


@pytest.mark.parametrize(
    ("directive", "source"), [("check-spf-outbound no", SOURCE), ("check-spf-outbound yes", "")]
)
async def test_nothing_is_asked_where_it_is_off_or_no_address_is_said(site, directive, source):
    configure(site, directive, source)
    async with site.running():
        await site.submit(*letters("bad"))
        await until(lambda: len(site.rows("d")) == 1, DELIVERY_S, site.told)
    assert site.nameserver.asked("bad.example", "TXT") == 0
    assert ("check-spf-outbound does nothing" in site.told()) == (not source)
