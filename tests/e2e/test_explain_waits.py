"""Every wait has a name and a line: `explain` on queues and messages that wait."""

import json
import re

import pytest

from mta.sim.profile import Profile
from mta.sim.provider import Provider
from tests.e2e.daemon import until
from tests.e2e.loopback import Loopback
from tests.e2e.submission import letters

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

DELIVERY_S = 30
TOP = """<smtp-pattern-list slow>
reply /try again later/ mode=backoff
</smtp-pattern-list>
<smtp-pattern-list listed>
reply /try again later/ disable-source-ip,reenable-after=2h
</smtp-pattern-list>
<virtual-mta v1>
smtp-source-host 127.0.0.1 a.sender.example
</virtual-mta>
<domain backoff.example>
smtp-pattern-list slow
backoff-max-msg-rate 2/h
backoff-to-normal-after 1h
retry-recipients-after 5m
</domain>
<domain rate.example>
max-msg-rate 2/h
</domain>
<domain listed.example>
virtual-mta v1
smtp-pattern-list listed
</domain>
"""


async def explained(daemon, domain, which):
    """What is said of the queue, and of one of its messages, the one due first being 0."""
    shown = await daemon.command("--json", "list", f"--queue={domain}/*")
    number = re.findall(r'"id": "(\w+)"', json.dumps(json.loads(shown.text)))[which]
    queue = "listed.example/v1" if domain == "listed.example" else domain
    of_queue = await daemon.command("explain", queue)
    of_message = await daemon.command("explain", number)
    print(of_queue.text, of_message.text, sep="\n----\n")
    return of_queue.text, of_message.text


async def test_queues_and_messages_that_wait_say_for_what(tmp_path):
    moods = {"rate.example": Profile(), "*": Profile(defer=1.0)}
    async with Provider(moods) as provider:
        loopback = Loopback(tmp_path, provider.port)
        loopback.configure(top=TOP, domain="max-smtp-out 1")
        async with loopback.running() as daemon:
            for domain in ("backoff.example", "rate.example", "listed.example"):
                await loopback.submit(*letters(6, domain))
            await until(
                lambda: (
                    loopback.told().count("entered backoff") == 1
                    and "are now disabled" in loopback.told()
                    and len(loopback.rows("d")) == 2
                    and len(loopback.rows("t")) >= 3
                ),
                DELIVERY_S,
                loopback.told,
            )
            queue, message = await explained(daemon, "backoff.example", -1)
            assert re.search(
                r"Mode +backoff since \S+ \S+, until \S+ \S+ \(in (59m\d+s|1h)\): \"451", queue
            )
            assert re.search(
                r"matches reply /try again later/ mode=backoff \(.*petrel.conf:5\)", queue
            )
            assert re.search(
                r"tried +\S+ \S+ from 127.0.0.1 to \[127.0.0.1\].*: smtp;451 4.3.2", message
            )
            queue, message = await explained(daemon, "rate.example", 1)
            assert re.search(r"total-max-smtp-in +total +\d+ of \d+.*  \(default\)", queue)
            assert re.search(
                r"Waits for +max-msg-rate of rate.example/.*petrel.conf:20\), until", queue
            )
            assert re.search(r"expected .*after 1 of its queue, at 2/h, max-msg-rate", message)
            queue, message = await explained(daemon, "listed.example", -1)
            assert "127.0.0.1 a.sender.example (disabled until " in queue
            assert "disable-source-ip of listed.example/v1" in message
            assert re.search(r"disable-source-ip,reenable-after=2h \(.*petrel.conf:8\)", message)
