"""Which shard owns a queue.

A stable hash of the queue's name, the same in every process and after every restart, so
that all mail of a queue is in one process and its limits need no coordination.
"""

from typing import Final
from zlib import crc32

from mta.model.queue_key import QueueKey

GOLDEN: Final = 0x9E37_79B1
"""2³² divided by the golden ratio: Knuth's multiplicative hashing."""


def owner(key: QueueKey, shards: int) -> int:
    """The number of the shard, 0..shards-1, that owns the queue of that name."""
    if shards == 1:
        return 0
    # The lowest bits of a CRC are alike for names that are: a multiplication mixes them.
    mixed = crc32(f"{key.domain}/{key.vmta.lower()}".encode()) * GOLDEN & 0xFFFF_FFFF
    return mixed * shards >> 32
