"""A line of an smtp-pattern-list is heeded whatever the peer was saying it to."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.scripted_peer import ScriptedPeer
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
STAGES = ("banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "content")


async def test_a_pattern_is_matched_at_every_stage_of_the_dialogue(tmp_path):
    async with AsyncExitStack() as stack:
        peers = {
            stage: await stack.enter_async_context(
                ScriptedPeer(
                    offers=("AUTH CRAM-MD5",) if stage == "auth" else ("PIPELINING",),
                    **{stage: f"450-4.7.1 busy at\r\n450 {stage}"},
                )
            )
            for stage in STAGES
        }
        domains = "".join(
            f"<domain {stage}.example>\nsmtp-hosts [127.0.0.1]:{peer.port}\n</domain>\n"
            for stage, peer in peers.items()
        )
        loopback = Loopback(tmp_path, 1)
        loopback.configure(
            top="<smtp-pattern-list busy>\nreply /^450 4\\.7\\.1 BUSY at [a-z]+$/ mode=backoff\n"
            f"</smtp-pattern-list>\n{domains}"
            "<domain auth.example>\nauth-username user\nauth-password wrong\n</domain>",
            domain="smtp-pattern-list busy\nbackoff-to-normal-after 1h\nbackoff-retry-after 1h",
        )
        async with loopback.running() as daemon:
            await loopback.submit(*(letters(1, f"{stage}.example")[0] for stage in STAGES))
            await until(
                lambda: loopback.told().count("entered backoff") == len(STAGES),
                DELIVERY_S,
                loopback.told,
            )
            explained = await asyncio.gather(
                *(daemon.command("explain", f"{stage}.example") for stage in STAGES)
            )
    for stage, one in zip(STAGES, explained, strict=True):
        assert f'"450 4.7.1 busy at {stage}" received from [127.0.0.1]' in one.text
        assert "matches reply /^450" in one.text
        assert "petrel.conf:" in one.text
    assert loopback.rows("b") == []
