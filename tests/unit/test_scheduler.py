"""The scheduler: demand, limits at every level, retry, backoff, age, and sleep."""

from types import SimpleNamespace

import pytest

from mta.model.message import PRIORITY, Envelope, Recipient
from mta.model.outcome import Verdict
from mta.model.queue_key import QueueKey
from mta.model.reply import Reply
from mta.queues.actions import Assign, BounceQueue, Close, Expire, Open, ReadPage, ReadPriorities
from mta.queues.agenda import FOLLOWERS_MAX, HEAP_MIN, LOOKED_AT_MAX
from mta.queues.queue import KEEP_EMPTY_S
from mta.queues.scheduler import Scheduler
from mta.settings.domain import DomainSettings
from mta.settings.root import RootSettings
from mta.units import UNLIMITED, Rate

KEY = QueueKey("example.net", "vmta1")
NOW = 1_000_000.0
DAY = 86400


class FakeConfiguration:
    """Settings as the scheduler reads them; every queue has the same."""

    def __init__(self, *, vmta=None, total=UNLIMITED, sources=(), **domain):
        self.root = RootSettings(total_max_smtp_out=total)
        values = {
            "retry_after": (600, 1200),
            "backoff_max_smtp_out": 2,
            "retry_recipients_after": 300,
            "bounce_after": 4 * DAY,
        }
        self.settings = DomainSettings(**(values | domain))
        limits = {"max_smtp_out": UNLIMITED, "max_msg_rate": None, "max_data_volume_rate": None}
        limits |= vmta or {}
        self._vmta = SimpleNamespace(smtp_source_host=sources, host_name="", **limits)

    def domain(self, key):
        return self.settings

    def vmta(self, name):
        return self._vmta

    def reply_rules(self, name):
        return ()


def recipients(count, *, first=1, key=KEY, queued=NOW, due=NOW, per_message=1):
    found = []
    for message in range(first, first + count):
        envelope = Envelope(
            message_id=message << 6, mail_from="a@b", time_queued=queued, size=100, head_size=10
        )
        found += [
            Recipient(message << 22 | i, envelope, f"r{i}@{key.domain}", key, due)
            for i in range(per_message)
        ]
    return found


def scheduler(**settings):
    return Scheduler(FakeConfiguration(**settings), frozenset())


def opened(actions):
    return [action.connection for action in actions if isinstance(action, Open)]


def up(some, connection, now=NOW):
    some.connected(connection, "mx.example.net", now)
    return some.next_batch(connection, now)


def finish(some, connection, now=NOW, *, deferred=0):
    """The batch of a connection is delivered, or deferred that many seconds."""
    batch = connection.batch
    for recipient in batch:
        recipient.due = now + deferred
    some.finish(
        connection,
        done=[] if deferred else batch,
        deferred=batch if deferred else [],
        untried=[],
        now=now,
    )


def test_each_message_due_gets_a_connection_up_to_max_smtp_out():
    some = scheduler(max_smtp_out=3)
    some.arrive(recipients(2), NOW)
    assert len(opened(some.run(NOW))) == 2
    some.arrive(recipients(5, first=10), NOW)
    assert len(opened(some.run(NOW))) == 1
    assert some.queues[KEY].blocked_by == ("max-smtp-out", "example.net/vmta1")


def test_recipients_of_one_message_need_one_connection():
    some = scheduler()
    some.arrive(recipients(1, per_message=50), NOW)
    (connection,) = opened(some.run(NOW))
    assert len(up(some, connection)) == 50


def test_a_batch_holds_one_message_and_at_most_max_rcpt_per_message():
    some = scheduler(max_rcpt_per_message=3, max_smtp_out=1)
    some.arrive(recipients(2, per_message=4), NOW)
    (connection,) = opened(some.run(NOW))
    sizes = []
    batch = up(some, connection)
    while isinstance(batch, list):
        assert len({r.envelope.message_id for r in batch}) == 1
        sizes.append(len(batch))
        finish(some, connection)
        batch = some.next_batch(connection, NOW)
    assert sizes == [3, 1, 3, 1]
    assert batch == Close(connection, "no more mail")


