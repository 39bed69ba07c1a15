"""Every limit holds at its own level, refuses with its name and time, and lets go in turn."""

import pytest

from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.queues.actions import Assign, Close, Interrupt, Open
from mta.queues.batches import RATE_WAIT_S
from mta.queues.gate import CROWDED_S
from mta.queues.limits import EXPECTED_S
from tests.limit_runs import IP, OTHER, V1, V2, Run
from tests.queue_runs import HOST, NOW, SOURCES

# Of one queue


def test_the_errors_of_a_connection_never_exceed_max_errors_per_connection():
    run = Run("max-errors-per-connection 3\nmax-smtp-out 1")
    envelope = Envelope(message_id=64, mail_from="", time_queued=NOW, size=10, head_size=1)
    many = [Recipient(64 << 16 | i, envelope, f"r{i}@x", V1, NOW) for i in range(9)]
    run.scheduler.arrive(many, NOW)
    (connection,) = run.opened()
    assert len(run.up(connection)) == 3
    assert len(run.done(connection, failed=1)) == 2
    assert run.done(connection, failed=2) == Close(connection, "max-errors-per-connection")


def test_connections_are_opened_one_in_each_rampup_interval():
    run = Run("smtp-out-rampup-interval 10s")
    run.mail(count=5)
    assert len(run.opened()) == 1
    assert run.refusal() == (("smtp-out-rampup-interval", "example.net/v1"), NOW + 10)
    assert run.opened(NOW + 9) == []
    assert len(run.opened(NOW + 10)) == 1


def test_octets_are_reserved_before_they_are_sent_and_count_when_delivered():
    run = Run("max-data-volume-rate 1k/20s")
    run.mail(count=3, size=600)
    (first, *_) = run.opened()
    assert run.up(first)
    assert run.scheduler.queues[V1].data_limit.rate.available(NOW) == 424
    assert run.done(first, NOW + 5) is None  # it waits for the rate, its mail being next
    assert run.refusal() == (("max-data-volume-rate", "example.net/v1"), NOW + 25)
    assert [type(a) for a in run.run(NOW + 24)] == []
    assert [type(a) for a in run.run(NOW + 25)] == [Assign]


def test_octets_that_were_not_delivered_are_given_back():
    run = Run("max-data-volume-rate 1k/m")
    run.mail(count=2, size=1000)
    (first,) = run.opened()
    assert run.up(first)
    assert isinstance(run.done(first, delivered=False), list)


def test_octets_of_a_connection_that_breaks_off_are_given_back():
    run = Run("max-data-volume-rate 1k/m")
    run.mail(count=2, size=1000)
    (first,) = run.opened()
    batch = run.up(first)
    run.scheduler.finish(first, done=(), deferred=(), untried=batch, now=NOW)
    run.scheduler.closed(first, NOW)
    assert run.scheduler.queues[V1].data_limit.rate.used(NOW) == 0
    assert len(run.opened()) == 1


def test_a_message_above_the_limit_goes_alone_and_counts_for_as_many_windows():
    run = Run("max-data-volume-rate 1k/m\nmax-smtp-out 1")
    run.mail(count=2, size=2500)
    (first,) = run.opened()
    assert run.up(first)
    assert run.done(first) == Close(first, "max-data-volume-rate")
    run.scheduler.closed(first, NOW)
    assert run.opened(NOW + 179) == []
    assert len(run.opened(NOW + 180)) == 1


def test_backoff_has_a_data_rate_of_its_own():
    run = Run("max-data-volume-rate 1m/m\nbackoff-max-data-volume-rate 1k/m\nmax-smtp-out 1")
    run.mail(count=3, size=1000)
    (first,) = run.opened()
    run.scheduler.set_mode(run.scheduler.queues[V1], "backoff", NOW)
    assert run.up(first)
    run.done(first)
    assert run.refusal()[0] == ("backoff-max-data-volume-rate", "example.net/v1")


def test_a_connection_whose_mail_a_rate_lets_through_soon_stays_open():
    run = Run("max-msg-rate 1/10s")
    run.mail(count=3)
    (connection,) = run.opened()
    run.up(connection)
    assert run.done(connection, NOW + 1) is None
    assert run.run(NOW + 9) == []
    (assigned,) = run.run(NOW + 10)
    assert isinstance(assigned, Assign)


