"""Nothing outlives `bounce-after`, wherever it waits: also where only the spool has it."""

from types import SimpleNamespace

import pytest

from mta import clock, ids
from mta.daemon.giving_up import BOUNCE_PAGE, GivingUp
from mta.daemon.ledger import Ledger
from mta.model.message import Envelope, Recipient
from mta.queues.actions import Expire, ReadPage, Sweep
from mta.queues.queue import SWEEP_S
from mta.spool.store import Spool
from tests.queue_runs import KEY, NOW, QueueRun, recipients

DAY = 86400


@pytest.fixture
async def spool(tmp_path):
    opened = Spool.open(tmp_path)
    yield opened
    await opened.close()


async def queued(spool, *times, shard=0, due=NOW, priority=50, windows=()):
    """A message of one recipient for each time."""
    for time in times:
        number = ids.message_id(spool.next_message_id() >> ids.SHARD_BITS, shard)
        envelope = Envelope(
            message_id=number, mail_from="", time_queued=time, size=4, head_size=0, windows=windows
        )
        recipient = Recipient(
            ids.recipient_id(number, 0), envelope, "u@x", KEY, due, priority=priority
        )
        await spool.accept(envelope, b"hi\r\n", [recipient])


async def test_the_oldest_is_found_whichever_shard_gave_its_id(spool):
    assert await spool.ages.oldest(KEY) is None
    await queued(spool, 50.0, 60.0)
    await queued(spool, 40.0, 70.0, shard=3)
    assert await spool.ages.oldest(KEY) == 40.0


async def test_the_older_ones_come_in_pages_and_the_younger_do_not(spool):
    await queued(spool, *map(float, range(30)))
    await queued(spool, *map(float, range(30)), shard=5, due=NOW + 5)
    await queued(spool, 1.0, 2.0, shard=9, priority=70)
    found, after = [], None
    bounds = await spool.ages.bounds(KEY, 10.0)
    while page := await spool.ages.older(KEY, bounds, after, 7):
        assert len(page) <= 7
        found += page
        after = (page[-1].priority, page[-1].due, page[-1].recipient_id)
    assert sorted(r.envelope.time_queued for r in found) == sorted([*range(10), *range(10), 1, 2])


async def test_a_queue_that_rests_gives_up_what_only_the_spool_has(spool):
    old = BOUNCE_PAGE + 5
    start = clock.now()
    await queued(spool, *([start - 5 * DAY] * old), due=start + 10)
    await queued(spool, *([start - DAY] * 3), due=start)
    run = QueueRun("bounce-after 4d\nretry-after 1d")
    run.scheduler.restore(
        KEY, recipients=old + 3, octets=0, paused=True, retry_position=0, now=start
    )
    context = SimpleNamespace(wanted_kinds=frozenset(), log=print)
    ledger = Ledger(context, spool)
    some = GivingUp(run.scheduler, spool, ledger, lambda: None, print)
    run.queue.oldest = float("inf")  # as the scheduler leaves it that asks for a sweep
    await some.sweep(run.queue)
    await ledger.close()
    assert run.queue.recipients == 3
    assert (await spool.tally.counts()).recipients == 3
    assert run.queue.oldest == start - DAY


async def test_mail_for_a_domain_without_mx_is_given_up_at_its_age_and_no_sooner(spool):
    start = clock.now()
    await queued(spool, *([start - 5 * 3600] * 2), due=start)
    await queued(spool, start - 3 * 3600, due=start)
    await queued(spool, start - 5 * 3600, due=start, windows=((start - 3600, start + 60),))
    run = QueueRun("bounce-after 4d")
    run.scheduler.restore(KEY, recipients=4, octets=0, paused=False, retry_position=0, now=start)
    ledger = Ledger(SimpleNamespace(wanted_kinds=frozenset(), log=print), spool)
    some = GivingUp(run.scheduler, spool, ledger, lambda: None, print)
    await some.without_mx(run.queue, 6 * 3600)
    assert run.queue.recipients == 4
    await some.without_mx(run.queue, 4 * 3600)
    await ledger.close()
    assert (run.queue.recipients, run.queue.frozen) == (2, 0)
    assert (await spool.tally.counts()).recipients == 2


async def test_what_waits_for_its_window_since_long_leaves_a_queue_without_mx_alone(spool):
    start = clock.now()
    await queued(spool, start - 5 * 3600, due=start, windows=((start - 3600, start + 60),))
    run = QueueRun("bounce-after 4d")
    run.scheduler.restore(KEY, recipients=1, octets=0, paused=False, retry_position=0, now=start)
    ledger = Ledger(SimpleNamespace(wanted_kinds=frozenset(), log=print), spool)
    frozen = []
    some = GivingUp(run.scheduler, spool, ledger, lambda: frozen.append(run.queue), print)
    await some.without_mx(run.queue, 4 * 3600)
    await ledger.close()
    assert (run.queue.recipients, frozen) == (1, []), "each connection would close the others"


async def test_a_sweep_that_waited_for_its_turn_leaves_the_queue_alone_that_came_meanwhile(spool):
    """What it holds may be in a transaction, of which the old queue knows nothing."""
    start = clock.now()
    await queued(spool, start - 5 * DAY)
    run = QueueRun("bounce-after 4d")
    gone = run.scheduler.queue(KEY, start)
    del run.scheduler.queues[KEY]
    run.scheduler.restore(KEY, recipients=1, octets=0, paused=True, retry_position=0, now=start)
    ledger = Ledger(SimpleNamespace(wanted_kinds=frozenset(), log=print), spool)
    await GivingUp(run.scheduler, spool, ledger, lambda: None, print).sweep(gone)
    await ledger.close()
    assert (await spool.tally.counts()).recipients == 1
    assert (run.queue.frozen, gone.frozen) == (0, 0)


def test_the_spool_is_asked_only_when_something_may_be_too_old():
    run = QueueRun("bounce-after 4d")
    scheduler = run.scheduler
    scheduler.restore(KEY, recipients=2000, octets=0, paused=True, retry_position=0, now=NOW)
    queue = run.queue
    assert sweeps(run, NOW) == 0
    scheduler.priorities_read(queue, [50], NOW)
    (page,) = [action for action in scheduler.run(NOW) if isinstance(action, ReadPage)]
    scheduler.page_read(queue, page.lane, recipients(500), is_last=False, now=NOW)
    assert sweeps(run, NOW + SWEEP_S) == 1
    assert sweeps(run, NOW + 3 * SWEEP_S) == 0
    scheduler.swept(queue, NOW - 3 * DAY)
    assert sweeps(run, NOW + DAY - 1) == 0
    assert sweeps(run, NOW + DAY + SWEEP_S) == 1


def test_a_queue_that_is_all_in_memory_asks_nobody():
    run = QueueRun("bounce-after 1h")
    run.scheduler.arrive(recipients(2), NOW)
    run.scheduler.pause(run.queue, paused=True)
    run.run()
    later = run.run(NOW + 3600 + SWEEP_S)
    assert [len(action.recipients) for action in later if isinstance(action, Expire)] == [2]
    assert not any(isinstance(action, Sweep) for action in later)


def sweeps(run, now):
    return sum(isinstance(action, Sweep) for action in run.scheduler.run(now))
