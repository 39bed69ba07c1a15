"""Which shard owns a queue.

A stable hash of the queue's name, the same in every process and after every restart, so
that all mail of a queue is in one process and its limits need no coordination.
"""

from zlib import crc32

from mta.model.queue_key import QueueKey


def owner(key: QueueKey, shards: int) -> int:
    """The number of the shard, 0..shards-1, that owns the queue of that name."""
    return crc32(f"{key.domain}/{key.vmta.lower()}".encode()) % shards if shards > 1 else 0
