"""Workers and their supervisor together: no limit is exceeded, and nobody waits in vain."""

import pytest

from mta.model.queue_key import QueueKey
from tests.lending_runs import Workers, lent

OUT = {
    "a VirtualMTA's": lambda most: lent(f"max-smtp-out {most}"),
    "all": lambda most: lent(top=f"total-max-smtp-out {most}"),
}
RESERVED = "<source-group g>\nreserved-smtp-in 16\n</source-group>"


@pytest.mark.parametrize("whose", OUT)
@pytest.mark.parametrize("after", [4, 40])
def test_a_limit_that_reloads_drop_and_restore_is_lent_again(whose, after):
    workers = Workers(2, OUT[whose](20))
    workers.mail(2000)
    workers.run(3)
    assert workers.connections == 20
    workers.reload(OUT[whose]("unlimited"))
    workers.run(1)
    workers.reload(OUT[whose](after))
    workers.run(2)
    workers.most = 0
    workers.run(3)
    assert workers.most == after


@pytest.mark.parametrize("pause_s", [0, 1])
def test_who_had_nothing_of_a_limit_has_its_part_once_it_is_restored(pause_s):
    workers = Workers(2, lent("max-smtp-out 1"))
    first, second = workers.every
    first.mail(1000)
    workers.run(7)
    workers.reload(lent())
    workers.run(pause_s)
    workers.reload(lent("max-smtp-out 4"))
    second.mail(1000, workers.now)
    workers.run(3)
    assert first.delivered
    assert second.delivered
    assert (first.connections, second.connections) == (2, 2)


def test_clients_that_a_restored_limit_lets_in_are_its_number():
    groups = "<source-group g>\n{}\n</source-group>"
    limited = lent(top="total-max-smtp-in 20", more=groups.format("max-smtp-in 10"))
    workers = Workers(2, limited)
    workers.run(1)
    workers.reload(lent(top="total-max-smtp-in unlimited", more=groups.format("")))
    workers.run(1)
    workers.reload(lent(top="total-max-smtp-in 8", more=groups.format("max-smtp-in 4")))
    workers.run(1)
    inside = {"g": 0, "": 0}

    def come():
        for worker in workers.every:
            for group in inside:
                inside[group] += not worker.clients.take(group)

    workers.run(10, come)
    assert inside == {"g": 4, "": 4}


def test_a_rate_restored_within_its_window_neither_exceeds_nor_stalls():
    workers = Workers(2, lent("max-smtp-msg-rate 20/m"))
    workers.mail(3000)
    workers.run(5)
    assert len(workers.delivered) == 20
    workers.reload(lent())
    workers.run(1)
    workers.reload(lent("max-smtp-msg-rate 20/m"))
    workers.run(1)
    before, restored = len(workers.delivered), workers.now
    workers.run(52)
    assert len(workers.delivered) == before, "what was sent before counts yet"
    workers.run(20)
    assert len(workers.delivered) == before + 20
    assert all(any(at > restored for at in worker.delivered) for worker in workers.every)


def test_what_a_dropped_rate_had_not_sent_is_there_when_it_is_restored():
    workers = Workers(2, lent("max-smtp-msg-rate 20/h"))
    workers.every[0].mail(5)
    workers.run(2)
    workers.reload(lent())
    workers.run(1)
    workers.reload(lent("max-smtp-msg-rate 20/h"))
    workers.mail(100)
    workers.run(10)
    assert len(workers.delivered) == 20


def test_a_rate_that_gets_another_window_is_lent_anew():
    workers = Workers(2, lent("max-smtp-msg-rate 60/h"))
    workers.mail(500)
    workers.run(70)
    assert len(workers.delivered) == 60
    workers.reload(lent("max-smtp-msg-rate 20/m"))
    workers.run(50)
    assert len(workers.delivered) == 80
    workers.run(20)
    assert len(workers.delivered) == 100


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("greeting_s", [1, 6, 9])
@pytest.mark.parametrize(
    "configuration",
    [
        lent("max-smtp-out 1"),
        lent(top="ip-connection-limit 0/0 1"),
        lent("max-smtp-out 1", top="ip-connection-limit 0/0 1"),
    ],
    ids=["VirtualMTA", "host", "both"],
)
def test_where_greetings_take_longer_than_turns_each_connection_carries_mail(
    configuration, greeting_s, count
):
    workers = Workers(count, configuration, greeting_s=greeting_s)
    workers.mail(1000)

    def one_at_once():
        up = sum(len(worker.under_way) for worker in workers.every)
        assert up <= 1

    workers.run(300, one_at_once)
    assert all(worker.delivered for worker in workers.every)
    assert not any(worker.in_vain for worker in workers.every)


