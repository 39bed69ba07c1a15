"""Operators hear by mail of what providers do to a queue."""

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30


async def test_backoff_and_a_disabled_source_are_told_by_mail_and_a_clearing_holds(tmp_path):
    moods = {"slow.example": Profile(defer=1.0), "quiet.slow.example": Profile(defer=1.0)}
    async with Provider({**moods, "*": Profile()}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            top="<smtp-pattern-list slow>\nreply /try again later/ mode=backoff,disable-source-ip\n"
            "</smtp-pattern-list>\n"
            '<domain quiet.slow.example>\nbackoff-notify ""\n</domain>',
            domain="smtp-pattern-list slow\nbackoff-notify ops@ours.example,b@ours.example\n"
            "disabled-source-ip-notify ip@ours.example",
        )
        async with loopback.running() as daemon:
            await loopback.submit(*letters(1, "slow.example"))
            await until(lambda: len(provider.journal) == 3, DELIVERY_S, loopback.told)
            await loopback.submit(*letters(1, "quiet.slow.example"))
            await until(lambda: loopback.told().count("entered backoff") == 2, DELIVERY_S)
            assert await daemon.stop() == 0
    received = {one.rcpt: one for one in provider.journal}
    assert set(received) == {"ops@ours.example", "b@ours.example", "ip@ours.example"}
    head = received["ops@ours.example"].headers.decode()
    assert received["ops@ours.example"].mail_from == ""
    assert "Subject: slow.example/{default} entered backoff mode: " in head
    assert "451 4.3.2 please try again later" in head
    assert (
        "source address chosen by the system disabled"
        in received["ip@ours.example"].headers.decode()
    )
    (acct,) = {row["srcType"] for row in loopback.rows("d")}
    assert acct == "local"
