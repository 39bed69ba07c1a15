"""`trace`: connections of queues as they happen, and an attempt now if it is asked for."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, cast

from mta.admin import parameters as p
from mta.admin.command import Arguments
from mta.admin.operations import CommandRefusedError, Operations, TraceQuery

SCHEDULED: Final = "{count} of {matching} matching queues scheduled."


async def trace(operations: Operations, a: Arguments) -> AsyncIterator[str]:
    """The lines of one shard. Guide: pmta trace.

    Queues are scheduled only once it watches, so that no connection is missed.
    """
    query = TraceQuery(
        pattern=a[p.QUEUES],
        source_ip=a[p.SOURCE_IP],
        data=a[p.LOG_DATA],
        resolution=a[p.LOG_RESOLUTION],
        to_log=a[p.TO_LOG],
    )
    is_to_schedule = a[p.TRACE_RETRY_RECIPIENTS]
    async with aclosing(cast("AsyncGenerator[str, None]", operations.trace(query))) as lines:
        async for line in lines:
            yield line
            if is_to_schedule:
                is_to_schedule = False
                yield await _scheduled(operations, query)


async def _scheduled(operations: Operations, query: TraceQuery) -> str:
    """What became of it: a shard that cannot be asked now is watched nevertheless."""
    try:
        changed = await operations.schedule(query.pattern, recipients=True)
    except CommandRefusedError as refusal:
        return f"not scheduled: {refusal}"
    return SCHEDULED.format(count=changed.count, matching=changed.matching)
