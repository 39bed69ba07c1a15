"""X-Schedule: what the provider gets in a window, what waits for one, and what has none left."""

import re
import time

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import SENDER, Letter, client

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 60
TOP = """<source 127.0.0.1>
always-allow-relaying yes
process-x-schedule {process}
retain-x-schedule {retain}
</source>
"""


@pytest.fixture
async def site(tmp_path):
    profiles = {"slow.example": Profile(defer=1.0), "*": Profile()}
    async with Provider(profiles) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.provider = provider
        loopback.configure(top=TOP.format(process="yes", retain="no"))
        yield loopback


def at(second):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def letter(rcpt, *windows):
    now = int(time.time())
    said = ", ".join(f"{at(now + start)} / {at(now + end)}" for start, end in windows)
    return now, Letter(rcpt, f"X-Schedule: {said}\r\n")


async def test_mail_goes_when_its_window_opens_also_after_a_kill(site):
    now, scheduled = letter("r1@one.example", (15, 3600))
    async with site.running() as daemon:
        await site.submit(scheduled, letter("r2@one.example", (-10, 3600))[1])
        await until(lambda: len(site.rows("d")) == 1, DELIVERY_S, site.told)
        shown = await daemon.command("--json", "list")
        (number,) = re.findall(r'"id": "(\w+)"', shown.text)
        explained = (await daemon.command("explain", number)).text
        window = f"{at(now + 15)} / {at(now + 3600)}"
        assert re.search(rf"^X-Schedule +{window}$", explained, re.MULTILINE)
        assert f"waits     x-schedule of one.example/{{default}} (window {window})" in explained
        assert f"until {at(now + 15)}" in explained
        assert re.search(rf"^Given up +{at(now + 3600)}", explained, re.MULTILINE)
        assert "x-schedule" in (await daemon.command("show", "queues")).text
        await daemon.command("schedule", "--retry-recipients", "one.example/*")
        daemon.kill()
    async with site.running():
        await until(lambda: len(site.rows("d")) == 2, DELIVERY_S, site.told)
    first, second = site.provider.journal
    assert [first.rcpt, second.rcpt] == ["r2@one.example", "r1@one.example"]
    assert now + 15 <= second.time < now + 15 + DELIVERY_S
    assert b"x-schedule" not in (first.headers + second.headers).lower()


async def test_who_has_no_window_left_bounces_tried_or_not(site):
    async with site.running():
        await site.submit(
            letter("past@one.example", (-20, -10))[1],
            letter("tried@slow.example", (-10, 12))[1],
        )
        await until(lambda: len(site.rows("b")) == 2, DELIVERY_S, site.told)
    bounced = {row["rcpt"]: row["dsnStatus"] for row in site.rows("b")}
    assert {rcpt: status[:5] for rcpt, status in bounced.items()} == {
        "past@one.example": "4.4.7",
        "tried@slow.example": "4.4.7",
    }
    assert site.provider.journal == []
    tried = [row["rcpt"] for row in site.rows("t")]
    assert set(tried) == {"tried@slow.example"}


async def test_a_retry_waits_for_the_next_window(site):
    site.configure(top=TOP.format(process="yes", retain="no"), domain="retry-recipients-after 3s\n")
    now, tried = letter("tried@slow.example", (-10, 3), (10, 3600))
    async with site.running():
        await site.submit(tried)
        await until(lambda: len(site.rows("t")) >= 2, DELIVERY_S, site.told)
    times = [
        time.mktime(time.strptime(row["timeLogged"][:19], "%Y-%m-%d %H:%M:%S"))
        for row in site.rows("t")
    ]
    assert not [one for one in times if now + 3 < one < now + 10]
    assert times[1] >= now + 10


async def test_a_field_that_says_no_times_is_refused_where_it_counts(site):
    async with site.running(), client(site.address) as smtp:
        for bad in ("soon", f"{at(200_000)} / {at(100_000)}"):
            with pytest.raises(Exception, match=r"5\.6\.0 X-Schedule") as refused:
                content = Letter("r@one.example", f"X-Schedule: {bad}\r\n").content
                await smtp.sendmail(SENDER, ["r@one.example"], content)
            assert "554" in str(refused.value) or refused.value.code == 554


@pytest.mark.parametrize("retain", ["yes", "no"])
async def test_where_it_is_not_processed_it_only_goes_or_stays(site, retain):
    site.configure(top=TOP.format(process="no", retain=retain))
    async with site.running():
        await site.submit(letter("r1@one.example", (3000, 3600))[1])
        await until(lambda: len(site.rows("d")) == 1, DELIVERY_S, site.told)
    ((received,),) = [site.provider.journal]
    assert (b"x-schedule" in received.headers.lower()) == (retain == "yes")
