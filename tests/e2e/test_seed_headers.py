"""`headers.conf` does what it says: fields added everywhere, and Received left out for one VMTA."""

import pytest

from tests.e2e.site import head_of
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

EARLIER = "Received: from inside.sender.example (10.0.0.7) by gate.sender.example; 1 Jan\r\n"


@pytest.fixture
def config(seeds):
    return seeds / "headers.conf"


async def delivered(site, config, rcpt):
    async with site.running(config):
        await site.submit(Letter(rcpt, EARLIER))
        await site.received(1)
    return site.journal[0]


@pytest.mark.parametrize("rcpt", ["anna@example.com", "otto@other.example"])
async def test_global_fields_are_added_to_every_message(site, config, rcpt):
    head = head_of(await delivered(site, config, rcpt))
    assert head.get_all("X-MyCompany-Mailer") == ["PowerMTA"]
    assert head.get_all("Precedence") == ["bulk"]


async def test_the_vmta_of_the_domain_adds_its_field_and_shows_no_received(site, config):
    received = await delivered(site, config, "anna@example.com")
    head = head_of(received)
    assert head.get_all("X-Custom-Header") == ["SpecificValue"]
    assert head.get_all("Received") is None
    assert b"inside.sender.example" not in received.headers
    assert b"client.sender.example" not in received.headers
    assert (received.source_ip, head["Subject"]) == ("192.168.1.2", "a test")


async def test_other_domains_show_where_a_message_came_from(site, config):
    received = await delivered(site, config, "otto@other.example")
    head = head_of(received)
    assert head.get_all("X-Custom-Header") is None
    ours, earlier = head.get_all("Received")
    assert "client.sender.example" in ours
    assert "inside.sender.example" in earlier
    assert received.source_ip == "192.168.1.1"


async def test_what_the_file_does_not_say_has_a_default_that_is_named(site, config):
    said = await site.daemon(config).check()
    assert said.code == 0, said.text
    for directive in ("spool", "log-file", "postmaster", "smtp-listener"):
        assert directive in said.text
