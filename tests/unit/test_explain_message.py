"""Why a recipient waits, and when it is likely to go."""

from types import SimpleNamespace

import pytest

from mta.admin import explanation_text
from mta.admin.answers import COUNTED_BEFORE_MAX, MessageExplanation, RecipientExplanation
from mta.daemon import explaining, message_explaining
from mta.model.outcome import Verdict
from mta.model.queue_key import QueueKey
from mta.model.reply import Reply
from mta.queues.tempo import PERIOD_S, Tempo
from tests.queue_runs import NOW, QueueRun, recipients

KEY = QueueKey("example.com", "v")
LINE = 11
"""Where the first line of the <domain *> of a QueueRun stands."""


def waiting(domain="", *, vmta="", count=2):
    run = QueueRun(domain, vmta=vmta)
    mail = recipients(count)
    run.scheduler.arrive(mail, NOW)
    run.run()
    shard = SimpleNamespace(configuration=run.configuration, scheduler=run.scheduler)
    return run, shard, mail


def why(run, shard, recipient, now=NOW):
    found = message_explaining.refusal(run.queue, recipient, shard, now)
    return found and (found.directive, found.until, found.source.rpartition(":")[2])


def test_a_recipient_that_was_deferred_waits_for_retry_recipients_after():
    run, shard, (recipient, _) = waiting("retry-recipients-after 20m")
    recipient.due = NOW + 1200
    assert why(run, shard, recipient) == ("retry-recipients-after", NOW + 1200, str(LINE))


@pytest.mark.parametrize(
    ("due", "directive"), [(100, "retry-after"), (900, "retry-recipients-after")]
)
def test_of_queue_and_recipient_the_clock_that_ends_last_is_named(due, directive):
    run, shard, (recipient, _) = waiting("retry-after 10m")
    run.queue.fail(NOW, "ETIMEDOUT")
    recipient.due = NOW + due
    assert why(run, shard, recipient)[0] == directive


def test_a_paused_queue_keeps_all_and_has_no_end():
    run, shard, (recipient, _) = waiting()
    run.scheduler.pause(run.queue, paused=True)
    recipient.due = NOW + 100
    assert why(run, shard, recipient)[:2] == ("paused", None)
    found = message_explaining.refusal(run.queue, recipient, shard, NOW)
    assert message_explaining.earliest(recipient, found, NOW) is None


def test_disabled_sources_name_the_reply_and_the_line_that_disabled_them():
    run, shard, (recipient, _) = waiting(vmta="smtp-source-host 192.0.2.1 a.example")
    connection = next(iter(run.queue.connections.values()))
    run.scheduler.connected(connection, "mx.example.net", NOW)
    verdict = Verdict(disable_source_ip=True, reenable_after=60, pattern="reply /x/ (f:7)")
    run.scheduler.apply(connection, verdict, Reply(554, ("listed",)), NOW)
    for one in list(run.queue.connections.values()):
        if one is not connection:
            run.scheduler.connected(one, "mx.example.net", NOW)
        run.scheduler.closed(one, NOW)
    run.run()
    found = message_explaining.refusal(run.queue, recipient, shard, NOW)
    assert (found.directive, found.until) == ("disable-source-ip", NOW + 60)
    assert found.source == '"554 listed" received from mx.example.net matches reply /x/ (f:7)'
    (source,) = explaining.explain(run.queue, run.scheduler, run.configuration, NOW).sources
    assert source.startswith("192.0.2.1 a.example (disabled until ")
    assert "matches reply /x/ (f:7)" in source


def test_the_pace_is_the_slowest_of_what_is_known():
    run, shard, _ = waiting(
        "max-msg-rate 60/h\nbackoff-max-msg-rate 6/h", vmta="max-smtp-msg-rate 1/s"
    )
    assert message_explaining.pace_of(run.queue, shard, NOW).text.startswith("60/h, max-msg-rate (")
    run.scheduler.set_mode(run.queue, "backoff", NOW)
    pace = message_explaining.pace_of(run.queue, shard, NOW)
    assert pace.per_s == 6 / 3600
    assert pace.text == f"6/h, backoff-max-msg-rate (/etc/pmta/config:{LINE + 1})"


def test_without_a_rate_the_pace_is_what_was_measured():
    run, shard, _ = waiting()
    assert message_explaining.pace_of(run.queue, shard, NOW).per_s == 0
    run.queue.tempo.count(120, NOW)
    assert message_explaining.pace_of(run.queue, shard, NOW + 60).text == "2/s, as it went lately"


def test_a_tempo_forgets_what_is_longer_ago_than_two_periods():
    tempo = Tempo()
    for second in range(600):
        tempo.count(5, NOW + second)
    assert tempo.per_second(NOW + 600) == pytest.approx(5, rel=0.02)
    assert tempo.per_second(NOW + 600 + 3 * PERIOD_S) == 0


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (0, "(in 1m): the first of its queue"),
        (COUNTED_BEFORE_MAX - 1, "(in 1m): after 9999 of its queue"),
        (COUNTED_BEFORE_MAX, "(in 1m): after 10000 or more of its queue"),
    ],
)
def test_a_place_far_behind_is_the_earliest_it_can_be(before, said):
    recipient = RecipientExplanation(
        address="kim@example.com", queue=KEY, attempts=0, due=NOW, before=before,
        next_at=NOW, expected_at=NOW + 60,
    )  # fmt: skip
    message = MessageExplanation(
        now=NOW, message_id=1, mail_from="", time_queued=NOW, size=1, recipients=(recipient,)
    )
    text = "\n".join(explanation_text.message(message))
    assert said in text
    assert ("not before" in text) == ("or more" in said)