def test_a_connection_does_not_wait_for_a_rate_that_lets_nothing_through_for_long():
    run = Run(f"max-msg-rate 1/{RATE_WAIT_S + 10}s")
    run.mail(count=3)
    (connection,) = run.opened()
    run.up(connection)
    assert run.done(connection) == Close(connection, "max-msg-rate")


# Of a source address


def test_a_source_address_with_room_is_used_while_another_has_none():
    run = Run("source-ip-max-smtp-out 192.0.2.1 1\nsource-ip-max-smtp-out 0/0 3", vmta=SOURCES)
    run.mail(count=9)
    sources = [connection.source.ip for connection in run.opened()]
    assert sorted(sources) == ["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.2"]
    (directive, scope), until = run.refusal()
    assert (directive, until) == ("source-ip-max-smtp-out", None)
    assert scope in ("example.net/v1 from 192.0.2.1", "example.net/v1 from 192.0.2.2")


def test_the_old_spelling_limits_every_source_address():
    run = Run("max-smtp-out-per-source-ip 2", vmta=SOURCES)
    run.mail(count=9)
    assert len(run.opened()) == 4


def test_a_message_rate_of_each_source_address_holds_for_its_connections():
    run = Run("source-ip-max-msg-rate 0/0 2/m", vmta=SOURCES)
    run.mail(count=9)
    batches = []
    for connection in run.opened():
        batch = run.up(connection)
        while isinstance(batch, list):
            batches.append(connection.source.ip)
            batch = run.done(connection)
        run.scheduler.closed(connection, NOW)
    assert sorted(batches) == ["192.0.2.1"] * 2 + ["192.0.2.2"] * 2
    assert run.opened(NOW + 59) == []
    assert run.refusal()[0][0] == "source-ip-max-msg-rate"
    assert run.refusal()[1] == NOW + 60
    assert len(run.opened(NOW + 60)) == 4


def test_a_connect_rate_of_each_source_address_counts_attempts():
    run = Run("source-ip-max-connect-rate 0/0 1/m", vmta=SOURCES)
    run.mail(count=9)
    a, b = run.opened()
    for connection in (a, b):
        assert run.scheduler.connecting(connection, HOST, IP, NOW + 1)
        run.scheduler.closed(connection, NOW + 2)
    assert run.opened(NOW + 60) == []
    assert run.refusal()[0][0] == "source-ip-max-connect-rate"
    assert len(run.opened(NOW + 61)) == 2


def test_a_data_rate_of_each_source_address_holds():
    run = Run("source-ip-max-data-volume-rate 0/0 1k/m", vmta=SOURCES)
    run.mail(count=4, size=1000)
    a, b = run.opened()
    assert run.up(a)
    assert run.up(b)
    run.done(a)
    assert run.refusal()[0][0] == "source-ip-max-data-volume-rate"


def test_disabled_sources_refuse_until_the_first_comes_back():
    run = Run(vmta=SOURCES)
    run.mail()
    queue = run.scheduler.queues[V1]
    queue.disabled = {"192.0.2.1": NOW + 50, "192.0.2.2": None}
    assert run.opened() == []
    assert run.refusal() == (("disable-source-ip", "example.net/v1"), NOW + 50)
    (connection,) = run.opened(NOW + 50)
    assert connection.source.ip == "192.0.2.1"


# Of a VirtualMTA


def test_a_vmta_data_rate_is_shared_by_its_queues():
    run = Run("max-smtp-out 1", vmta="max-smtp-data-volume-rate 1k/m")
    run.mail(V1, size=1000)
    run.mail(OTHER, size=1000)
    (first,) = run.opened()
    assert run.up(first)
    assert run.refusal(OTHER)[0] == ("max-smtp-data-volume-rate", "v1")
    run.done(first, NOW + 1)
    assert run.opened(NOW + 60) == []
    (second,) = run.opened(NOW + 61)
    assert second.queue.key == OTHER


def test_a_pool_gives_its_data_rate_to_each_member():
    run = Run(
        more="<virtual-mta-pool p>\nvirtual-mta v2\nmax-smtp-data-volume-rate 1k/m\n"
        "</virtual-mta-pool>"
    )
    run.mail(V2)
    assert run.scheduler.vmta_budget("v2").data.ceiling == (1024, 60)