@pytest.mark.parametrize("workers", [2, 3])
@pytest.mark.parametrize("rate", ["1/10s", "1/min"])
@pytest.mark.parametrize("greeting_s", [0, 20])
def test_a_rate_too_small_for_all_serves_each_whatever_it_keeps_step_with(
    workers, rate, greeting_s
):
    configuration = lent(f"max-smtp-out 1\nmax-smtp-msg-rate {rate}")
    run = Workers(workers, configuration, greeting_s=greeting_s)
    run.mail(400)
    run.run(1800)
    counts = [len(worker.delivered) for worker in run.every]
    assert min(counts) * 4 >= max(counts), counts


def test_what_a_group_has_reserved_is_not_lent_to_others():
    workers = Workers(2, lent(top="total-max-smtp-in 20", more=RESERVED))
    busy, quiet = workers.every
    others = 0

    def others_come():
        nonlocal others
        others += not busy.clients.take("")

    workers.run(10, others_come)
    assert others == 4
    assert all(not worker.clients.take("g") for worker in (busy, quiet) for _ in range(8))
    assert quiet.clients.take("g") == "total-max-smtp-in"


def test_what_a_reload_reserves_is_had_as_others_leave():
    workers = Workers(2, lent(top="total-max-smtp-in 20"))
    busy, quiet = workers.every
    workers.run(10, lambda: busy.clients.take(""))
    assert busy.clients.total.used == 20
    workers.reload(lent(top="total-max-smtp-in 20", more=RESERVED))
    workers.run(3)
    for _ in range(16):
        busy.clients.free("")
        workers.run(0.2, lambda: busy.clients.take(""))
    assert busy.clients.total.used == 4
    workers.run(2)
    assert all(not worker.clients.take("g") for worker in (busy, quiet) for _ in range(8))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_reservation_that_does_not_divide_never_lets_in_more_than_all(count):
    workers = Workers(count, lent(top="total-max-smtp-in 5", more=RESERVED.replace("16", "5")))

    def come():
        for worker in workers.every:
            worker.clients.take("g")
            worker.clients.take("")
        assert sum(worker.clients.total.used for worker in workers.every) <= 5

    workers.run(20, come)
    assert sum(worker.clients.total.used for worker in workers.every) == 5


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("whose", OUT)
def test_a_limit_that_is_new_is_lent_when_no_worker_is_without_it_any_more(whose, dies):
    workers = Workers(2, OUT[whose]("unlimited"))
    first, second = workers.every
    second.mail(2000)
    workers.run(1)
    assert second.connections == 30
    workers.lending.reloads(workers.every)
    first.reload(OUT[whose](4), workers.now)
    first.mail(500)

    def never_more():
        """Who does not know the limit yet may use it, but then nobody else."""
        assert not first.connections or workers.connections <= 4

    workers.run(2, never_more)
    assert second.connections == 30
    if dies:
        workers.every.remove(second)
        workers.lent(workers.lending.gone(second, workers.now))
    else:
        second.reload(OUT[whose](4), workers.now)
    workers.run(10, never_more)
    assert first.delivered
    assert first.connections + second.connections * (not dies) == 4


def test_a_limit_that_was_there_goes_on_while_a_reload_reaches_one_worker_after_another():
    workers = Workers(2, lent("max-smtp-out 4"))
    workers.mail(500)
    workers.run(1)
    workers.lending.reloads(workers.every)
    workers.every[0].reload(lent("max-smtp-out 4"), workers.now)
    before = len(workers.delivered)
    workers.run(2)
    assert len(workers.delivered) > before + 30


def test_what_a_worker_uses_is_said_of_all_limits_once_it_has_taken_a_configuration():
    """A limit may be far from its turn."""
    names = [f"w{number}" for number in range(500)]
    several = "".join(f"<virtual-mta {name}>\n{{0}}\n</virtual-mta>\n" for name in names)
    workers = Workers(1, lent(more=several.format("")))
    (worker,) = workers.every
    for name in names:
        worker.mail(1, key=QueueKey("d.example", name))
    workers.run(2)
    worker.reload(lent(more=several.format("max-smtp-out 6")), workers.now)
    news = worker.shares.news(workers.now, is_taken=True)
    assert {one.scope for one in news.reports} >= set(names)
