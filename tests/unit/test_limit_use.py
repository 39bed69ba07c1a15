"""What `explain` says of a limit is true of the worker that says so, and of all."""

from mta.admin.explanation_text import _limits
from mta.daemon import limit_use
from tests.lending_runs import Workers, lent

RESERVED = "<source-group g>\nreserved-smtp-in 4\n</source-group>"


def shown(workers, worker, configuration, directive):
    queue = worker.scheduler.queues[worker.key]
    uses = limit_use.uses(queue, worker.scheduler, configuration, workers.now)
    uses = (*uses, limit_use.inbound(worker.clients.total, configuration))
    (use,) = (one for one in uses if one.directive == directive and one.scope in ("v1", "total"))
    (line,) = _limits([use], workers.now)
    return " ".join(line.split())


def test_what_a_worker_may_use_is_told_apart_from_all_there_is():
    configuration = lent("max-smtp-out 20\nmax-smtp-msg-rate 10/h\nmax-smtp-data-volume-rate 1M/h")
    workers = Workers(2, configuration)
    first, second = workers.every
    workers.mail(4)
    workers.run(1)
    lease = first.scheduler.gate.vmtas.of("v1", 0).slots.ceiling
    assert 0 < lease < 20
    use = shown(workers, first, configuration, "max-smtp-out")
    assert use.startswith(f"max-smtp-out v1 0 of {lease} here, 20 in all")
    workers.mail(100)
    workers.run(3)
    rate = shown(workers, second, configuration, "max-smtp-msg-rate")
    assert rate.startswith("* max-smtp-msg-rate v1 5 of 5/h here, 10/h in all")
    data = shown(workers, second, configuration, "max-smtp-data-volume-rate")
    assert data.startswith("max-smtp-data-volume-rate v1")
    assert "here, 1M/h in all" in data


def test_limits_of_clients_are_shown_used_up_when_clients_are_refused():
    configuration = lent(top="total-max-smtp-in 20", more=RESERVED)
    workers = Workers(2, configuration)
    first, second = workers.every
    workers.mail(1)
    workers.run(2)
    for _ in range(3):
        assert not first.clients.take("")
    workers.run(2)
    assert not shown(workers, first, configuration, "total-max-smtp-in").startswith("*")
    workers.run(5, lambda: first.clients.take(""))
    text = shown(workers, first, configuration, "total-max-smtp-in")
    assert text.startswith("* total-max-smtp-in total 16 of 18 here, 20 in all")
    assert not shown(workers, second, configuration, "total-max-smtp-in").startswith("*")


def test_one_worker_has_all():
    configuration = lent("max-smtp-out 20", top="total-max-smtp-in 2")
    clients = Workers(1, configuration).every[0].clients
    assert limit_use.inbound(clients.total, configuration).here == ""
    assert [clients.take("") for _ in range(2)] == ["", ""]
    use = limit_use.inbound(clients.total, configuration)
    assert (use.used, use.ceiling, use.here, use.is_exhausted) == ("2", "2", "", True)