def test_many_queues_do_not_open_more_connections_than_the_rate_of_their_vmta_serves():
    run = Run(vmta="max-smtp-msg-rate 2/m")
    for number in range(50):
        run.mail(QueueKey(f"d{number}.example", "v1"))
    first = run.opened()
    assert len(first) == 2
    for connection in first:
        assert run.up(connection)
        run.scheduler.finish(connection, done=connection.batch, deferred=(), untried=(), now=NOW)
        run.scheduler.closed(connection, NOW)
    assert run.opened(NOW + 59) == []
    again = run.opened(NOW + 60)
    assert [c.queue.key.domain for c in again] == ["d2.example", "d3.example"]


def test_hosts_that_do_not_answer_do_not_keep_other_queues_from_the_rate_of_their_vmta():
    run = Run(vmta="max-smtp-msg-rate 1/m")
    run.mail(QueueKey("dead.example", "v1"))
    run.mail(QueueKey("live.example", "v1"))
    (dead,) = run.opened()
    assert dead.queue.key.domain == "dead.example"
    assert run.opened(NOW + EXPECTED_S - 1) == []
    (live,) = run.opened(NOW + EXPECTED_S)
    assert run.up(live, NOW + EXPECTED_S)


# Of hosts


def test_an_mx_limit_holds_for_each_source_address_by_itself_over_all_queues():
    run = Run(vmta=SOURCES, top="mx-connection-limit *.example.net 1")
    run.mail(V1, 9)
    run.mail(OTHER, 9)
    took = [
        connection.source.ip
        for connection in run.opened()
        if run.scheduler.connecting(connection, HOST, IP, NOW)
    ]
    assert sorted(took) == ["192.0.2.1", "192.0.2.2"]


def test_an_ip_limit_holds_over_all_source_addresses():
    run = Run(vmta=SOURCES, top="ip-connection-limit 198.51.100/24 3\nip-connection-limit 0/0 1")
    run.mail(V1, 9)
    took = [run.scheduler.connecting(c, HOST, IP, NOW) for c in run.opened()]
    assert sum(took) == 3


def crowded(run, now=NOW):
    """Open and try hosts until the queue learns that they are full; those that are up."""
    up = []
    while opened := run.opened(now):
        for connection in opened:
            if run.scheduler.connecting(connection, HOST, IP, now):
                run.scheduler.connected(connection, HOST, now)
                run.scheduler.next_batch(connection, now)
                up.append(connection)
            else:
                run.scheduler.crowded(connection, now)
    return up


def test_a_queue_whose_hosts_are_full_waits_and_is_woken_when_a_slot_comes_back():
    run = Run(top=f"mx-connection-limit {HOST} 1")
    run.mail(V1)
    run.mail(OTHER, 3)
    (holder,) = crowded(run)
    assert run.refusal(OTHER) == (("mx-connection-limit", HOST), None)
    assert run.opened(NOW + 1) == []
    run.scheduler.finish(holder, done=holder.batch, deferred=(), untried=(), now=NOW + 1)
    run.scheduler.closed(holder, NOW + 1)
    (next_holder,) = crowded(run, NOW + 1)
    assert next_holder.queue.key == OTHER
    assert run.scheduler.gate.total.used == 1


def test_a_refused_host_costs_neither_a_retry_nor_a_unit_of_the_connect_rate():
    run = Run("max-connect-rate 2/h", top=f"mx-connection-limit {HOST} 1")
    run.mail(V1, 2)
    crowded(run)
    queue = run.scheduler.queues[V1]
    assert queue.retry_at is None
    assert queue.connect_limit.rate.available(NOW) == 1


def test_hosts_are_tried_again_after_a_while_as_the_dns_may_name_others():
    run = Run(top=f"mx-connection-limit {HOST} 1")
    run.mail(V1, 2)
    crowded(run)
    assert run.opened(NOW + CROWDED_S - 1) == []
    (connection,) = run.opened(NOW + CROWDED_S)
    assert run.scheduler.connecting(connection, "mx2.example.net", IP, NOW + CROWDED_S)


