"""What a queue does whose type this version does not deliver."""

from mta.daemon import explaining
from mta.queues.actions import Open
from tests.queue_runs import KEY, NOW, QueueRun, recipients
from tests.texts import said


def test_mail_of_a_type_that_is_not_there_yet_waits_and_says_so():
    run = QueueRun("type pipe")
    run.scheduler.arrive(recipients(1), NOW)
    assert not any(isinstance(action, Open) for action in run.run())
    refusal = explaining.refusal(run.queue, run.configuration, NOW)
    assert (refusal.directive, refusal.scope) == ("type", str(KEY))
    assert refusal.source.endswith(":11")


def test_it_is_said_at_its_line_when_the_configuration_loads():
    (one,) = said("<domain x.example>\ntype file\n</domain>\n", "note")
    assert (one.place.line, one.message) == (2, "type file: not in force yet")
    assert said("<domain x.example>\ntype discard\n</domain>\n", "note") == []
