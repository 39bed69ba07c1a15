"""What a shard has of the machine it runs on: addresses, network, DNS, and who writes its disk.

The simulator brings a machine of its own. Everything else of a shard is the same there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from mta.net.bind import Bind, bound
from mta.net.connector import Connect, connect_over_tcp
from mta.net.local_addresses import local_addresses
from mta.net.resolver import Resolver
from mta.spool.thread import TakeUp, WriterThread


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The real one, unless told otherwise."""

    own_addresses: Callable[[], frozenset[str]] = local_addresses
    connect: Connect = connect_over_tcp
    bind: Bind = bound
    resolver: Callable[[tuple[str, ...]], Resolver] = Resolver
    take_up: TakeUp = WriterThread
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    """For processes that sign; with none, signing is work of threads."""
    sample_s: float = 1.0
    """How often traffic is counted for the periods of `show status`."""
