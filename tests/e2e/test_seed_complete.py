"""`complete.conf` does what it says: a route, a rate per queue, accounting in a directory."""

import re
from collections import Counter

import aiosmtplib
import pytest

from tests.e2e.site import head_of, line_of
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

COMMON = (
    "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,"
    "srcType,srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,"
    "envId,queue,vmtaPool"
)
CONNECTION = (
    "timeConnected,dlvTlsProtocol,dlvTlsCipher,msgsDelivered,rcptsDelivered,rcptsFailed,bytesOut,"
    "closeReason"
)


@pytest.fixture
def config(seeds):
    return seeds / "complete.conf"


async def test_a_queue_delivers_its_rate_at_once_and_the_rest_waits(site, config):
    async with site.running(config) as daemon:
        await site.submit(*letters(130, "example.com"))
        await site.received(100)
        place = line_of(config, "max-msg-rate 100/h")
        explained = await daemon.command("explain", "example.com/{default}")
        shown = await daemon.command("show", "queues", "example.com")
    assert (explained.code, shown.code) == (0, 0), explained.text + shown.text
    assert re.search(r"Recipients\s+30 waiting", explained.text), explained.text
    assert re.search(rf"Waits for\s+max-msg-rate .*{re.escape(place)}", explained.text)
    assert "max-msg-rate" in shown.text


async def test_each_domain_has_a_rate_of_its_own(site, config):
    async with site.running(config):
        await site.submit(*letters(110, "example.com"), *letters(105, "other.example"))
        await site.received(200)
    assert Counter(r.rcpt.rpartition("@")[2] for r in site.journal) == {
        "example.com": 100,
        "other.example": 100,
    }


async def test_the_domain_block_of_a_vmta_outranks_the_global_one(site, config):
    choosing = site.network.directory / "choosing.conf"
    choosing.write_text(
        f"include {config}\n<source 192.168.1.1>\nalways-allow-relaying yes\n"
        "process-x-virtual-mta yes\n</source>\n"
    )
    chosen = "X-Virtual-MTA: vmta01\r\n"
    async with site.running(choosing) as daemon:
        await site.submit(*letters(230, "example.com", chosen))
        await site.received(200)
        explained = await daemon.command("explain", "example.com/vmta01")
    assert site.sources() == {"192.168.1.2": 200}
    place = line_of(config, "max-msg-rate 200/h")
    assert re.search(rf"Waits for\s+max-msg-rate .*{re.escape(place)}", explained.text)
    hidden = re.escape(line_of(config, "max-msg-rate 100/h"))
    assert re.search(rf"hides 100/h\s+\(\S*{hidden}\)", explained.text), explained.text


async def test_a_route_is_an_address_not_a_domain(site, config):
    async with site.running(config):
        await site.submit(Letter("anna@example.com"), Letter("otto@other.example"))
        await site.received(2)
    assert [r.rcpt for r in site.mx1.journal] == ["anna@example.com"]
    assert [r.rcpt for r in site.mx2.journal] == ["otto@other.example"]
    assert site.nameserver.asked("smtp.example.com", "A") == 1
    assert site.nameserver.asked("smtp.example.com", "MX") == 0
    assert site.nameserver.asked("example.com", "MX") == 0
    assert site.nameserver.asked("other.example", "MX") == 1


async def test_a_delivery_carries_our_received_field(site, config):
    async with site.running(config):
        await site.submit(Letter("anna@example.com"))
        await site.received(1)
    received = head_of(site.journal[0]).get_all("Received")
    assert len(received) == 1
    assert "client.sender.example" in received[0]
    assert site.journal[0].source_ip == "192.168.1.1"


async def test_accounting_files_have_the_kinds_asked_for(site, config):
    async with site.running(config):
        await site.submit(
            Letter("anna@example.com"), Letter("nobody@nowhere.invalid", mail_from="")
        )
        await site.received(1)
    (path,) = (site.network.directory / "log/pmta/acct").glob("*.csv")
    assert re.fullmatch(r"acct-\d{4}-\d\d-\d\d-0000\.csv", path.name)
    raw = path.read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == 4, raw
    assert raw.splitlines()[0].decode() == f"{COMMON},{CONNECTION}"

    (bounced,) = site.rows("b")
    assert bounced["rcpt"] == "nobody@nowhere.invalid"
    assert bounced["dsnStatus"].startswith("5.1.2 (")
    assert bounced["bounceCat"] == "bad-domain"

    (delivered,) = site.rows("d")
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}"
    assert re.fullmatch(time, delivered["timeLogged"])
    assert re.fullmatch(time, delivered["timeQueued"])
    wanted = {
        "orig": "news@sender.example",
        "rcpt": "anna@example.com",
        "dsnAction": "relayed",
        "dsnMta": "smtp.example.com (198.51.100.25)",
        "srcType": "smtp",
        "srcMta": "client.sender.example (192.168.1.1)",
        "dlvType": "smtp",
        "dlvSourceIp": "192.168.1.1",
        "dlvDestinationIp": "198.51.100.25",
        "queue": "example.com/{default}",
    }
    assert {name: delivered[name] for name in wanted} == wanted
    assert "PIPELINING" in delivered["dlvEsmtpAvailable"].split(",")

    (connection,) = site.rows("c")
    assert (connection["msgsDelivered"], connection["dlvSourceIp"]) == ("1", "192.168.1.1")
    assert connection["queue"] == "example.com/{default}"


async def test_only_a_client_on_this_host_may_relay(site, config):
    async with site.running(config):
        async with site.stranger() as stranger:
            await stranger.mail("news@sender.example")
            with pytest.raises(aiosmtplib.SMTPRecipientRefused) as refused:
                await stranger.rcpt("anna@example.com")
        await site.submit(Letter("anna@example.com"))
        await site.received(1)
    assert (refused.value.code, refused.value.message[:5]) == (550, "5.7.1")


async def test_a_check_says_what_is_not_in_force(site, config):
    said = await site.daemon(config).check()
    assert said.code == 0, said.text
    for directive in ("process-bounces", "process-fbl"):
        place = line_of(config, f"{directive} yes")
        assert re.search(rf"{re.escape(place)}(:\d+)?: note: .*{directive}", said.text), said.text


async def test_a_source_address_of_another_host_is_an_error_at_start(site, config):
    site.network.sender.run("ip", "address", "del", "192.168.1.2/32", "dev", "out")
    said = await site.daemon(config).run_to_end()
    assert said.code not in (0, None)
    assert line_of(config, "smtp-source-ip 192.168.1.2") in said.text
    assert "192.168.1.2" in said.text
