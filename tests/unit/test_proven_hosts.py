"""Whose word it is that a host serves a domain: a signed answer's, the operator's, or nobody's."""

import random

import dns.flags
import pytest

from mta.daemon.hosts import HostFinder
from mta.daemon.rollups import Rollups
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.model.route import NO_ROUTE, RouteHost, RouteSpec
from mta.net.resolver import Resolver, asker_of
from mta.sim.zone import Zone

HERE, ELSEWHERE = "127.0.0.53", "192.0.2.53"


class Settings:
    """Of a queue, as far as its hosts go."""

    default_smtp_port = 25
    bounce_upon_no_mx = None

    def __init__(self, *hosts):
        self.smtp_hosts = RouteSpec((hosts,)) if hosts else NO_ROUTE


class Queue:
    """One with nothing in it."""

    backlog = ()

    def __init__(self, domain, *route):
        self.key = QueueKey(domain, "v")
        self.settings = Settings(*route)


class RollupList:
    """Says that one queue was put together by MX answers."""

    def queue(self, name):
        return name if name == "big.rollup" else None


def finder(nameserver=HERE):
    zone = Zone(random.Random(1), latency_s=0.0, nameserver=nameserver)
    for domain in ("signed.example", "unsigned.example"):
        zone.add(domain, "MX", "10 mx.example.")
    zone.add("plain.example", "A", "192.0.2.1")
    zone.authentic.add("signed.example")
    resolver = Resolver(configured=lambda _: zone)
    rollups = Rollups(resolver)
    rollups.list = RollupList()
    return HostFinder(resolver, frozenset(), rollups)


def recipients(*domains):
    envelope = Envelope(message_id=1, mail_from="", time_queued=0.0, size=1, head_size=1)
    return [Recipient(1, envelope, f"a@{one}", QueueKey(one, "v"), 0.0) for one in domains]


@pytest.mark.parametrize(
    ("queue", "name", "unproven"),
    [
        (Queue("signed.example"), "mx.example", ""),
        (Queue("signed.example"), "other.example", "signed.example"),
        (Queue("unsigned.example"), "mx.example", "unsigned.example"),
        (Queue("plain.example"), "plain.example", ""),
        (Queue("plain.example"), "mx.example", "plain.example"),
        (Queue("[192.0.2.1]"), "[192.0.2.1]", ""),
        (Queue("unsigned.example", RouteHost("mx.example")), "mx.example", ""),
        (Queue("d.example", RouteHost("signed.example", lookup_mx=True)), "mx.example", ""),
        (
            Queue("d.example", RouteHost("unsigned.example", lookup_mx=True)),
            "mx.example",
            "unsigned.example",
        ),
    ],
)
async def test_a_host_is_proven_by_a_signed_answer_or_by_the_configuration(queue, name, unproven):
    assert await finder().unproven(queue, name, recipients("c.example")) == unproven


@pytest.mark.parametrize(
    ("domains", "unproven"),
    [(["signed.example"], ""), (["signed.example", "unsigned.example"], "unsigned.example")],
)
async def test_in_a_rolled_up_queue_each_domain_has_to_prove_the_host(domains, unproven):
    """Who can forge an MX answer can bring a domain's mail into any such queue."""
    queue = Queue("big.rollup", RouteHost("mx.example"))
    assert await finder().unproven(queue, "mx.example", recipients(*domains)) == unproven


@pytest.mark.parametrize("nameserver", [ELSEWHERE, "https://dns.example/", None])
async def test_a_resolver_that_is_not_on_this_host_proves_nothing(nameserver):
    found = await finder(nameserver).unproven(Queue("signed.example"), "mx.example", ())
    assert found == "signed.example"


def test_the_resolver_is_asked_whether_answers_are_authentic():
    assert asker_of(("127.0.0.1",)).flags & dns.flags.AD
