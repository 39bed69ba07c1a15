"""`type discard`: mail goes nowhere, and is accounted as the directive says."""

import pytest

from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30


async def test_discarded_mail_is_accounted_as_delivered_or_as_bounced(tmp_path):
    loopback = Loopback(tmp_path, 1)
    loopback.configure(
        top="<domain gone.example>\ntype discard\n</domain>\n"
        "<domain bounced.example>\ntype discard\ndiscard-as-bounce yes\n</domain>",
    )
    async with loopback.running():
        await loopback.submit(*letters(2, "gone.example"), *letters(2, "bounced.example"))
        await until(lambda: len(loopback.rows("d,b")) == 4, DELIVERY_S, loopback.told)
    rows = [(row["type"], row["dlvType"], row["rcpt"].partition("@")[2]) for row in loopback.rows()]
    assert sorted(rows) == [
        ("b", "discard", "bounced.example"),
        ("b", "discard", "bounced.example"),
        ("d", "discard", "gone.example"),
        ("d", "discard", "gone.example"),
    ]
