"""The last recipients of a queue are remembered where that is asked for, and nowhere else."""

from types import SimpleNamespace

import pytest

from mta.daemon import domain_rows
from mta.daemon.ledger import Ledger
from mta.model.attempt import Attempt
from mta.model.outcome import Bounced, Deferred, Delivered
from mta.queues.events import RECIPIENT_EVENTS_MAX
from tests.queue_runs import NOW, QueueRun, configuration, recipients

ATTEMPT = Attempt(source_ip="192.0.2.1", remote_host="mx.example.net", remote_ip="192.0.2.9")
TRACKED = "track-recipient-events yes"


@pytest.fixture
def ledger():
    return Ledger(SimpleNamespace(wanted_kinds=()), SimpleNamespace())


def outcomes(run, ledger, count=1):
    run.scheduler.arrive(recipients(count), NOW)
    for number, recipient in enumerate(recipients(count)):
        at = (recipient, Delivered("2.0.0", "smtp;250 ok"), ATTEMPT, NOW + number)
        ledger.delivered([], run.queue, *at)
    return domain_rows.recipient_events(run.queue)


def test_what_became_of_each_is_told_as_powermta_tells_it(ledger):
    run = QueueRun(TRACKED)
    outcomes(run, ledger)
    (one,) = recipients(1)
    refused = Bounced("5.0.0", "smtp;550 No Such User Here")
    ledger.bounced([], run.queue, one, refused, ATTEMPT, NOW + 1, is_told=False)
    ledger.deferred([], run.queue, one, Deferred("4.0.0", "smtp;421 Refused"), ATTEMPT, NOW + 2)
    expired = Bounced("4.4.7", "", "delivery time expired")
    ledger.bounced([], run.queue, one, expired, Attempt(), NOW + 3, is_told=False)
    found = domain_rows.recipient_events(run.queue)
    assert [(e.kind, e.time - NOW, e.source_ip, e.mta, e.text) for e in found] == [
        ("bounced", 3, "", "", "smtp;550 4.4.7 (delivery time expired)"),
        ("deferred", 2, "192.0.2.1", "mx.example.net (192.0.2.9)",
         "smtp;450 4.0.0 (undefined status);smtp;421 Refused"),
        ("bounced", 1, "192.0.2.1", "mx.example.net (192.0.2.9)",
         "smtp;550 5.0.0 (undefined status);smtp;550 No Such User Here"),
        ("delivered", 0, "192.0.2.1", "mx.example.net (192.0.2.9)", "smtp;250 ok"),
    ]  # fmt: skip


def test_only_the_last_are_kept(ledger):
    found = outcomes(QueueRun(TRACKED), ledger, RECIPIENT_EVENTS_MAX + 5)
    assert [e.time - NOW for e in found] == list(range(RECIPIENT_EVENTS_MAX + 4, 4, -1))


def test_without_the_directive_nothing_is_kept(ledger):
    run = QueueRun()
    assert outcomes(run, ledger) == ()
    assert run.queue.recipient_events is None


def test_what_was_kept_goes_with_the_directive(ledger):
    run = QueueRun(TRACKED)
    assert outcomes(run, ledger)
    run.scheduler.reload(configuration(""), frozenset(), NOW)
    run.run(NOW)
    assert run.queue.recipient_events is None
