"""What providers do to a sender, and what the daemon makes of it, with real sockets."""

from collections import Counter

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import stays, until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import SENDER, Letter, client, letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30


def delivered_once(provider, count):
    assert len(provider.journal) == count
    assert set(Counter(one.rcpt for one in provider.journal).values()) == {1}


async def test_a_greylisted_recipient_is_retried_and_delivered(tmp_path):
    async with Provider({"*": Profile(greylist_tries=2)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        async with loopback.running():
            await loopback.submit(*letters(4, "example.com"))
            await until(lambda: len(provider.journal) == 4, DELIVERY_S, loopback.told)
    delivered_once(provider, 4)
    transient = loopback.rows("t")
    assert len(transient) == 8
    assert all(row["dsnStatus"].startswith("4.7.1") for row in transient)
    assert len(loopback.rows("d")) == 4


async def test_421_after_n_messages_costs_a_connection_and_nothing_else(tmp_path):
    async with Provider({"*": Profile(messages_per_connection=3)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="max-smtp-out 2\nretry-after 1h")
        async with loopback.running():
            await loopback.submit(*letters(20, "example.com"))
            await until(lambda: len(provider.journal) == 20, DELIVERY_S, loopback.told)
    delivered_once(provider, 20)
    assert provider.connections_total >= 7
    assert loopback.rows("b") == []


async def test_an_unknown_user_bounces_at_once_and_with_his_category(tmp_path):
    async with Provider({"*": Profile(unknown=("r1",))}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        async with loopback.running():
            await loopback.submit(*letters(3, "example.com"))
            await until(lambda: len(loopback.rows("d,b")) == 3, DELIVERY_S, loopback.told)
    (bounced,) = loopback.rows("b")
    assert bounced["rcpt"] == "r1@example.com"
    assert bounced["dsnDiag"].startswith("smtp;550 5.1.1 ")
    assert (bounced["dsnStatus"][:5], bounced["bounceCat"]) == ("5.1.1", "bad-mailbox")
    assert len(provider.journal) == 2


@pytest.mark.parametrize(
    "stage", ["greeting", "ehlo", "mail", "rcpt", "data", "content", "after-content"]
)
async def test_a_connection_dropped_at_any_stage_loses_nothing(tmp_path, stage):
    async with Provider({"*": Profile(drop_at=stage, drop=0.4)}, seed=7) as provider:
        loopback = Loopback(tmp_path, provider.port)
        async with loopback.running():
            await loopback.submit(*letters(12, "example.com"))
            await until(lambda: len(loopback.rows("d")) == 12, DELIVERY_S, loopback.told)
    received = Counter(one.rcpt for one in provider.journal)
    assert set(received) == {f"r{n}@example.com" for n in range(12)}
    if stage != "after-content":  # After the content a receiver may have kept it unheard.
        assert set(received.values()) == {1}
    assert loopback.rows("b") == []


async def test_a_provider_that_limits_connections_is_served_by_fewer(tmp_path):
    async with Provider({"*": Profile(connections_per_ip=2)}) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="max-smtp-out 6")
        async with loopback.running():
            await loopback.submit(*letters(30, "example.com"))
            await until(lambda: len(provider.journal) == 30, DELIVERY_S, loopback.told)
    delivered_once(provider, 30)


async def test_a_tarpit_holds_up_nobody_else(tmp_path):
    moods = {"slow.example": Profile(delay_s=0.4), "*": Profile()}
    async with Provider(moods) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="max-smtp-out 2")
        async with loopback.running():
            await loopback.submit(*letters(10, "slow.example"), *letters(40, "quick.example"))
            await until(lambda: len(provider.journal) == 50, 60, loopback.told)
    domains = [one.rcpt.partition("@")[2] for one in provider.journal]
    assert domains[:30].count("quick.example") >= 25


async def test_a_reply_puts_the_queue_into_backoff_and_an_operator_takes_it_out(tmp_path):
    moods = {"*": Profile(messages_per_second=0, defer=1.0)}
    async with Provider(moods) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(
            top="<smtp-pattern-list slow>\nreply /try again later/ mode=backoff\n"
            "</smtp-pattern-list>",
            domain="smtp-pattern-list slow\nbackoff-max-msg-rate 2/h\nbackoff-retry-after 1s\n"
            "backoff-to-normal-after 1h",
        )
        async with loopback.running() as daemon:
            first, *others = letters(6, "example.com")
            await loopback.submit(first)
            await until(lambda: "backoff" in loopback.told(), DELIVERY_S, loopback.told)
            await loopback.submit(*others)
            await until(lambda: len(loopback.rows("t")) >= 3, DELIVERY_S, loopback.told)
            await stays(lambda: len(loopback.rows("t")), 1.5)
            assert len(loopback.rows("t")) == 3
            explained = await daemon.command("explain", "example.com")
            assert "backoff-max-msg-rate" in explained.text, explained.text
            assert "try again later" in explained.text
            shown = await daemon.command("show", "queues", "--mode=backoff")
            assert "example.com/{default}" in shown.text
            back = await daemon.command("set", "queue", "--mode=normal", "example.com/{default}")
            assert back.code == 0, back.text
            await until(lambda: "set by an operator" in loopback.told(), DELIVERY_S, loopback.told)


async def test_a_provider_that_tells_its_limits_has_nothing_to_refuse(tmp_path):
    """RFC 9422: as many messages over a connection, and recipients of one, as it says."""
    moods = {"*": Profile(messages_per_connection=2, rcpts_per_message=3, tells_limits=True)}
    async with Provider(moods) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(domain="max-smtp-out 1")
        async with loopback.running():
            async with client(loopback.address) as smtp:
                rcpts = [f"r{number}@example.com" for number in range(18)]
                await smtp.sendmail(SENDER, rcpts, Letter(rcpts[0]).content)
            await until(lambda: len(loopback.rows("d")) == 18, DELIVERY_S, loopback.told)
            await until(lambda: len(loopback.rows("c")) == 3, DELIVERY_S, loopback.told)
    delivered_once(provider, 18)
    assert provider.refused == 0
    assert loopback.rows("t") == []
    assert all("MAILMAX" in row["closeReason"] for row in loopback.rows("c"))
