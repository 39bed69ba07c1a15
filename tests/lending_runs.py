"""Workers and who lends to them, as a test drives them in virtual time, in one process."""

from mta.daemon.lending import Lending
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.net.slots import Slots as Clients
from mta.queues.actions import Assign, Close, Open
from mta.queues.connection import State
from mta.queues.scheduler import Scheduler
from mta.queues.shares import Shares
from tests.queue_runs import HOST, NOW, OWN
from tests.texts import HEAD, configured

IP = "198.51.100.1"
STEP_S = 0.05


def lent(vmta="", *, top="", more=""):
    """A configuration with one VirtualMTA; a queue may have thirty connections."""
    return configured(
        f"{HEAD}{top}\n<virtual-mta v1>\n{vmta}\n</virtual-mta>\n{more}\n"
        "<domain *>\nmax-smtp-out 30\n</domain>\n"
    )


class Worker:
    """The scheduler and the clients of one shard; its connections do as providers do."""

    def __init__(self, configuration, number, workers, *, greeting_s, transaction_s):
        root = configuration.root
        self.key = QueueKey(f"d{number}.example", "v1")
        self.scheduler = Scheduler(configuration, OWN, is_lent=True)
        self.clients = Clients(
            root.total_max_smtp_in, configuration.submitters.groups, shards=workers
        )
        self.shares = Shares(self.scheduler.gate, self.clients)
        self.is_taken = False
        """Whether it took a configuration since it last said what it uses."""
        self.delivered = []
        self.in_vain = 0
        """Connections that ended without mail."""
        self.mails = 0
        self._greeting_s = greeting_s
        self._transaction_s = transaction_s
        self.under_way = {}
        """Connections that go to a host, and when something happens to them next."""

    @property
    def connections(self):
        return self.scheduler.gate.total.used

    def mail(self, count, now=NOW, key=None):
        for _ in range(count):
            self.mails += 1
            envelope = Envelope(
                message_id=self.mails << 6, mail_from="", time_queued=now, size=9, head_size=1
            )
            to = key or self.key
            recipient = Recipient(self.mails << 22, envelope, f"r@{to.domain}", to, now)
            self.scheduler.arrive([recipient], now)

    def reload(self, configuration, now):
        self.scheduler.reload(configuration, OWN, now)
        self.clients.follow(configuration.root.total_max_smtp_in, configuration.submitters.groups)
        self.is_taken = True

    def act(self, now):
        """What is due, and what the scheduler decides."""
        for connection, at in list(self.under_way.items()):
            if at <= now:
                del self.under_way[connection]
                self._go_on(connection, now)
        while self.scheduler.has_decisions or (self.scheduler.next_wake() or now + 1) <= now:
            for action in self.scheduler.run(now):
                match action:
                    case Open(connection):
                        if self.scheduler.connecting(connection, HOST, IP, now):
                            self.under_way[connection] = now + self._greeting_s
                        else:
                            self.scheduler.crowded(connection, now)
                    case Assign(connection):
                        self.under_way[connection] = now + self._transaction_s
                    case Close(connection):
                        self.scheduler.closed(connection, now)

    def _go_on(self, connection, now):
        if connection.state is State.OPENING:
            self.scheduler.connected(connection, HOST, now)
        else:
            batch = connection.batch
            self.delivered += [now] * len(batch)
            self.scheduler.finish(
                connection, done=batch, deferred=(), untried=(), now=now, delivered=len(batch)
            )
        answer = self.scheduler.next_batch(connection, now)
        if isinstance(answer, Close):
            self.in_vain += not connection.messages
            self.scheduler.closed(connection, now)
        elif answer is not None:
            self.under_way[connection] = now + self._transaction_s


class Workers:
    """All of them, with their supervisor."""

    def __init__(self, count, configuration, *, greeting_s=0.0, transaction_s=0.2):
        self.now = NOW
        self.lending = Lending(count)
        self.every = [
            Worker(
                configuration,
                number,
                count,
                greeting_s=greeting_s,
                transaction_s=transaction_s,
            )
            for number in range(count)
        ]
        self.most = 0
        """Connections at once."""

    def mail(self, count):
        for worker in self.every:
            worker.mail(count, self.now)

    def reload(self, configuration):
        self.lending.reloads(self.every)
        for worker in self.every:
            worker.reload(configuration, self.now)

    def run(self, seconds, check=lambda: None):
        """Go on for a time; `check` is called at each step."""
        end = self.now + seconds
        while self.now < end:
            self.now += STEP_S
            for worker in self.every:
                worker.act(self.now)
                self._say_news(worker)
            self.most = max(self.most, self.connections)
            check()

    def _say_news(self, worker):
        news = worker.shares.news(self.now, is_taken=worker.is_taken)
        worker.is_taken = False
        if news.is_any:
            self.lent(self.lending.hear(worker, news, self.now))

    def lent(self, changed):
        """What the lessor says reaches the workers."""
        for worker, leases in changed.items():
            for birth, lease in leases:
                worker.shares.obey(birth, lease, self.now)
            worker.act(self.now)
            self._say_news(worker)

    @property
    def connections(self):
        return sum(worker.connections for worker in self.every)

    @property
    def delivered(self):
        return sorted(at for worker in self.every for at in worker.delivered)
