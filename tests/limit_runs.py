"""Queues of several domains and VirtualMTAs, as a test drives them in virtual time."""

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Open
from mta.queues.scheduler import Scheduler
from tests.queue_runs import HOST, NOW, OWN
from tests.texts import HEAD, configured

V1 = QueueKey("example.net", "v1")
V2 = QueueKey("example.net", "v2")
OTHER = QueueKey("example.org", "v1")
IP = "198.51.100.1"


class Run:
    """Queues under a real configuration, driven in virtual time."""

    def __init__(self, domain="", *, vmta="", top="", more=""):
        self.configuration = configured(
            f"{HEAD}{top}\n<virtual-mta v1>\n{vmta}\n</virtual-mta>\n"
            f"<virtual-mta v2>\n</virtual-mta>\n{more}\n<domain *>\n{domain}\n</domain>\n"
        )
        self.scheduler = Scheduler(self.configuration, OWN)
        self.number = 0

    def mail(self, key=V1, count=1, *, now=NOW, size=100):
        for _ in range(count):
            self.number += 1
            envelope = Envelope(
                message_id=self.number << 6, mail_from="", time_queued=now, size=size, head_size=10
            )
            recipient = Recipient(self.number << 22, envelope, f"r@{key.domain}", key, now)
            self.scheduler.arrive([recipient], now)

    def run(self, now=NOW):
        actions = []
        while self.scheduler.has_decisions or (self.scheduler.next_wake() or now + 1) <= now:
            actions += self.scheduler.run(now)
        return actions

    def opened(self, now=NOW):
        return [a.connection for a in self.run(now) if isinstance(a, Open)]

    def up(self, connection, now=NOW):
        assert self.scheduler.connecting(connection, HOST, IP, now)
        self.scheduler.connected(connection, HOST, now)
        return self.scheduler.next_batch(connection, now)

    def done(self, connection, now=NOW, *, delivered=True, failed=0):
        batch = connection.batch
        connection.recipients_failed += failed
        self.scheduler.finish(
            connection,
            done=batch,
            deferred=(),
            untried=(),
            now=now,
            delivered=len(batch) if delivered else 0,
        )
        return self.scheduler.next_batch(connection, now)

    def refusal(self, key=V1):
        queue = self.scheduler.queues[key]
        return queue.blocked_by, queue.blocked_until
