"""The order of a queue: priority, then due; and what is in memory of each priority."""

from mta.model.message import PRIORITY, Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.backlog import Backlog
from mta.queues.lane import LOW_WATER, PAGE_RECIPIENTS, WINDOW_RECIPIENTS_MAX

NOW = 1_000_000.0
KEY = QueueKey("example.net", "vmta1")


def recipient(number, *, priority=PRIORITY, due=NOW):
    envelope = Envelope(message_id=number, mail_from="a@b", time_queued=NOW, size=100, head_size=10)
    return Recipient(number << 16, envelope, "r@x", KEY, due, priority=priority)


def drained(backlog, now=NOW):
    found = []
    while backlog.ready(now):
        found += [r.recipient_id >> 16 for r in backlog.pop(1)]
    return found


def test_the_highest_priority_that_is_due_goes_first_then_the_longest_due():
    backlog = Backlog()
    backlog.add(recipient(1), NOW)
    backlog.add(recipient(2, priority=90, due=NOW + 10), NOW)
    backlog.add(recipient(3, priority=90), NOW)
    backlog.add(recipient(4, priority=0), NOW)
    backlog.add(recipient(5, due=NOW - 1), NOW)
    assert drained(backlog) == [3, 5, 1, 4]
    assert backlog.next_due() == NOW + 10
    assert drained(backlog, NOW + 10) == [2]


def test_first_is_what_pop_takes():
    backlog = Backlog()
    for number, priority in enumerate((50, 10, 90)):
        backlog.add(recipient(number, priority=priority), NOW)
    while backlog.ready(NOW):
        first = backlog.first()
        assert backlog.pop(1) == [first]
    assert backlog.first() is None


def test_mail_of_high_priority_does_not_wait_behind_the_pages_of_a_lower_one():
    backlog = Backlog(complete=False)
    backlog.begin_priorities()
    backlog.take_priorities([50], NOW)
    ((lane, after),) = backlog.begin_pages(())
    assert after is None
    page = [recipient(number) for number in range(PAGE_RECIPIENTS)]
    backlog.take_page(lane, page, is_last=False, now=NOW)
    backlog.add(recipient(10_000), NOW)  # beyond the horizon: it waits in the spool
    backlog.add(recipient(10_001, priority=51), NOW)
    assert backlog.ready(NOW) == PAGE_RECIPIENTS + 1
    assert backlog.pop(1)[0].priority == 51
    assert not backlog.is_complete


def test_mail_that_arrives_while_the_priorities_are_asked_is_had_once():
    """What the answer already knows of is read; what came after it is remembered."""
    backlog = Backlog(complete=False)
    backlog.add(recipient(1), NOW)  # before the question: the spool tells of it
    backlog.begin_priorities()
    backlog.add(recipient(2), NOW)
    backlog.add(recipient(3, priority=90), NOW)
    backlog.take_priorities([50], NOW)
    ((lane, _),) = backlog.begin_pages(())
    backlog.take_page(lane, [recipient(1), recipient(2)], is_last=True, now=NOW)
    assert drained(backlog) == [3, 1, 2]


def test_a_page_asked_before_the_memory_was_emptied_counts_for_nothing():
    backlog = Backlog(complete=False)
    backlog.begin_priorities()
    backlog.take_priorities([50], NOW)
    ((stale, _),) = backlog.begin_pages(())
    backlog.forget()
    backlog.begin_priorities()
    backlog.take_page(stale, [recipient(1)], is_last=True, now=NOW)
    backlog.take_priorities([90], NOW)
    assert backlog.ready(NOW) == 0
    ((lane, _),) = backlog.begin_pages(())
    assert lane.priority == 90


def test_priorities_asked_before_the_memory_was_emptied_are_asked_again():
    backlog = Backlog(complete=False)
    backlog.begin_priorities()
    backlog.forget()
    backlog.take_priorities([50], NOW)
    assert backlog.wants_priorities()


def test_each_lane_reads_on_when_it_runs_low():
    backlog = Backlog(complete=False)
    backlog.begin_priorities()
    backlog.take_priorities([90, 50], NOW)
    for lane, _ in backlog.begin_pages(()):
        page = [
            recipient(lane.priority * 1000 + i, priority=lane.priority)
            for i in range(PAGE_RECIPIENTS)
        ]
        backlog.take_page(lane, page, is_last=False, now=NOW)
    assert not backlog.wants_page()
    for _ in range(PAGE_RECIPIENTS - LOW_WATER + 1):
        backlog.ready(NOW)
        backlog.pop(1)
    (wanted,) = backlog.begin_pages(())
    assert wanted.lane.priority == 90


def test_what_could_not_be_read_is_asked_again():
    backlog = Backlog(complete=False)
    backlog.begin_priorities()
    backlog.take_priorities(None, NOW)
    assert backlog.wants_priorities()
    backlog.begin_priorities()
    backlog.take_priorities([50], NOW)
    ((lane, _),) = backlog.begin_pages(())
    backlog.take_page(lane, None, is_last=False, now=NOW)
    assert backlog.wants_page()


def test_what_is_in_flight_is_not_read_again_where_the_window_shrank_before_it():
    """Mail with an older due comes in masses while a transaction lasts, as by a reroute."""
    backlog = Backlog()
    backlog.add(recipient(1, due=NOW + 5), NOW + 5)
    (in_flight,) = backlog.pop(1)
    moved = [recipient(2 + n, due=NOW) for n in range(WINDOW_RECIPIENTS_MAX + 500)]
    for one in moved:
        backlog.add(one, NOW + 5)
    stored = sorted([in_flight, *moved], key=lambda r: (r.due, r.recipient_id))
    taken = []
    while True:
        for lane, after in backlog.begin_pages([in_flight.recipient_id]):
            rest = [r for r in stored if (r.due, r.recipient_id) > after]
            page, is_last = rest[:PAGE_RECIPIENTS], len(rest) <= PAGE_RECIPIENTS
            backlog.take_page(lane, page, is_last=is_last, now=NOW + 5)
        if not backlog.ready(NOW + 5):
            break
        taken += backlog.pop(1)
    assert taken == moved
