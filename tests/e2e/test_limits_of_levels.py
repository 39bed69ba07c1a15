"""Limits as a provider sees them, and as `explain` tells of them."""

import re

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
TOP = """ip-connection-limit 127/8 1
<smtp-pattern-list off>
reply /try again later/ disable-source-ip,reenable-after=1h
</smtp-pattern-list>
<domain rate.example>
max-msg-rate 2/h
</domain>
<domain off.example>
smtp-pattern-list off
</domain>"""


async def test_limits_hold_at_the_provider_and_explain_names_the_one_that_binds(tmp_path):
    """The provider refuses the second connection: one such would be in the log."""
    moods = {"off.example": Profile(defer=1.0), "*": Profile(connections_per_ip=1, delay_s=0.01)}
    async with Provider(moods) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=TOP, domain="max-smtp-out 5")
        async with loopback.running() as daemon:
            await loopback.submit(
                *letters(12, "a.example"),
                *letters(12, "b.example"),
                *letters(4, "rate.example"),
                *letters(2, "off.example"),
            )
            await until(lambda: len(provider.journal) == 26, DELIVERY_S, loopback.told)
            await until(lambda: "disabled for 1h" in loopback.told(), DELIVERY_S, loopback.told)
            rate = (await daemon.command("explain", "rate.example")).text
            off = (await daemon.command("explain", "off.example")).text
            assert await daemon.stop() == 0
    assert not re.search(r"\b421[ -]", loopback.told())  # nor the number of a port
    waits = r"Waits for +max-msg-rate of rate\.example/\{default\} \(\S+:\d+\), until "
    assert re.search(waits, rate), rate
    assert re.search(r"\* max-msg-rate +rate\.example/\{default\} +2 of 2/h .*, until ", rate), rate
    waits = r"Waits for +disable-source-ip of off\.example/\{default\} .*, until \d{4}-"
    assert re.search(waits, off), off
    assert re.search(r"chosen by the system .*\(disabled until \d{4}-", off), off
