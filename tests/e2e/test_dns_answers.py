"""What the DNS says of a domain decides where its mail goes, or that it goes nowhere."""

import pytest

from tests.e2e.daemon import accounting_rows, until
from tests.e2e.netns import MX1, MX2
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

WAIT_S = 30
ZONE = f"""
two.example. 60 IN MX 20 mx2.provider.example.
two.example. 60 IN MX 10 mx1.provider.example.
dead-first.example. 60 IN MX 10 dead.provider.example.
dead-first.example. 60 IN MX 20 mx2.provider.example.
alias.example. 60 IN CNAME two.example.
plain.example. 60 IN A {MX2}
strict.example. 60 IN A {MX2}
patient.example. 60 IN A {MX2}
aging.example. 60 IN A 198.51.100.77
nullmx.example. 60 IN MX 0 .
loop.example. 60 IN MX 10 local.provider.example.
self.example. 60 IN MX 10 sender.provider.example.
empty.example. 60 IN TXT "no mail here"
mx1.provider.example. 60 IN A {MX1}
mx2.provider.example. 60 IN A {MX2}
dead.provider.example. 60 IN A 198.51.100.77
local.provider.example. 60 IN A 127.0.0.1
sender.provider.example. 60 IN A 192.168.1.1
"""


@pytest.fixture
def config(site, tmp_path):
    site.nameserver.replace(ZONE)
    path = site.network.directory / "dns.conf"
    (tmp_path / "acct").mkdir()
    path.write_text(
        f"host-name mta.sender.example\npostmaster p@sender.example\nlog-file {tmp_path}/pmta.log\n"
        f"smtp-listener 192.168.1.1:25\n<spool {tmp_path}/spool>\n</spool>\n"
        f"<acct-file {tmp_path}/acct/acct.csv>\nrecords d,b,t,tq\n</acct-file>\n"
        "<domain sender.example>\ndeliver-local-dsn no\n</domain>\n"
        "<domain strict.example>\nbounce-upon-no-mx yes\n</domain>\n"
        "<domain patient.example>\nbounce-upon-no-mx 4h\n</domain>\n"
        "<domain aging.example>\nbounce-upon-no-mx 4s\n</domain>\n"
        "<domain *>\nconnect-timeout 2s\nretry-after 1s\n"
        "retry-after-dns-error 1s\nsmtp-greeting-timeout 2s\n</domain>\n"
    )
    return path


def rows(tmp_path, kinds=""):
    return accounting_rows(tmp_path / "acct", kinds)


def logged(tmp_path):
    log = tmp_path / "pmta.log"
    return log.read_text() if log.exists() else ""


@pytest.mark.parametrize(
    ("domain", "host"),
    [
        ("two.example", "mx1"),
        ("plain.example", "mx2"),
        ("alias.example", "mx1"),
        ("dead-first.example", "mx2"),
        (f"[{MX2}]", "mx2"),
        ("patient.example", "mx2"),
    ],
)
async def test_the_host_that_gets_it(site, config, tmp_path, domain, host):
    async with site.running(config):
        await site.submit(*letters(1, domain))
        await until(lambda: rows(tmp_path, "d"), WAIT_S)
    assert len(getattr(site, host).journal) == len(site.journal) == 1


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        ("nullmx.example", "5.1.10"),
        ("nowhere.example", "5.1.2"),
        ("empty.example", "5.1.2"),
        ("strict.example", "5.4.4"),
        ("loop.example", "5.4.6"),
        ("self.example", "5.4.6"),
    ],
)
async def test_what_can_never_be_delivered_bounces_at_once(site, config, tmp_path, domain, status):
    async with site.running(config):
        await site.submit(*letters(1, domain))
        await until(lambda: rows(tmp_path, "b"), WAIT_S)
    (row,) = rows(tmp_path, "b")
    assert row["dsnStatus"].startswith(status), row
    assert row["dsnAction"] == "failed"
    assert site.journal == []


async def test_mail_for_a_domain_without_mx_bounces_at_its_age_also_after_a_restart(
    site, config, tmp_path
):
    async with site.running(config):
        await site.submit(*letters(1, "aging.example"))
        await until(lambda: rows(tmp_path, "tq"), WAIT_S)
        assert rows(tmp_path, "b") == []
    async with site.running(config):
        await until(lambda: rows(tmp_path, "b"), WAIT_S)
    (row,) = rows(tmp_path, "b")
    assert row["dsnStatus"].startswith("5.4.4"), row
    assert site.journal == []


@pytest.mark.parametrize("how", ["servfail", "silent"])
async def test_a_resolver_that_does_not_answer_defers(site, config, tmp_path, how):
    getattr(site.nameserver, how).add("two.example.")
    async with site.running(config) as daemon:
        await site.submit(*letters(1, "two.example"))
        await until(lambda: "two.example" in logged(tmp_path), 60)
        assert rows(tmp_path, "b") == []
        explained = await daemon.command("explain", "two.example")
        assert "retry-after-dns-error" in explained.text or "DNS" in explained.text
        getattr(site.nameserver, how).clear()
        await until(lambda: rows(tmp_path, "d"), 60)
    assert len(site.mx1.journal) == 1
