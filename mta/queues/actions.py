"""What the scheduler asks the shell to do."""

from typing import NamedTuple

from mta.model.message import Recipient
from mta.model.reply import Reply
from mta.queues.connection import Connection
from mta.queues.lane import Key, Lane
from mta.queues.queue import Queue


class Open(NamedTuple):
    """Open a connection; its slots are taken."""

    connection: Connection


class Assign(NamedTuple):
    """An idle connection has something to deliver."""

    connection: Connection
    batch: list[Recipient]


class Close(NamedTuple):
    """Close an idle connection."""

    connection: Connection
    reason: str


class Interrupt(NamedTuple):
    """End a connection that is opening or in a transaction, for `connection.interrupted`.

    Not once the end of the content is sent: the recipients would get it twice.
    """

    connection: Connection


class ReadPage(NamedTuple):
    """Read the next recipients of a lane of a queue from the spool; then call `page_read`."""

    queue: Queue
    lane: Lane
    after: Key | None
    limit: int


class ReadPriorities(NamedTuple):
    """Ask the spool which priorities a queue holds; then call `priorities_read`."""

    queue: Queue


class Expire(NamedTuple):
    """Bounce recipients that are older than `bounce-after`, or have no window left; then call
    `settled`.
    """

    queue: Queue
    recipients: list[Recipient]


class PutOff(NamedTuple):
    """Note for recipients whose window has closed when the next opens; then call `put_off`."""

    queue: Queue
    recipients: list[Recipient]


class Sweep(NamedTuple):
    """Give up what is older than `bounce-after` where only the spool has it; then `swept`."""

    queue: Queue


class BounceQueue(NamedTuple):
    """Bounce everything a queue holds, because of a reply; then call `settled` and `reread`."""

    queue: Queue
    reply: Reply


class SaveQueue(NamedTuple):
    """Pause or the position in the retry list changed, which outlive a restart."""

    queue: Queue


class Notify(NamedTuple):
    """Tell these addresses of something that happened to a queue."""

    addresses: tuple[str, ...]
    text: str


class LookUp(NamedTuple):
    """Find out which mail hosts the queue's domain has; then call `looked_up`."""

    queue: Queue


class Forward(NamedTuple):
    """Move what the queue holds and no transaction has to where it goes; then `forwarded`.

    The queue is frozen until then.
    """

    queue: Queue


Action = (
    LookUp | Forward | Notify | Open | Assign | Close | Interrupt | ReadPage | ReadPriorities
    | Expire | PutOff | Sweep | BounceQueue | SaveQueue
)  # fmt: skip