def test_hosts_that_were_full_once_do_not_wake_a_queue_that_another_limit_refuses():
    run = Run(
        "source-ip-max-smtp-out 192.0.2.0/24 1",
        vmta="smtp-source-host 192.0.2.1 a.example",
        top=f"mx-connection-limit {HOST} 1",
    )
    run.mail(OTHER)
    run.mail(V1, 3)
    opened = {connection.queue.key: connection for connection in run.opened()}
    run.up(opened[OTHER])
    refused = opened[V1]
    assert not run.scheduler.connecting(refused, HOST, IP, NOW)
    run.scheduler.crowded(refused, NOW)
    later = NOW + CROWDED_S
    (connection,) = [a.connection for a in run.scheduler.run(later) if isinstance(a, Open)]
    assert run.scheduler.connecting(connection, "mx2.example.net", IP, later)
    run.scheduler.connected(connection, "mx2.example.net", later)
    run.mail(V1, now=later)
    for _ in range(3):
        run.scheduler.run(later)
    assert run.refusal(V1)[0][0] == "source-ip-max-smtp-out"
    assert not run.scheduler.has_decisions
    assert run.scheduler.next_wake() > later


def test_a_queue_that_met_several_full_hosts_stands_in_none_of_their_lines_once_called():
    """It met each from the same address; a place left behind was called for ever."""
    run = Run(top="ip-connection-limit 0/0 1")
    run.mail(OTHER, 2)
    holders = run.opened()[:2]
    ips = ("198.51.100.1", "198.51.100.2")
    for holder, ip in zip(holders, ips, strict=True):
        assert run.scheduler.connecting(holder, HOST, ip, NOW)
        run.scheduler.connected(holder, HOST, NOW)
        run.scheduler.next_batch(holder, NOW)
    run.mail(V1, 2)
    for refused, ip in zip(run.opened()[:2], ips, strict=True):
        assert not run.scheduler.connecting(refused, HOST, ip, NOW)
        run.scheduler.crowded(refused, NOW)
    queue = run.scheduler.queues[V1]
    gate = run.scheduler.gate
    lines = [slots.line for slots in gate.hosts if queue in slots.line.places]
    assert len(lines) == 2
    gate.uncrowd(queue)
    assert not any(queue in line.places for line in lines)


def test_an_idle_connection_gives_its_host_to_a_queue_that_waits_for_it():
    run = Run("connection-idle-timeout 5m", top=f"mx-connection-limit {HOST} 1")
    run.mail(V1)
    (holder,) = run.opened()
    run.up(holder)
    assert run.done(holder) is None
    run.mail(OTHER)
    (refused,) = run.opened()
    assert not run.scheduler.connecting(refused, HOST, IP, NOW)
    run.scheduler.crowded(refused, NOW)
    (closing,) = [a for a in run.run() if isinstance(a, Close)]
    assert closing.connection is holder
    run.scheduler.closed(holder, NOW)
    assert [c.queue.key for c in run.opened()] == [OTHER]


def test_the_host_tried_before_is_given_back_when_the_next_is_tried():
    run = Run(top="mx-connection-limit *.example.net 1")
    run.mail()
    (connection,) = run.opened()
    assert run.scheduler.connecting(connection, "mx1.example.net", IP, NOW)
    assert run.scheduler.connecting(connection, "mx2.example.net", IP, NOW)
    assert [slots.scope for slots in run.scheduler.gate.hosts] == ["mx2.example.net"]
    run.scheduler.failed(connection, "ETIMEDOUT", NOW)
    assert list(run.scheduler.gate.hosts) == []


# Priority between queues

HIGH = "<domain high.example>\nqueue-priority 90\n</domain>"
LOW = "<domain low.example>\nqueue-priority 10\n{}\n</domain>"


def test_a_free_slot_goes_to_the_highest_priority_then_to_the_longest_waiting():
    run = Run(top="total-max-smtp-out 1", more=HIGH + "\n" + LOW.format(""))
    run.mail(V1)
    (holder,) = run.opened()
    run.up(holder)
    for domain in ("low.example", "b.example", "c.example", "high.example"):
        run.mail(QueueKey(domain, "v1"))
    run.run()
    order = []
    while True:
        run.scheduler.finish(holder, done=holder.batch, deferred=(), untried=(), now=NOW)
        run.scheduler.closed(holder, NOW)
        opened = run.opened()
        if not opened:
            break
        (holder,) = opened
        order.append(holder.queue.key.domain)
        run.up(holder)
    assert order == ["high.example", "b.example", "c.example", "low.example"]


