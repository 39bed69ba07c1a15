"""Which queue new mail goes into, from the domain and VirtualMTA it was chosen for."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from mta import clock
from mta.model.queue_key import QueueKey
from mta.routing.cold import ColdCounts, Count, part
from mta.routing.redirect import Hop, Loop, Redirects

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.rollups import Rollups
    from mta.spool.store import Spool

REDIRECTING = {"queue_to", "reroute_to_virtual_mta", "backoff_reroute_to_virtual_mta"}
"""Directives of queues that send mail elsewhere; without any, nothing is looked for."""


class Router:
    """Of one shard; follows the configuration.

    `counts` are the messages that cold VirtualMTAs took, and outlive configurations.
    """

    def __init__(
        self,
        spool: "Spool",
        counts: ColdCounts,
        in_backoff: Callable[[QueueKey], bool | None],
        log: Callable[[str], None],
        *,
        shard: int = 0,
        shards: int = 1,
    ) -> None:
        self._spool = spool
        self._counts = counts
        self._in_backoff = in_backoff
        self._log = log
        self._shard = shard
        self.shards = shards
        self._configuration: Configuration
        self.redirects: Redirects
        self.is_used = False
        """Whether any line of the configuration sends new mail elsewhere."""

    def follow(self, configuration: "Configuration", rollups: "Rollups") -> None:
        """Let a configuration say where mail goes from now on."""
        self._configuration = configuration
        self.redirects = Redirects(
            configuration,
            rollups.list,
            rolled_up=rollups.known,
            in_backoff=self._in_backoff,
            on_loop=self._tell,
        )
        parts = configuration.parts
        self.is_used = bool(
            rollups.list
            or parts.every_queue is not None
            or parts.domain_attributes & REDIRECTING
            or any(vmta.cold_virtual_mta for vmta in parts.vmtas.values())
        )

    def way(self, key: QueueKey, diverted: dict[QueueKey, str] | None) -> list[Hop]:
        """Where a new recipient goes instead of a queue, step by step.

        `diverted` holds, for one message, what was decided for others of its recipients, so
        that each message is counted once; None for mail that no cold VirtualMTA takes.
        """
        if diverted is None:
            return self.redirects.way(key, is_new=True)

        def divert(at: QueueKey) -> str:
            if at not in diverted:
                diverted[at] = self._divert(at)
            return diverted[at]

        return self.redirects.way(key, is_new=True, divert=divert)

    def end(
        self, key: QueueKey, pool: str, diverted: dict[QueueKey, str] | None
    ) -> tuple[QueueKey, str]:
        """The queue a new recipient ends in, and the pool that gave its VirtualMTA."""
        for hop in self.way(key, diverted):
            key, pool = hop.key, hop.pool or pool
        return key, pool

    def colds(self, key: QueueKey) -> list[tuple[Count, int]]:
        """What each cold VirtualMTA of a queue's took today, and how much it may take."""
        limits = self._limits(key)
        counts = [
            self._counts.use(key.vmta, cold, key.domain, today()) for cold in self._cold_names(key)
        ]
        return [(count, count.limit(limits)) for count in counts]

    def _divert(self, key: QueueKey) -> str:
        colds = self._cold_names(key)
        if not colds:
            return ""
        cold, changed = self._counts.divert(key.vmta, key.domain, colds, self._limits(key), today())
        for count in changed:
            # Asked before the message is: it is never more than was counted.
            self._spool.save_cold(count).add_done_callback(lambda done: done.exception())
        return cold

    def _limits(self, key: QueueKey) -> tuple[int, ...]:
        """Of several shards, each lets its part through: together never more than the limit."""
        limits = self._configuration.domain(key).max_cold_virtual_mta_msg
        if self.shards == 1:
            return limits
        return tuple(part(limit, self._shard, self.shards) for limit in limits)

    def _cold_names(self, key: QueueKey) -> list[str]:
        vmta = self._configuration.vmta(key.vmta)
        found = [self._configuration.vmta(name) for name in vmta.cold_virtual_mta] if vmta else []
        return [one.name for one in found if one is not None and one is not vmta]

    def _tell(self, loop: Loop) -> None:
        place = self._configuration.domain_places(loop.key).get(loop.directive)
        written = f" ({place})" if place else ""
        self._log(
            f"error: {loop.directive} of {loop.key}{written} comes back to where it begins; "
            "it is ignored, and the mail stays"
        )


def today() -> int:
    """The local date, as a number that grows by one each midnight."""
    return date.fromtimestamp(clock.now()).toordinal()  # noqa: DTZ012 - local midnight is meant
