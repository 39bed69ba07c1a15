"""A decision costs the same whatever number of queues waits."""

import sys

import pytest

from mta.model.queue_key import QueueKey
from tests.limit_runs import Run
from tests.queue_runs import NOW


@pytest.mark.parametrize(
    "rules",
    [
        "total-max-smtp-out 2",
        "vmta: max-smtp-out 2",
        "vmta: max-smtp-msg-rate 50/s",
        "vmta: max-smtp-data-volume-rate 5000b/s",
    ],
)
def test_a_decision_costs_the_same_whatever_number_of_queues_waits(rules):
    """Counted in calls of functions, which are the same on every machine."""

    def calls(queues):
        vmta, top = (rules[6:], "") if rules.startswith("vmta: ") else ("", rules)
        run = Run("max-smtp-out 1\nmax-msg-per-connection 1", vmta=vmta, top=top)
        for number in range(queues):
            run.mail(QueueKey(f"d{number}.example", "v1"))
        up = []
        for connection in run.opened():
            run.up(connection)
            up.append(connection)
        counted = served = 0

        def count(_frame, event, _argument):
            nonlocal counted
            counted += event in ("call", "c_call")

        now = NOW
        while served < 30:
            now += 0.1
            for connection in up:
                run.done(connection, now)
                sys.setprofile(count)
                run.scheduler.closed(connection, now)
                sys.setprofile(None)
                served += 1
            sys.setprofile(count)
            up = run.opened(now)
            sys.setprofile(None)
            for connection in up:
                run.up(connection, now)
        return counted / served

    assert calls(2000) <= 1.2 * calls(100)
