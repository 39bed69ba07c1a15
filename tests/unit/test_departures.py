"""When the mail of a queue that leads away is moved, and what is held meanwhile."""

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Close, Forward, LookUp, Open
from mta.queues.departures import AGAIN_S, FORWARDS_MAX, LOOK_UPS_MAX
from mta.queues.scheduler import Scheduler
from tests.texts import configured

NOW = 1_000_000.0
KEY = QueueKey("x.com", "a")


class Everywhere:
    """All queues lead away by `directive`, or wait to be looked up."""

    def __init__(self, directive="", *, looks_up=False):
        self.directive = directive
        self.looks_up = looks_up

    def may_lead_away(self, key):
        return True

    def leads_away(self, key):
        return self.directive

    def must_look_up(self, key):
        return self.looks_up

    def siblings(self, key):
        return (QueueKey(key.domain, "a"), QueueKey(key.domain, "b"))


def scheduler(redirecting):
    text = "<virtual-mta a>\n</virtual-mta>\n<virtual-mta b>\n</virtual-mta>\n"
    return Scheduler(configured(text), frozenset(), redirecting=redirecting)


def arrive(some, key=KEY, *, first=1, count=1):
    for number in range(first, first + count):
        envelope = Envelope(
            message_id=number << 6, mail_from="", time_queued=NOW, size=1, head_size=1
        )
        some.arrive([Recipient(number << 22, envelope, f"u@{key.domain}", key, NOW)], NOW)


def of(kind, found):
    return [action for action in found if isinstance(action, kind)]


def every(some, now=NOW):
    found = []
    while some.has_decisions:
        found += some.run(now)
    return found


def test_a_queue_that_leads_away_is_moved_once_and_opens_nothing():
    some = scheduler(Everywhere("reroute-to-virtual-mta"))
    arrive(some, count=3)
    assert every(some) == [Forward(some.queues[KEY])]
    arrive(some, first=9)
    assert every(some) == []


def test_what_arrives_while_it_is_moved_is_moved_next():
    some = scheduler(Everywhere("reroute-to-virtual-mta"))
    arrive(some)
    every(some)
    some.forwarded(some.queues[KEY], NOW, later=False)
    assert of(Forward, every(some))


def test_a_queue_in_which_nothing_was_found_is_left_for_a_while():
    some = scheduler(Everywhere("reroute-to-virtual-mta"))
    arrive(some)
    every(some)
    some.forwarded(some.queues[KEY], NOW, later=True)
    assert of(Forward, every(some)) == []
    assert of(Open, every(some)) == []
    assert of(Forward, some.run(NOW + AGAIN_S))


def test_a_connection_gets_no_more_once_its_queue_leads_away():
    redirecting = Everywhere()
    some = scheduler(redirecting)
    arrive(some, count=2)
    connection = of(Open, every(some))[0].connection
    some.connected(connection, "mx", NOW)
    batch = some.next_batch(connection, NOW)
    redirecting.directive = "backoff-reroute-to-virtual-mta"
    some.finish(connection, done=[], deferred=[], untried=batch, now=NOW)
    assert some.next_batch(connection, NOW) == Close(connection, redirecting.directive)


def test_a_paused_queue_keeps_what_it_holds():
    some = scheduler(Everywhere("reroute-to-virtual-mta"))
    some.pause(some.queue(KEY, NOW), paused=True)
    arrive(some)
    assert of(Forward, every(some)) == []


def test_mail_hosts_are_looked_up_before_a_connection_is_opened():
    redirecting = Everywhere(looks_up=True)
    some = scheduler(redirecting)
    arrive(some)
    assert every(some) == [LookUp(some.queues[KEY])]
    redirecting.looks_up = False
    some.looked_up(some.queues[KEY])
    assert of(Open, every(some))


def test_few_look_ups_and_moves_are_under_way_at_once():
    for redirecting, kind, most in (
        (Everywhere(looks_up=True), LookUp, LOOK_UPS_MAX),
        (Everywhere("reroute-to-virtual-mta"), Forward, FORWARDS_MAX),
    ):
        some = scheduler(redirecting)
        for number in range(most + 5):
            arrive(some, QueueKey(f"d{number}.com", "a"), first=number + 1)
        begun = of(kind, every(some))
        assert len(begun) == most
        redirecting.looks_up = False
        for action in begun[:5]:
            if kind is LookUp:
                some.looked_up(action.queue)
            else:
                some.forwarded(action.queue, NOW, later=True)
        assert len(of(kind, every(some))) == 5


def test_a_reload_forgets_no_queue_that_waits_to_be_looked_up():
    redirecting = Everywhere(looks_up=True)
    some = scheduler(redirecting)
    for number in range(LOOK_UPS_MAX + 1):
        arrive(some, QueueKey(f"d{number}.com", "a"), first=number + 1)
    begun = of(LookUp, every(some))
    some.reload(configured("<virtual-mta a>\n</virtual-mta>\n"), frozenset(), NOW, redirecting)
    every(some)
    some.looked_up(begun[0].queue)
    waited = of(LookUp, every(some))
    assert waited[0].queue.key == QueueKey(f"d{LOOK_UPS_MAX}.com", "a")


def test_the_mode_of_a_queue_wakes_those_whose_way_depends_on_it():
    redirecting = Everywhere()
    some = scheduler(redirecting)
    arrive(some)
    sibling = some.queue(QueueKey("x.com", "b"), NOW)
    some.set_mode(sibling, "normal", NOW)
    every(some)
    redirecting.directive = "backoff-reroute-to-virtual-mta"
    some.set_mode(sibling, "backoff", NOW)
    assert Forward(some.queues[KEY]) in every(some)
