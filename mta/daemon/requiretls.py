"""Where mail with REQUIRETLS may go, and what becomes of it where there is no such host.

RFC 8689 §4.2.1 asks of a host, in this order:

    TLS                     with a certificate that proves the host's name
    the name                by a signed MX answer (DNSSEC), or by our own configuration
    REQUIRETLS              offered within TLS. Notifications, which have the null sender,
                            go without (§5), as they would be lost

A connection is asked when such mail comes to it; other mail never comes here. Where something
is lacking the connection goes on to the queue's other hosts, one after another, and stays with
the first that lacks nothing. Where there is none the message bounces, or waits if what is
lacking may come.
"""

from typing import TYPE_CHECKING, Final, NamedTuple

from mta import clock
from mta.errors import ResolveError
from mta.model.outcome import Bounced, Deferred
from mta.net import certificates
from mta.net.connector import ConnectFailed
from mta.net.lasting import Lasting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mta.daemon.hosts import HostFinder
    from mta.daemon.line import Line
    from mta.model.host import Host
    from mta.model.message import Recipient
    from mta.model.queue_key import QueueKey
    from mta.net.dialogue import Dialogue
    from mta.queues.connection import Connection
    from mta.queues.queue import Queue

    MayConnect = Callable[[Connection, Host], bool]
    Open = Callable[[Connection, Host], Awaitable[Dialogue]]

KNOWN_S: Final = 60.0
"""How long a host that lacked something is not asked again, for other mail of its queue."""
KNOWN_MAX: Final = 10_000
SHOWN_MAX: Final = 4
"""Hosts whose lack a diagnostic tells of."""


class Lack(NamedTuple):
    """What keeps such mail from a host; `detail` ends the enhanced status."""

    detail: str
    text: str
    is_temporary: bool = False


_NO_TLS: Final = "7.10"
_NOT_SUPPORTED: Final = "7.30"


class ProtectedRoads:
    """What the connections of one shard know of hosts that lack something."""

    def __init__(self, may_connect: "MayConnect", open_dialogue: "Open") -> None:
        self._may_connect = may_connect
        self._open = open_dialogue
        self._known: Lasting[tuple[QueueKey, Host, bool], Lack] = Lasting(KNOWN_MAX)

    async def outcome(
        self, line: "Line", batch: "Sequence[Recipient]", finder: "HostFinder"
    ) -> Bounced | Deferred | None:
        """None if the line's dialogue will do; it may be another one than before."""
        lack = await _lack(line.dialogue, line.connection.queue, batch, finder)
        if lack is None:
            return None
        queue, source = line.connection.queue, line.connection.source
        first = line.dialogue.host
        self._known.keep(
            (queue.key, first, not batch[0].envelope.mail_from), lack, clock.now() + KNOWN_S
        )
        lacks = [_told(str(first), lack)]
        seen = {(first.ip, first.port)}
        try:
            async for host in finder.find(queue, source.ip):
                if len(seen) >= queue.settings.mx_connection_attempts:
                    break
                if (host.ip, host.port) in seen or queue.skipped.get(host.name, 0) > clock.now():
                    continue
                seen.add((host.ip, host.port))
                other = await self._try(line, host, batch, finder)
                if other is None:
                    return None
                lacks.append(_told(str(host), other))
        except ResolveError as error:
            lacks.append(Lack(_NOT_SUPPORTED, str(error), is_temporary=not error.permanent))
        if not line.dialogue.usable:
            line.dialogue.farewell = "no host with REQUIRETLS"
        return _conclude(lacks)

    async def _try(
        self, line: "Line", host: "Host", batch: "Sequence[Recipient]", finder: "HostFinder"
    ) -> Lack | None:
        """None if the line goes to that host now, and that will do."""
        connection = line.connection
        # A notification needs less of a host.
        key = connection.queue.key, host, not batch[0].envelope.mail_from
        known = self._known.find(key, clock.now())
        if known is not None:
            return known
        await line.dialogue.quit()  # RFC 8689 §4.2.1; the slot is for one connection at a time
        if not self._may_connect(connection, host):
            return Lack(_NO_TLS, "has no room for a connection now", is_temporary=True)
        try:
            line.dialogue = await self._open(connection, host)
        except ConnectFailed as error:
            lack: Lack | None = Lack(_NO_TLS, error.text, is_temporary=True)
        else:
            connection.host = host.name
            lack = await _lack(line.dialogue, connection.queue, batch, finder)
        if lack is not None:
            self._known.keep(key, lack, clock.now() + KNOWN_S)
        return lack


async def _lack(
    dialogue: "Dialogue", queue: "Queue", batch: "Sequence[Recipient]", finder: "HostFinder"
) -> Lack | None:
    """What a message lacks at the peer of a dialogue."""
    name = dialogue.host.name
    secured = dialogue.secured
    if secured is None:
        if not queue.settings.use_starttls:
            return Lack(_NO_TLS, "use-starttls is off")
        if "STARTTLS" in dialogue.attempt.esmtp.split(","):
            return Lack(_NO_TLS, "STARTTLS is offered and does not work", is_temporary=True)
        return Lack(_NO_TLS, "STARTTLS is not offered")
    if dialogue.doubt is None:
        dialogue.doubt = await certificates.doubt(secured, name.strip("[]"))
    if dialogue.doubt:
        return Lack(_NO_TLS, dialogue.doubt)
    try:
        unsigned = await finder.unproven(queue, name, batch)
    except ResolveError as error:
        return Lack(_NOT_SUPPORTED, str(error), is_temporary=True)
    if unsigned:
        return Lack(
            _NOT_SUPPORTED,
            f"a resolver on this host knows no signed MX answer (DNSSEC) of {unsigned} with it",
        )
    if batch[0].envelope.mail_from and not dialogue.extensions.requiretls:
        return Lack(_NOT_SUPPORTED, "REQUIRETLS is not offered")
    return None


def _told(host: str, lack: Lack) -> Lack:
    return lack._replace(text=f"{host}: {lack.text}")


def _conclude(lacks: "list[Lack]") -> Bounced | Deferred:
    """What all hosts come to: the status is that of the one to be preferred."""
    texts = [one.text for one in lacks[:SHOWN_MAX]]
    if len(lacks) > SHOWN_MAX:
        texts.append(f"{len(lacks) - SHOWN_MAX} more")
    diagnostic = f"x-pmta;REQUIRETLS: {'; '.join(texts)}"
    waiting = [one for one in lacks if one.is_temporary]
    if waiting:
        return Deferred(f"4.{waiting[0].detail}", diagnostic)
    return Bounced(f"5.{lacks[0].detail}", diagnostic)