@pytest.mark.parametrize(
    ("rules", "interrupts_at_once", "gives_way"),
    [
        ("", False, True),
        ("allow-priority-interruption-during-transfer yes", True, True),
        ("allow-priority-interruption no", False, False),
    ],
)
def test_a_queue_of_higher_priority_gets_the_slot_of_a_lower_one(
    rules, interrupts_at_once, gives_way
):
    run = Run(top="total-max-smtp-out 1", more=HIGH + "\n" + LOW.format(rules))
    run.mail(QueueKey("low.example", "v1"), 3)
    (holder,) = run.opened()
    run.up(holder)
    run.mail(QueueKey("high.example", "v1"))
    actions = run.run()
    assert (Interrupt(holder) in actions) == interrupts_at_once
    step = run.done(holder)
    assert isinstance(step, Close) == gives_way
    if gives_way:
        assert step.reason == "queue-priority: high.example/v1 needs its slot"
        run.scheduler.closed(holder, NOW)
        assert [c.queue.key.domain for c in run.opened()] == ["high.example"]


def test_a_connection_that_is_being_opened_is_interrupted_at_once():
    run = Run(top="total-max-smtp-out 1", more=HIGH)
    run.mail(V1)
    (holder,) = run.opened()
    run.mail(QueueKey("high.example", "v1"))
    assert Interrupt(holder) in run.run()
    run.scheduler.closed(holder, NOW)
    assert [c.queue.key.domain for c in run.opened()] == ["high.example"]
    assert run.scheduler.queues[V1].opening == 0


def test_no_more_connections_are_interrupted_than_the_queue_can_use():
    run = Run("max-smtp-out 10", top="total-max-smtp-out 10", more=HIGH)
    run.mail(V1, 20)
    for connection in run.opened():
        run.up(connection)
    run.mail(QueueKey("high.example", "v1"), 2)
    run.run()
    run.mail(QueueKey("high.example", "v1"), 1)
    run.run()
    assert run.scheduler.gate.total.coming == 3


def test_equal_priorities_interrupt_nobody():
    run = Run(top="total-max-smtp-out 1")
    run.mail(V1)
    (holder,) = run.opened()
    run.up(holder)
    run.mail(OTHER)
    assert run.run() == []
    assert not holder.interrupted


def test_a_connection_that_is_to_end_and_tries_another_host_meanwhile_ends_there_too():
    """Otherwise the queue that asks there is told for ever of one that is ending already."""
    top = "mx-connection-limit *.example.net 1\ntotal-max-smtp-out 2"
    run = Run(top=top, more=HIGH + "\n" + HIGH.replace("high", "higher"))
    run.mail(V1)
    (holder,) = run.opened()
    assert run.scheduler.connecting(holder, "mx1.example.net", IP, NOW)
    run.mail(QueueKey("high.example", "v1"))
    (high,) = run.opened()
    assert not run.scheduler.connecting(high, "mx1.example.net", IP, NOW)
    assert holder.is_going  # and the shell has not heard of it yet
    assert run.scheduler.connecting(holder, "mx2.example.net", IP, NOW)
    assert not run.scheduler.connecting(high, "mx2.example.net", IP, NOW)
    assert run.run() == [Interrupt(holder)]
    run.scheduler.closed(holder, NOW)
    run.scheduler.crowded(high, NOW)
    assert all(not slots.coming for slots in (run.scheduler.gate.total, *run.scheduler.gate.hosts))


# Ceilings that change


def test_a_ceiling_that_rises_is_offered_to_those_that_wait():
    run = Run(top="total-max-smtp-out 1")
    run.mail(V1)
    run.mail(OTHER)
    assert len(run.opened()) == 1
    total = run.scheduler.gate.total
    total.ceiling = 2
    run.scheduler.gate.offer((total,), NOW)
    assert len(run.opened()) == 1
