"""Whatever leads where, mail is in one queue and delivered once; nothing goes round."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues import actions
from mta.queues.connection import State
from mta.queues.scheduler import Scheduler
from mta.routing.redirect import Redirects
from mta.routing.rollup import RollupList
from tests.texts import configured

VMTAS = ("a", "b", "c", "d")
TARGETS = (*VMTAS, "pool")
DOMAINS = ("x.com", "y.com")
RUNS_MAX = 60
"""Runs of the scheduler after one event; each of a chain of queues takes a few."""


def edges(directive, targets):
    return st.none() | st.sampled_from(targets).map(lambda target: f"{directive} {target}\n")


blocks = st.lists(
    st.tuples(
        st.sampled_from(VMTAS),
        st.sampled_from(DOMAINS),
        edges("queue-to", DOMAINS),
        edges("reroute-to-virtual-mta", TARGETS),
        edges("backoff-reroute-to-virtual-mta", TARGETS),
    ),
    max_size=8,
)
keys = st.builds(QueueKey, st.sampled_from(DOMAINS), st.sampled_from(VMTAS))
events = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), keys, st.integers(1, 3)),
        st.tuples(st.sampled_from(["backoff", "normal", "pause", "resume"]), keys, st.just(0)),
        st.tuples(st.sampled_from(["deliver", "defer"]), keys, st.just(0)),
        st.tuples(st.just("roll"), keys, st.booleans()),
    ),
    max_size=25,
)
configurations = st.tuples(st.booleans(), blocks)


def written(with_rollup, lines):
    text = "".join(f"<virtual-mta {name}>\n</virtual-mta>\n" for name in VMTAS)
    text += "<virtual-mta-pool pool>\nvirtual-mta a\nvirtual-mta c\n</virtual-mta-pool>\n"
    for vmta, domain, *directives in lines:
        inside = "".join(one for one in directives if one)
        text += f"<virtual-mta {vmta}>\n<domain {domain}>\n{inside}</domain>\n</virtual-mta>\n"
    if with_rollup:
        text += "<mx-rollup-list>\nmx mx.p.net p.rollup\n</mx-rollup-list>\n"
    return text


class Shard:
    """A scheduler with a spool that is a dict, and connections that wait to be told."""

    def __init__(self, text):
        configuration = configured(text)
        self.now = 1_000_000.0
        self.spool = {}
        self.delivered = []
        self.known = dict.fromkeys(DOMAINS)
        self.lines = []
        self.sent = 0
        self.redirects = Redirects(
            configuration,
            RollupList(rule for rule, _ in configuration.parts.rollup_rules),
            rolled_up=self.known.get,
            in_backoff=self.is_in_backoff,
        )
        self.scheduler = Scheduler(configuration, frozenset(), redirecting=self.redirects)

    def is_in_backoff(self, key):
        return self.scheduler.is_in_backoff(key)

    # What the shell does

    def settle(self):
        """Carry out what is decided until nothing is."""
        for _ in range(RUNS_MAX):
            for action in self.scheduler.run(self.now):
                self.perform(action)
            if not self.scheduler.has_decisions:
                break
        assert not self.scheduler.has_decisions, "it goes round for ever"
        self.check()

    def perform(self, action):
        match action:
            case actions.Open(connection):
                self.scheduler.connected(connection, "mx", self.now)
                self.ask(connection)
            case actions.Assign(connection):
                self.lines.append(connection)
            case actions.Close(connection):
                self.scheduler.closed(connection, self.now)
            case actions.ReadPage(queue, lane, after, limit):
                found = self.of(queue.key, lane.priority, after)
                self.scheduler.page_read(
                    queue, lane, found[:limit], is_last=len(found) <= limit, now=self.now
                )
            case actions.ReadPriorities(queue):
                priorities = sorted({r.priority for r in self.of(queue.key)}, reverse=True)
                self.scheduler.priorities_read(queue, priorities, self.now)
            case actions.LookUp(queue):
                self.known[queue.key.domain] = self.known[queue.key.domain] or ""
                self.scheduler.looked_up(queue)
            case actions.Forward(queue):
                self.forward(queue)

    def ask(self, connection):
        """A free connection asks for mail."""
        step = self.scheduler.next_batch(connection, self.now)
        if isinstance(step, list):
            assert not self.redirects.leads_away(connection.queue.key) or (
                connection.queue.is_paused
            )
            self.lines.append(connection)
        elif step is not None:
            self.scheduler.closed(connection, self.now)

    def forward(self, queue):
        busy = {r.recipient_id for c in queue.connections.values() for r in c.batch}
        moved = []
        for recipient in self.of(queue.key):
            way = self.redirects.way(queue.key)
            if recipient.recipient_id in busy or not way:
                continue
            assert way[-1].key != queue.key
            self.scheduler.settled(queue, [recipient])
            recipient.queue = way[-1].key
            moved.append(recipient)
        self.scheduler.arrive(moved, self.now)
        self.scheduler.forwarded(queue, self.now, later=not moved)

    def of(self, key, priority=None, after=None):
        found = [
            r
            for r in self.spool.values()
            if r.queue == key
            and priority in (None, r.priority)
            and (after is None or (r.due, r.recipient_id) > after)
        ]
        return sorted(found, key=lambda r: (r.due, r.recipient_id))

    # What happens

    def happen(self, what, key, number):
        self.now += 1
        queue = self.scheduler.queue(key, self.now)
        match what:
            case "arrive":
                self.arrive(key, number)
            case "backoff" | "normal":
                self.scheduler.set_mode(queue, what, self.now)
            case "pause" | "resume":
                self.scheduler.pause(queue, paused=what == "pause")
            case "roll":
                self.known[key.domain] = "p.rollup" if number else None
            case "deliver" | "defer":
                self.answer(what)
        self.settle()

    def arrive(self, key, count):
        way = self.redirects.way(key, is_new=True)
        end = way[-1].key if way else key
        for _ in range(count):
            self.sent += 1
            envelope = Envelope(
                message_id=self.sent << 6, mail_from="", time_queued=self.now, size=1, head_size=1
            )
            recipient = Recipient(self.sent << 22, envelope, f"u@{key.domain}", end, self.now)
            self.spool[recipient.recipient_id] = recipient
            self.scheduler.arrive([recipient], self.now)

    def answer(self, what):
        """The peer of the oldest connection answers."""
        lines, self.lines = self.lines[:1], self.lines[1:]
        for connection in lines:
            batch = connection.batch
            is_done = what == "deliver"
            for recipient in batch:
                assert self.spool[recipient.recipient_id].queue == connection.queue.key
                if is_done:
                    del self.spool[recipient.recipient_id]
                    self.delivered.append(recipient.recipient_id)
                else:
                    recipient.due = self.spool[recipient.recipient_id].due = self.now + 3
            self.scheduler.finish(
                connection,
                done=batch if is_done else [],
                deferred=[] if is_done else [self.spool[r.recipient_id] for r in batch],
                untried=[],
                now=self.now,
            )
            self.ask(connection)

    def check(self):
        """Everything that was accepted is delivered or in one queue, and the counts agree."""
        assert len(self.spool) + len(self.delivered) == self.sent
        for key, queue in self.scheduler.queues.items():
            assert queue.recipients == len(self.of(key)), key
        assert sum(q.recipients for q in self.scheduler.queues.values()) == len(self.spool)

    def drain(self):
        """Let everything go out that is there."""
        for queue in list(self.scheduler.queues.values()):
            self.scheduler.pause(queue, paused=False)
            self.scheduler.set_mode(queue, "normal", self.now)
        self.settle()
        for _ in range(4 * self.sent + 40):
            self.now += 61
            self.settle()
            while self.lines:
                assert self.lines[0].state is State.BUSY
                self.answer("deliver")
                self.settle()
            if not self.spool:
                return


@settings(deadline=None, max_examples=150)
@given(configuration=configurations, history=events)
def test_mail_is_in_one_queue_and_delivered_once(configuration, history):
    shard = Shard(written(*configuration))
    for event in history:
        shard.happen(*event)
    shard.drain()
    assert shard.spool == {}
    assert sorted(shard.delivered) == sorted(set(shard.delivered))
    assert len(shard.delivered) == shard.sent