def test_a_connection_ends_at_max_msg_per_connection():
    some = scheduler(max_msg_per_connection=2, max_smtp_out=1)
    some.arrive(recipients(3), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    assert isinstance(some.next_batch(connection, NOW), list)
    finish(some, connection)
    assert some.next_batch(connection, NOW) == Close(connection, "max-msg-per-connection")
    some.closed(connection, NOW)
    assert len(opened(some.run(NOW))) == 1


def test_an_idle_connection_is_used_before_a_new_one_and_closed_in_time():
    some = scheduler(connection_idle_timeout=30)
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    assert some.next_batch(connection, NOW) is None
    some.arrive(recipients(1, first=2), NOW + 1)
    (assign,) = some.run(NOW + 1)
    assert isinstance(assign, Assign)
    assert assign.connection is connection
    finish(some, connection, NOW + 1)
    assert some.next_batch(connection, NOW + 1) is None
    assert some.next_wake() <= NOW + 31
    assert some.run(NOW + 31) == [Close(connection, "connection-idle-timeout")]


def test_a_message_rate_holds_and_the_queue_wakes_when_it_lets_go():
    some = scheduler(max_msg_rate=Rate(2, 60), max_smtp_out=1)
    some.arrive(recipients(5), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    assert isinstance(some.next_batch(connection, NOW + 10), list)
    finish(some, connection, NOW + 10)
    assert some.next_batch(connection, NOW + 10) == Close(connection, "max-msg-rate")
    some.closed(connection, NOW + 10)
    assert opened(some.run(NOW + 10)) == []
    assert NOW + 59 < some.next_wake() <= NOW + 61
    assert len(opened(some.run(NOW + 61))) == 1


def test_no_more_connections_are_opened_than_the_rate_can_use():
    some = scheduler(max_msg_rate=Rate(2, 60))
    some.arrive(recipients(10), NOW)
    assert len(opened(some.run(NOW))) == 2


def test_a_vmta_limit_is_shared_by_its_queues_and_a_free_slot_wakes_the_next():
    some = scheduler(vmta={"max_smtp_out": 1})
    other = QueueKey("example.org", "vmta1")
    some.arrive(recipients(1), NOW)
    some.arrive(recipients(1, first=2, key=other), NOW)
    (connection,) = opened(some.run(NOW))
    assert connection.queue.key == KEY
    assert some.queues[other].blocked_by == ("max-smtp-out", "vmta1")
    up(some, connection)
    finish(some, connection)
    assert isinstance(some.next_batch(connection, NOW), Close)
    some.closed(connection, NOW)
    (second,) = opened(some.run(NOW))
    assert second.queue.key == other


def test_an_idle_connection_yields_its_slot_to_a_queue_that_has_work():
    some = scheduler(total=1, connection_idle_timeout=60)
    other = QueueKey("example.org", "vmta1")
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    assert some.next_batch(connection, NOW) is None
    some.arrive(recipients(1, first=2, key=other), NOW)
    (close,) = some.run(NOW)
    assert close == Close(connection, "total-max-smtp-out: another queue waits")
    some.closed(connection, NOW)
    (second,) = opened(some.run(NOW))
    assert second.queue.key == other


def test_a_vmta_rate_caps_all_its_queues_together():
    some = scheduler(vmta={"max_msg_rate": Rate(3, 3600)})
    other = QueueKey("example.org", "vmta1")
    some.arrive(recipients(2), NOW)
    some.arrive(recipients(2, first=9, key=other), NOW)
    taken = 0
    for connection in opened(some.run(NOW)):
        taken += isinstance(up(some, connection), list)
    assert taken == 3


def test_a_failed_connection_makes_the_queue_retry_on_the_ladder():
    some = scheduler()
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    some.failed(connection, "ECONNREFUSED", NOW)
    assert opened(some.run(NOW)) == []
    assert some.queues[KEY].retry_at == NOW + 600
    (second,) = opened(some.run(NOW + 600))
    some.failed(second, "ECONNREFUSED", NOW + 600)
    some.run(NOW + 600)
    assert some.queues[KEY].retry_at == NOW + 600 + 1200


def test_a_delivery_resets_the_retry_ladder():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    some.failed(connection, "ECONNREFUSED", NOW)
    (second,) = opened(some.run(NOW + 600))
    up(some, second, NOW + 600)
    finish(some, second, NOW + 600)
    some.delivered(some.queues[KEY], NOW + 600)
    assert some.queues[KEY].ladder.position == 0


def test_several_connections_failing_at_once_count_as_one_failure():
    some = scheduler()
    some.arrive(recipients(3), NOW)
    for connection in opened(some.run(NOW)):
        some.failed(connection, "ECONNREFUSED", NOW)
    assert some.queues[KEY].ladder.position == 1


def test_working_connections_go_on_while_the_queue_retries():
    some = scheduler(max_smtp_out=2)
    some.arrive(recipients(4), NOW)
    first, second = opened(some.run(NOW))
    up(some, first)
    some.failed(second, "421 too many connections", NOW)
    finish(some, first)
    assert isinstance(some.next_batch(first, NOW), list)


def test_new_mail_ends_a_retry_where_the_directive_says_so():
    some = scheduler(retry_upon_new_mail=True)
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    some.failed(connection, "ETIMEDOUT", NOW)
    some.run(NOW)
    some.arrive(recipients(1, first=5), NOW + 1)
    assert opened(some.run(NOW + 1))


def test_deferred_recipients_are_tried_again_when_due():
    some = scheduler()
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection, deferred=300)
    assert isinstance(some.next_batch(connection, NOW), Close)
    some.closed(connection, NOW)
    assert opened(some.run(NOW)) == []
    assert some.next_wake() <= NOW + 300
    assert len(opened(some.run(NOW + 300))) == 1


def test_what_is_older_than_bounce_after_is_not_tried_but_bounced():
    some = scheduler(bounce_after=DAY)
    old = recipients(1, queued=NOW - DAY)
    some.arrive(old, NOW)
    assert some.run(NOW) == [Expire(some.queues[KEY], old)]


@pytest.mark.parametrize("rest", ["paused", "retrying"])
def test_a_resting_queue_bounces_what_becomes_too_old(rest):
    some = scheduler(bounce_after=700, retry_after=(DAY,))
    mail = recipients(1)
    some.arrive(mail, NOW)
    if rest == "paused":
        some.pause(some.queues[KEY], paused=True)
    else:
        (connection,) = opened(some.run(NOW))
        some.failed(connection, "ETIMEDOUT", NOW)
    now = NOW
    actions = some.run(now)
    while now < NOW + 900 and not any(isinstance(a, Expire) for a in actions):
        now = some.next_wake()
        actions = some.run(now)
    assert Expire(some.queues[KEY], mail) in actions
    assert NOW + 700 <= now <= NOW + 760


def test_a_paused_queue_opens_nothing_and_closes_what_it_has():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(2), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    some.pause(some.queues[KEY], paused=True)
    finish(some, connection)
    assert some.next_batch(connection, NOW) == Close(connection, "paused")
    some.closed(connection, NOW)
    assert opened(some.run(NOW)) == []
    some.pause(some.queues[KEY], paused=False)
    assert len(opened(some.run(NOW))) == 1


def test_backoff_mode_shrinks_the_queue_and_ends_by_itself():
    some = scheduler(max_smtp_out=3, connection_idle_timeout=0)
    some.arrive(recipients(9), NOW)
    first, second, third = opened(some.run(NOW))
    for connection in (first, second, third):
        up(some, connection)
    verdict = Verdict(mode="backoff", backoff_to_normal_after=60, pattern="reply /x/")
    some.apply(first, verdict, Reply(421, ("slow down",)), NOW)
    assert some.queues[KEY].mode == "backoff"
    finish(some, first)
    assert some.next_batch(first, NOW) == Close(first, "backoff-max-smtp-out")
    finish(some, second)
    assert isinstance(some.next_batch(second, NOW), list)
    some.run(NOW)
    assert some.next_wake() <= NOW + 60
    some.run(NOW + 60)
    assert some.queues[KEY].mode == "normal"


def test_a_disabled_source_is_not_used_until_it_is_enabled_again():
    sources = (("192.0.2.1", "a"), ("192.0.2.2", "b"))
    some = scheduler(sources=sources, max_smtp_out=1)
    some.arrive(recipients(4), NOW)
    (connection,) = opened(some.run(NOW))
    assert connection.source.ip == "192.0.2.1"
    up(some, connection)
    verdict = Verdict(disable_source_ip=True, reenable_after=100, pattern="reply /x/")
    some.apply(connection, verdict, Reply(554, ("listed",)), NOW)
    finish(some, connection, deferred=1)
    assert some.next_batch(connection, NOW) == Close(connection, "disabled source IP")
    some.closed(connection, NOW)
    (second,) = opened(some.run(NOW + 1))
    assert second.source.ip == "192.0.2.2"
    up(some, second, NOW + 1)
    some.apply(second, verdict, Reply(554, ("listed",)), NOW + 1)
    some.closed(second, NOW + 1)
    assert opened(some.run(NOW + 2)) == []
    assert some.queues[KEY].blocked_by == ("disable-source-ip", "example.net/vmta1")
    assert len(opened(some.run(NOW + 101))) == 1


def test_bounce_queue_becomes_an_action():
    some = scheduler()
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    reply = Reply(550, ("blocked",))
    some.apply(connection, Verdict(bounce_queue=True), reply, NOW)
    assert BounceQueue(some.queues[KEY], reply) in some.run(NOW)


def test_a_queue_from_the_spool_is_read_a_page_at_a_time():
    some = scheduler(max_smtp_out=1)
    some.restore(KEY, recipients=700, octets=7, paused=False, retry_position=0, now=NOW)
    queue = some.queues[KEY]
    assert some.run(NOW) == [ReadPriorities(queue)]
    some.priorities_read(queue, [PRIORITY], NOW)
    (read,) = some.run(NOW)
    assert (read.queue, read.lane.priority, read.after, read.limit) == (queue, PRIORITY, None, 500)
    page = recipients(500)
    some.page_read(queue, read.lane, page, is_last=False, now=NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    for _ in range(301):
        finish(some, connection)
        some.next_batch(connection, NOW)
    reads = [a for a in some.run(NOW) if isinstance(a, ReadPage)]
    last = page[-1]
    assert reads == [ReadPage(queue, read.lane, (last.due, last.recipient_id), 500)]


def test_slots_come_back_whatever_happens():
    some = scheduler(total=5)
    some.arrive(recipients(5), NOW)
    a, b, c, d, e = opened(some.run(NOW))
    assert some.gate.total.used == 5
    some.failed(a, "ETIMEDOUT", NOW)
    for connection in (b, c, d, e):
        up(some, connection)
        some.closed(connection, NOW, failure="EDISCON")
    assert some.gate.total.used == 0
    assert some.queues[KEY].opening == 0


def test_an_empty_queue_is_forgotten_after_a_while():
    some = scheduler()
    some.arrive(recipients(1), NOW)
    (connection,) = opened(some.run(NOW))
    up(some, connection)
    finish(some, connection)
    some.next_batch(connection, NOW)
    some.closed(connection, NOW)
    some.run(NOW)
    some.run(some.next_wake())
    assert KEY not in some.queues


def test_reload_takes_new_limits_at_once():
    some = scheduler(max_smtp_out=1)
    some.arrive(recipients(5), NOW)
    assert len(opened(some.run(NOW))) == 1
    some.reload(FakeConfiguration(max_smtp_out=4), frozenset(), NOW)
    assert len(opened(some.run(NOW))) == 3


def test_a_reload_is_followed_some_queues_at_a_time_and_by_all():
    some = scheduler(max_smtp_out=1)
    keys = [QueueKey(f"d{number}.example", "vmta1") for number in range(FOLLOWERS_MAX * 2 + 1)]
    some.arrive([r for key in keys for r in recipients(2, key=key)], NOW)
    while some.has_decisions:
        some.run(NOW)
    some.reload(FakeConfiguration(max_smtp_out=2), frozenset(), NOW)
    counts = []
    while some.has_decisions:
        counts.append(len(opened(some.run(NOW))))
    assert counts == [FOLLOWERS_MAX, FOLLOWERS_MAX, 1]


def test_mail_that_arrives_goes_before_queues_that_follow_a_reload():
    some = scheduler()
    keys = [QueueKey(f"d{number}.example", "vmta1") for number in range(FOLLOWERS_MAX * 2)]
    some.arrive([r for key in keys for r in recipients(1, key=key)], NOW)
    while some.has_decisions:
        some.run(NOW)
    some.reload(FakeConfiguration(), frozenset(), NOW)
    some.arrive(recipients(1), NOW)
    assert [connection.queue.key for connection in opened(some.run(NOW))] == [KEY]


def test_one_run_decides_so_many_queues_and_the_next_the_others():
    some = scheduler()
    keys = [QueueKey(f"d{number}.example", "vmta1") for number in range(LOOKED_AT_MAX + 1)]
    some.arrive([r for key in keys for r in recipients(1, key=key)], NOW)
    assert len(opened(some.run(NOW))) == LOOKED_AT_MAX
    assert some.has_decisions
    assert len(opened(some.run(NOW))) == 1
    assert not some.has_decisions


def test_a_queue_that_was_forgotten_is_not_looked_at_again():
    some = scheduler()
    queue = some.queue(KEY, NOW)
    some.reread(queue)
    assert some.run(NOW) == [ReadPriorities(queue)]
    some.run(NOW + KEEP_EMPTY_S + 1)
    assert some.queues[KEY] is queue  # The answer would find another queue of that name.
    some.priorities_read(queue, (), NOW + KEEP_EMPTY_S + 1)
    some.run(NOW + KEEP_EMPTY_S + 1)
    some.run(NOW + 2 * KEEP_EMPTY_S + 2)
    assert KEY not in some.queues
    some.run(NOW + 10 * KEEP_EMPTY_S)
    assert not some.has_decisions


def test_a_queue_that_is_frozen_is_not_forgotten_for_another():
    """A delete that lasts would have the other forgotten, which has the mail."""
    some = scheduler()
    queue = some.queue(KEY, NOW)
    queue.frozen += 1
    some._agenda.touch(queue)
    some.run(NOW)
    some.run(NOW + 2 * KEEP_EMPTY_S)
    assert some.queues[KEY] is queue


def test_wake_times_that_are_passed_over_do_not_pile_up():
    """A queue that waits for a limit and then for a rate, for days."""
    some = scheduler()
    queue = some.queue(KEY, NOW)
    agenda = some._agenda
    for second in range(10_000):
        agenda.wake_at(queue, NOW + 400_000)
        agenda.wake_at(queue, NOW + second)
        assert list(agenda.due(NOW + second)) == [queue]
    assert len(agenda._heap) <= 2 * HEAP_MIN
    agenda.wake_at(queue, NOW + 400_000)
    assert agenda.next_wake() == NOW + 400_000
