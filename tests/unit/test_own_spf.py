"""Mail goes only by an address that the SPF record of its sender's domain lets it out by."""

import pytest

from mta.daemon.own_spf import KNOWN_MAX, KNOWN_S, KNOWN_TEMPERROR_S, OwnSpf
from mta.errors import ResolveError
from mta.model.outcome import Bounced, Deferred
from mta.queues.connection import Source
from tests.texts import domain as settings_of
from tests.texts import loaded

OURS = Source("192.0.2.1", "a.example")
RECORDS = {
    "good.example": "v=spf1 ip4:192.0.2.1 -all",
    "a.example": "v=spf1 ip4:192.0.2.1 -all",
    "bad.example": "v=spf1 -all",
    "soft.example": "v=spf1 ~all",
    "neutral.example": "v=spf1 ?all",
    "wrong.example": "v=spf1 nonsense",
    "each.example": "v=spf1 exists:%{l}.ok.example -all",
}


class FakeDns:
    """A table of TXT records, and who of each.example has an address; `dead` answers nothing."""

    def __init__(self):
        self.dead = False
        self.asked = []

    async def records(self, name, kind):
        self.asked.append(name)
        if self.dead or name == "dead.example":
            raise ResolveError(f"no answer for {name}", permanent=False, status="4.4.3")
        if kind == "A":
            return ("127.0.0.2",) if name == "one.ok.example" else ()
        return (RECORDS[name],) if name in RECORDS else ()


@pytest.fixture
def dns():
    return FakeDns()


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        ("x@good.example", None),
        ("", None),
        ("x@bad.example", "5.7.23"),
        ("x@soft.example", "5.7.23"),
        ("x@neutral.example", "5.7.23"),
        ("x@none.example", "5.7.23"),
        ("x@[192.0.2.1]", "5.7.23"),
        ("x@wrong.example", "5.7.24"),
        ("x@dead.example", "4.7.24"),
    ],
)
async def test_a_pass_sends_a_temperror_waits_and_all_else_bounces(dns, sender, status):
    outcome = await OwnSpf(dns).outcome(OURS, sender)
    if status is None:
        assert outcome is None
        return
    assert isinstance(outcome, Deferred if status[0] == "4" else Bounced)
    assert outcome.status == status
    assert outcome.diagnostic.startswith("x-pmta;SPF ")
    assert f"for {sender} from 192.0.2.1: " in outcome.diagnostic
    assert outcome.diagnostic.endswith("(check-spf-outbound)")


async def test_a_domain_is_asked_for_by_its_name_in_dns(dns):
    await OwnSpf(dns).outcome(OURS, "x@bücher.example")
    assert dns.asked == ["xn--bcher-kva.example"]


async def test_a_result_holds_for_address_name_and_domain_for_a_while(dns):
    times = [0.0]
    own = OwnSpf(dns, lambda: times[0])
    assert await own.outcome(OURS, "x@good.example") is None
    assert await own.outcome(OURS, "other@Good.example") is None
    assert dns.asked == ["good.example"]
    other = Source("192.0.2.2", OURS.helo)
    assert (await own.outcome(other, "x@good.example")).status == "5.7.23"
    times[0] = KNOWN_S - 1
    dns.dead = True
    assert await own.outcome(OURS, "x@good.example") is None
    times[0] = KNOWN_S
    assert (await own.outcome(OURS, "x@good.example")).status == "4.7.24"
    dns.dead = False
    times[0] += KNOWN_TEMPERROR_S
    assert await own.outcome(OURS, "x@good.example") is None


async def test_what_a_record_says_of_one_sender_holds_for_no_other(dns):
    own = OwnSpf(dns)
    assert await own.outcome(OURS, "one@each.example") is None
    assert (await own.outcome(OURS, "two@each.example")).status == "5.7.23"


async def test_an_operator_has_it_forgotten(dns):
    own = OwnSpf(dns)
    for domain, count in (("other.example", 1), ("good.example", 2), ("*", 3)):
        assert await own.outcome(OURS, "x@good.example") is None
        own.clear(domain)
        assert await own.outcome(OURS, "x@good.example") is None
        assert len(dns.asked) == count


async def test_what_is_remembered_is_bounded(dns, monkeypatch):
    monkeypatch.setattr("mta.daemon.own_spf.KNOWN_MAX", 2)
    own = OwnSpf(dns)
    assert KNOWN_MAX > 2
    for domain in ("good", "bad", "soft", "good"):
        await own.outcome(OURS, f"x@{domain}.example")
    assert dns.asked == ["good.example", "bad.example", "soft.example", "good.example"]


@pytest.mark.parametrize("name", ["check-spf-outbound", "check-mfrom-outbound"])
def test_the_old_name_means_the_same(name):
    settings = settings_of(f"<domain *>\n{name} yes\n</domain>\n", "x.example/{{default}}")
    assert settings.check_spf_outbound


WITHOUT = "<virtual-mta b>\n</virtual-mta>\n"
WITH = "<virtual-mta a>\nsmtp-source-host 192.0.2.1 a.example\n{}</virtual-mta>\n"
ASKS = "<domain *>\ncheck-spf-outbound {}\n</domain>\n"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (WITHOUT + WITH.format("") + ASKS.format("yes"), "{default}, b"),
        ("smtp-source-host 192.0.2.1 a.example\n" + WITHOUT + ASKS.format("yes"), ""),
        (WITHOUT + ASKS.format("no"), ""),
        (WITH.format(ASKS.format("yes")), ""),
        ("<virtual-mta b>\n" + ASKS.format("yes") + "</virtual-mta>\n", "b"),
    ],
)
def test_where_no_source_address_is_given_the_check_says_so(text, names):
    found = [one for one in loaded(text).diagnostics if "check-spf-outbound" in one.message]
    assert [one.message.partition(" VirtualMTA ")[2].partition(":")[0] for one in found] == (
        [names] if names else []
    )
