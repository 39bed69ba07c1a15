"""What an operator says of a source address holds for every queue that knows it, and at once."""

from types import SimpleNamespace

import pytest

from mta import clock
from mta.admin.answers import Changed
from mta.admin.pattern import QueuePattern
from mta.daemon.operations import ShardOperations
from mta.model.outcome import Verdict
from mta.queues import disabling
from mta.queues.actions import Open
from tests.queue_runs import KEY, NOW, OWN, SOURCES, QueueRun, configuration, recipients

ALL = QueuePattern("*", "*")
BLOCKED = Verdict(disable_source_ip=True, reenable_after=900, pattern="reply /blocked/")


@pytest.fixture
def now(monkeypatch):
    monkeypatch.setattr(clock, "now", lambda: NOW)


def operations(run):
    delivery = SimpleNamespace(kick=lambda: None)
    shard = SimpleNamespace(
        configuration=run.configuration, scheduler=run.scheduler, delivery=delivery
    )
    return ShardOperations(shard, "", None, None)


def one_source(**settings):
    run = QueueRun(vmta="smtp-source-host 192.0.2.1 a.example\n", **settings)
    run.scheduler.arrive(recipients(1), NOW)
    return run


@pytest.mark.usefixtures("now")
async def test_a_time_given_to_a_disabled_address_is_kept_though_nothing_else_happens():
    run = one_source()
    disable = operations(run).disable_source
    assert await disable(ALL, "192.0.2.1", after=None) == Changed(1, 1)
    assert run.run(NOW) == []
    assert await disable(ALL, "192.0.2.1", after=50) == Changed(1, 1)
    assert run.run(NOW) == []
    assert run.scheduler.next_wake() == NOW + 50
    assert any(isinstance(action, Open) for action in run.run(NOW + 50))
    assert await disable(ALL, "192.0.2.1", after=None) == Changed(1, 1)
    assert await disable(ALL, "192.0.2.1", after=None) == Changed(0, 1)


@pytest.mark.usefixtures("now")
async def test_an_address_that_a_reload_took_away_can_be_enabled():
    run = QueueRun(vmta=SOURCES)
    run.scheduler.arrive(recipients(1), NOW)
    said = operations(run)
    await said.disable_source(ALL, "192.0.2.2", after=None)
    run.scheduler.reload(configuration("", vmta=SOURCES.splitlines()[0]), OWN, NOW)
    run.run(NOW)
    assert [source.ip for source in run.queue.sources] == ["192.0.2.1"]
    assert not run.queue.is_forgettable
    assert await said.enable_source(ALL, "192.0.2.2") == Changed(1, 1)
    assert run.queue.is_forgettable


@pytest.mark.usefixtures("now")
async def test_the_address_that_the_system_chooses_can_be_enabled():
    run = QueueRun()
    run.scheduler.arrive(recipients(1), NOW)
    disabling.disable(run.queue, "", after=None, reason="421 blocked", now=NOW)
    assert run.run(NOW) == []
    assert await operations(run).enable_source(QueuePattern(*KEY), "") == Changed(1, 1)
    assert any(isinstance(action, Open) for action in run.run(NOW))


def test_what_an_operator_disabled_is_not_for_a_reply_to_enable():
    run = one_source()
    connection = run.open()
    disabling.disable(run.queue, "192.0.2.1", after=None, reason=disabling.BY_OPERATOR, now=NOW)
    run.queue.heed(connection, BLOCKED, "421 blocked", NOW)
    assert run.queue.disabled == {"192.0.2.1": None}
    assert run.queue.disabled_by == {"192.0.2.1": disabling.BY_OPERATOR}
