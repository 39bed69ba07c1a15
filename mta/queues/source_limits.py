"""What one source address may do for one queue. Guide: source-ip-max-smtp-out and the like.

Each directive gives a CIDR and a value; of those that contain an address the longest prefix
decides. A queue goes on with another of its addresses while one has room, and waits only
when none has.
"""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, TypeVar

from mta.queues.limits import RateLimit, Slots
from mta.settings.kinds import ANY_SOURCE
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from mta.queues.queue import Queue
    from mta.settings.domain import DomainSettings
    from mta.units import DataRate, Rate

T = TypeVar("T")


class SourceLimits:
    """The limits of one address, for one queue; made only where there are any."""

    __slots__ = ("connect", "data", "msg", "opening", "rates", "slots")

    def __init__(self, scope: str) -> None:
        self.opening = 0
        """Connections from the address that are being opened."""
        self.slots = Slots("source-ip-max-smtp-out", scope, UNLIMITED, "domain")
        self.msg = RateLimit("source-ip-max-msg-rate", scope, "domain")
        self.data = RateLimit("source-ip-max-data-volume-rate", scope, "domain", is_octets=True)
        self.connect = RateLimit("source-ip-max-connect-rate", scope, "domain")
        self.rates: tuple[RateLimit, ...] = ()
        """Those a transaction has to pass, where they limit anything."""

    def resize(
        self,
        *,
        out: int | None,
        msg: "Rate | None",
        data: "DataRate | None",
        connect: "Rate | None",
        now: float,
    ) -> None:
        """Follow a new configuration."""
        self.slots.follow(UNLIMITED if out is None else out)
        self.msg.resize(msg, now)
        self.data.resize(data, now)
        self.connect.resize(connect, now)
        self.rates = tuple(one for one in (self.msg, self.data) if one.ceiling is not None)

    def refusal(self, size: int, now: float) -> "tuple[Slots | RateLimit, float | None] | None":
        """What forbids one more connection from here, and until when; None if nothing does."""
        if self.slots.is_exhausted:
            return self.slots, None
        for limit in (*self.rates, self.connect):
            opening = 0 if limit is self.connect else self.opening
            if not limit.permits_opening(size, opening, now):
                return limit, limit.until(size, now)
        return None


def limited(settings: "DomainSettings") -> bool:
    """Whether a queue limits any of its source addresses."""
    return bool(
        settings.source_ip_max_smtp_out
        or settings.source_ip_max_msg_rate
        or settings.source_ip_max_data_volume_rate
        or settings.source_ip_max_connect_rate
    )


def follow(queue: "Queue", now: float) -> None:
    """Give the queue the limits its settings name; what is in use goes on counting."""
    settings = queue.settings
    if not (queue.source_limits or limited(settings)):
        return
    for source in queue.sources:
        ip = source.ip
        limits = queue.source_limits.get(ip)
        if limits is None:
            scope = f"{queue.key} from {ip or 'any address'}"
            limits = SourceLimits(scope)
            queue.source_limits = {**queue.source_limits, ip: limits}
        limits.resize(
            out=most_specific(settings.source_ip_max_smtp_out, ip),
            msg=most_specific(settings.source_ip_max_msg_rate, ip),
            data=most_specific(settings.source_ip_max_data_volume_rate, ip),
            connect=most_specific(settings.source_ip_max_connect_rate, ip),
            now=now,
        )


def most_specific(pairs: Sequence[tuple[str, T]], ip: str) -> T | None:
    """The value of the longest prefix that contains an address; the later of equals.

    An address that is left to the system is in every network of all addresses.
    """
    best: tuple[int, T | None] = (-1, None)
    for cidr, value in pairs:
        length = _prefix(cidr, ip)
        if length is not None and length >= best[0]:
            best = (length, value)
    return best[1]


def _prefix(cidr: str, ip: str) -> int | None:
    if cidr == ANY_SOURCE:
        return 0
    network = ip_network(cidr)
    if not ip:
        return 0 if network.prefixlen == 0 else None
    return network.prefixlen if ip_address(ip) in network else None
