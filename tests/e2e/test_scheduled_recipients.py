"""What `schedule --retry-recipients` makes due in memory is due on disk, too."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.admin.pattern import QueuePattern
from mta.daemon.operations import ShardOperations
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.scheduler import Scheduler
from mta.sim.node import configured
from mta.spool.store import Spool

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])
KEY = QueueKey("d.example", "v")
LATER = 4e9


async def test_who_is_made_due_is_not_found_again_where_the_queue_is_read_on(tmp_path):
    configuration = configured(f"<spool {tmp_path}/spool>\n</spool>\n")
    scheduler = Scheduler(configuration, frozenset())
    spool = Spool.open(tmp_path)
    envelope = Envelope(
        message_id=spool.next_message_id(), mail_from="", time_queued=0, size=4, head_size=0
    )
    recipients = [
        Recipient(envelope.message_id << 16 | n, envelope, f"u{n}@d.example", KEY, LATER)
        for n in range(3)
    ]
    await spool.accept(envelope, b"hi\r\n", recipients)
    scheduler.arrive(recipients, 0.0)
    shard = SimpleNamespace(
        configuration=configuration,
        scheduler=scheduler,
        spool=spool,
        delivery=SimpleNamespace(kick=lambda: None),
    )
    log = SimpleNamespace(write=lambda _: None)
    operations = ShardOperations(shard, "", log, asyncio.Event())
    changed = await operations.schedule(QueuePattern("*", "*"), recipients=True)
    assert changed.count == 1
    horizon = recipients[-1].due, recipients[-1].recipient_id
    assert (await spool.due(KEY, 50, horizon, 10)).recipients == []
    await spool.close()
