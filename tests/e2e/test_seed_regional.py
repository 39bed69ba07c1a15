"""`regional.conf` does what it says: one domain over three VMTAs in turn, each with its own cap."""

import re
from collections import Counter

import pytest

from tests.e2e.site import line_of
from tests.e2e.submission import Letter, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

ADDRESS = {"vmta-us": "192.168.1.2", "vmta-eu": "192.168.1.3", "vmta-asia": "192.168.1.4"}


@pytest.fixture
def config(seeds):
    return seeds / "regional.conf"


async def test_a_domain_is_spread_over_its_vmtas_in_turn(site, config):
    async with site.running(config):
        await site.submit(*letters(30, "example.com"))
        await site.received(30)
    assert site.sources() == dict.fromkeys(ADDRESS.values(), 10)
    by_number = sorted(site.journal, key=lambda r: int(r.rcpt[1:].partition("@")[0]))
    turns = [received.source_ip for received in by_number]
    assert turns == turns[:3] * 10
    assert len({received.helo for received in by_number}) == 1


async def test_each_vmta_keeps_its_own_cap(site, config):
    async with site.running(config) as daemon:
        await site.submit(*letters(510, "example.com"))
        await site.received(170 + 150 + 100)
        explained = await daemon.command("explain", "example.com/vmta-asia")
    assert site.sources() == {"192.168.1.2": 170, "192.168.1.3": 150, "192.168.1.4": 100}
    place = line_of(config, "max-msg-rate 100/h")
    assert re.search(r"Recipients\s+70 waiting", explained.text), explained.text
    assert re.search(
        rf"Waits for\s+max-\S*msg-rate of vmta-asia .*{re.escape(place)}", explained.text
    )


async def test_the_cap_of_a_vmta_holds_over_all_its_domains(site, config):
    choosing = site.network.directory / "choosing.conf"
    choosing.write_text(
        f"include {config}\n<source 192.168.1.1>\nalways-allow-relaying yes\n"
        "process-x-virtual-mta yes\n</source>\n"
    )
    asia = "X-Virtual-MTA: vmta-asia\r\n"
    async with site.running(choosing):
        await site.submit(*letters(80, "other.example", asia), *letters(80, "plain.example", asia))
        await site.received(100)
    assert site.sources() == {"192.168.1.4": 100}
    domains = Counter(received.rcpt.rpartition("@")[2] for received in site.journal)
    assert set(domains) == {"other.example", "plain.example"}, "one domain starves the other"


async def test_other_domains_leave_by_the_default_address(site, config):
    async with site.running(config):
        await site.submit(Letter("otto@other.example"))
        await site.received(1)
    assert site.sources() == {"192.168.1.1": 1}
