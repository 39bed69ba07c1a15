"""Several workers are one daemon: to submitters, to providers, to operators, on disk."""

import pytest

from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import Letter

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
WORKERS = 3
DOMAINS = [f"d{number}.example" for number in range(12)]


@pytest.fixture
async def provider():
    async with Provider() as one:
        yield one


@pytest.fixture
def place(tmp_path, provider):
    loopback = Loopback(tmp_path, provider.port)
    loopback.configure(top=f"workers {WORKERS}")
    return loopback


async def test_mail_for_many_queues_is_delivered_and_accounted_once(place, provider):
    async with place.running():
        for _ in range(5):
            await place.submit(*(Letter(f"a@{domain}") for domain in DOMAINS))
        await until(lambda: len(place.rows("d")) >= 5 * len(DOMAINS), 20, place.told)
    assert sorted(row["rcpt"] for row in place.rows("d")) == sorted(
        f"a@{domain}" for domain in DOMAINS for _ in range(5)
    )
    assert len(provider.journal) == 5 * len(DOMAINS)
