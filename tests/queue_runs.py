"""A scheduler under a real configuration, as a test drives it in virtual time."""

from mta.config.configuration import Configuration
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Action, Open
from mta.queues.connection import Connection
from mta.queues.queue import Queue
from mta.queues.scheduler import Scheduler
from tests.texts import HEAD, configured

NOW = 1_000_000.0
KEY = QueueKey("example.net", "v1")
HOST = "mx.example.net"
OWN = frozenset({"192.0.2.1", "192.0.2.2"})
SOURCES = "smtp-source-host 192.0.2.1 a.example\nsmtp-source-host 192.0.2.2 b.example\n"


def configuration(domain: str, *, vmta: str = "", top: str = "") -> Configuration:
    """`domain` are lines of a <domain *>, `vmta` of the VirtualMTA v1, `top` of neither."""
    return configured(
        f"{HEAD}{top}\n<virtual-mta v1>\n{vmta}\n</virtual-mta>\n<domain *>\n{domain}\n</domain>\n"
    )


def recipients(
    count: int, *, first: int = 1, queued: float = NOW, due: float = NOW, mail_from: str = "a@b"
) -> list[Recipient]:
    """One recipient each of so many messages."""
    return [
        Recipient(
            number << 22,
            Envelope(
                message_id=number << 6,
                mail_from=mail_from,
                time_queued=queued,
                size=100,
                head_size=10,
            ),
            f"r{number}@{KEY.domain}",
            KEY,
            due,
        )
        for number in range(first, first + count)
    ]


class QueueRun:
    """One queue, and what the scheduler wanted done since it was last asked."""

    def __init__(self, domain: str = "", *, vmta: str = "", top: str = "") -> None:
        self.configuration = configuration(domain, vmta=vmta, top=top)
        self.scheduler = Scheduler(self.configuration, OWN)

    @property
    def queue(self) -> Queue:
        return self.scheduler.queues[KEY]

    def run(self, now: float = NOW) -> list[Action]:
        """What is to be done at that time."""
        actions = []
        while self.scheduler.has_decisions or (self.scheduler.next_wake() or now + 1) <= now:
            actions += self.scheduler.run(now)
        return actions

    def open(self, now: float = NOW) -> Connection:
        """The first connection it opens, up, with its first batch; AssertionError if none."""
        first = next(action.connection for action in self.run(now) if isinstance(action, Open))
        self.scheduler.connected(first, HOST, now)
        self.scheduler.next_batch(first, now)
        return first
