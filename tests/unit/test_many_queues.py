"""However many queues there are, the mail has its turn while they are shown."""

import asyncio
from types import SimpleNamespace

import pytest

from mta.admin.operations import DomainQuery, QueueQuery
from mta.admin.pattern import QueuePattern
from mta.daemon.domain_rows import QUEUES_AT_ONCE
from mta.daemon.operations import ShardOperations
from mta.model.queue_key import QueueKey
from tests.limit_runs import Run

QUEUES = 3 * QUEUES_AT_ONCE
BUSIEST = (5, QUEUES // 2, QUEUES - 1)


@pytest.fixture(scope="module")
def operations():
    run = Run()
    for number in range(QUEUES):
        key = QueueKey(f"d{number}.example", "v1")
        run.mail(key, 1 + number % 2 + 2 * (number in BUSIEST))
    shard = SimpleNamespace(configuration=run.configuration, scheduler=run.scheduler)
    return ShardOperations(shard, "", None, None)


async def with_turns(answering):
    """An answer, and how often others had their turn meanwhile."""
    task = asyncio.ensure_future(answering)
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    return task.result(), turns


def expected(name):
    most = sorted(BUSIEST, key=lambda number: (-(3 + number % 2), name(number)))
    odd = sorted((n for n in range(1, QUEUES, 2) if n not in BUSIEST), key=name)
    return [name(number) for number in [*most, *odd][:6]]


async def test_the_largest_domains_are_shown_in_turns(operations):
    answer, turns = await with_turns(operations.domains(DomainQuery(max_items=6)))
    assert [row.domain for row in answer.rows] == expected(lambda n: f"d{n}.example")
    assert answer.matching == QUEUES
    assert turns >= QUEUES // QUEUES_AT_ONCE


async def test_the_largest_queues_are_shown_in_turns(operations):
    query = QueueQuery(pattern=QueuePattern("*", "*"), max_items=6)
    answer, turns = await with_turns(operations.queues(query))
    assert [str(row.key) for row in answer.rows] == expected(lambda n: f"d{n}.example/v1")
    assert (answer.matching, answer.total_queues) == (QUEUES, QUEUES)
    assert answer.total_recipients == QUEUES + QUEUES // 2 + 2 * len(BUSIEST)
    assert turns >= QUEUES // QUEUES_AT_ONCE


async def test_virtual_mtas_are_summed_in_turns(operations):
    answer, turns = await with_turns(operations.vmtas(sort="rcpt", max_items=6))
    assert (answer.rows[0].name, answer.rows[0].domains) == ("v1", QUEUES)
    assert turns >= QUEUES // QUEUES_AT_ONCE
