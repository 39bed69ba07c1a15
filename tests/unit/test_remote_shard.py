"""Whoever follows a worker hears of its end, however far behind he is."""

import asyncio
from types import SimpleNamespace

from mta.admin.operations import TraceQuery
from mta.admin.pattern import QueuePattern
from mta.daemon.control_link import Line, Watch
from mta.daemon.remote_shard import LINES_MAX, RemoteShard


async def test_a_trace_that_is_far_behind_ends_with_its_worker():
    said = []
    shard = RemoteShard(1, lambda: None, log=print, news=None, guessed=None)
    shard._link = SimpleNamespace(send=said.append)
    watching = shard.watch(TraceQuery(pattern=QueuePattern("*", "*")))
    first = asyncio.ensure_future(anext(watching))
    await asyncio.sleep(0)
    (watch,) = said
    assert isinstance(watch, Watch)
    for number in range(LINES_MAX + 1):
        shard._hear(Line(watch.number, str(number)), lambda: None)
    shard._abandon()
    async with asyncio.timeout(10):
        assert await first == "1"  # The oldest gave way.
        dropped, *rest = [line async for line in watching]
    assert (dropped, len(rest)) == ("(2 lines were dropped)", LINES_MAX - 2)
