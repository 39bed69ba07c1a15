"""Traffic, connections, queues and spool of a shard at a glance."""

from typing import TYPE_CHECKING

from mta import clock
from mta.admin.answers import Connections, QueueTotals, StatusAnswer

if TYPE_CHECKING:
    from mta.daemon.shard import Shard
    from mta.queues.queue import Queue


async def status(shard: "Shard") -> StatusAnswer:
    """What `show status` shows of it."""
    queues = shard.scheduler.queues.values()
    root = shard.configuration.root
    counts = await shard.spool.tally.counts()
    kinds: dict[str, list[Queue]] = {}
    for queue in queues:
        if queue.recipients:
            kinds.setdefault(queue.settings.type, []).append(queue)
    domains = {kind: frozenset(q.key.domain for q in group) for kind, group in kinds.items()}
    traffic = shard.traffic
    return StatusAnswer(
        now=clock.now(),
        started=shard.started,
        host_name=root.host_name,
        is_stopping=shard.is_stopping,
        total=traffic.total,
        last_hour=traffic.last_hour,
        top_hour=traffic.top_hour,
        last_minute=traffic.last_minute,
        top_minute=traffic.top_minute,
        inbound=Connections(
            active=len(shard.door.connections),
            top=shard.door.connections_top,
            maximum=root.total_max_smtp_in,
        ),
        outbound=Connections(
            active=shard.scheduler.gate.total.used,
            top=shard.delivery.connections_top,
            maximum=root.total_max_smtp_out,
        ),
        names_cached=shard.resolver.names_cached,
        names_pending=shard.resolver.names_pending,
        queues={
            kind: QueueTotals(
                sum(q.recipients for q in group),
                len(domains[kind]),
                sum(q.octets for q in group),
            )
            for kind, group in kinds.items()
        },
        domains=domains if shard.shards > 1 else {},
        spool_messages=counts.messages,
        spool_recipients=counts.recipients,
    )
