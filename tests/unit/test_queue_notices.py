"""Who asked to be told of a queue's changes is told, once for each."""

from mta.model.outcome import Verdict
from mta.model.reply import Reply
from mta.queues import disabling
from mta.queues.actions import Notify
from mta.queues.disabling import BY_OPERATOR
from tests.queue_runs import NOW, SOURCES, QueueRun, recipients

LISTED = Reply(554, ("listed",))
DISABLE = Verdict(disable_source_ip=True, reenable_after=100, pattern="reply /x/")


def told(run, now):
    return [action for action in run.run(now) if isinstance(action, Notify)]


def test_a_disabled_source_and_backoff_are_told_with_their_cause():
    run = QueueRun(
        "backoff-notify ops@ours.example\ndisabled-source-ip-notify ip@ours.example\n"
        "backoff-upon-all-sources-disabled yes\nbackoff-to-normal-after 50s",
        vmta="smtp-source-host 192.0.2.1 a.example",
    )
    run.scheduler.arrive(recipients(1), NOW)
    connection = run.open()
    run.scheduler.apply(connection, DISABLE, LISTED, NOW)
    run.scheduler.closed(connection, NOW)
    source, mode = told(run, NOW)
    assert (source.addresses, mode.addresses) == (("ip@ours.example",), ("ops@ours.example",))
    assert "192.0.2.1 disabled for 1m40s: " in source.text
    assert '"554 listed" received from mx.example.net matches reply /x/' in source.text
    assert "entered backoff mode: All SMTP sources" in mode.text
    assert ["back to normal mode" in one.text for one in told(run, NOW + 50)] == [True]
    assert told(run, NOW + 99) == []
    assert ["192.0.2.1 enabled again" in one.text for one in told(run, NOW + 100)] == [True]


def test_an_operator_disables_a_source_and_enables_it_again():
    run = QueueRun("disabled-source-ip-notify ip@ours.example", vmta=SOURCES)
    scheduler = run.scheduler
    scheduler.arrive(recipients(1), NOW)
    for ip in ("192.0.2.1", "192.0.2.2"):
        assert disabling.disable(run.queue, ip, after=None, reason=BY_OPERATOR, now=NOW)
    assert not disabling.disable(run.queue, ip, after=None, reason=BY_OPERATOR, now=NOW)
    assert disabling.disable(run.queue, ip, after=50, reason=BY_OPERATOR, now=NOW)
    scheduler.touch(run.queue)
    first, _ = told(run, NOW)
    assert first.text.endswith(
        "source 192.0.2.1 disabled until an operator enables it: by an operator"
    )
    assert run.queue.connections == {}
    assert disabling.enable(run.queue, "192.0.2.1", reason=BY_OPERATOR, now=NOW)
    assert not disabling.enable(run.queue, "192.0.2.1", reason=BY_OPERATOR, now=NOW)
    scheduler.touch(run.queue)
    assert run.open(NOW).source.ip == "192.0.2.1"
    run.run(NOW + 50)
    assert run.queue.disabled == {}, "the time that was given last counts"


def test_connections_that_hear_the_same_are_told_of_once():
    run = QueueRun("disabled-source-ip-notify ip@ours.example", vmta=SOURCES)
    run.scheduler.arrive(recipients(1), NOW)
    connection = run.open()
    run.scheduler.apply(connection, DISABLE, LISTED, NOW)
    run.scheduler.apply(connection, DISABLE, LISTED, NOW + 1)
    assert len(told(run, NOW + 1)) == 1
    assert run.queue.disabled == {"192.0.2.1": NOW + 101}


def test_nobody_is_told_where_nobody_asked():
    run = QueueRun('backoff-notify ""')
    run.scheduler.arrive(recipients(1), NOW)
    run.open()
    run.scheduler.set_mode(run.queue, "backoff", NOW)
    assert told(run, NOW) == []
