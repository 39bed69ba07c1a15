"""A command asks every shard, and what they answer becomes one answer."""

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mta import ids
from mta.admin import merge
from mta.admin import parameters as p
from mta.admin.answers import (
    Connections,
    Explanation,
    ListAnswer,
    QueueTotals,
    StatusAnswer,
    Traffic,
    TrafficPeriod,
    VmtaRow,
    VmtasAnswer,
)
from mta.admin.command import UsageError, find_command, match_word
from mta.admin.commands import COMMANDS
from mta.admin.fake import MESSAGE_ID, SOURCE_IP, FakeOperations
from mta.admin.job_answers import JobRow, JobsAnswer
from mta.admin.operations import CommandRefusedError, DomainQuery
from mta.admin.pattern import QueuePattern
from mta.admin.protocol import (
    Exit,
    Piece,
    Request,
    decode_piece,
    decode_request,
    encode_piece,
    encode_request,
)
from mta.admin.render import FORMATS, render
from mta.admin.traffic import TrafficCounters
from mta.model.queue_key import QueueKey


def run(words: str, shards: list[FakeOperations], **raw: str) -> str:
    command = find_command(COMMANDS, words)
    assert command.run is not None
    answer = asyncio.run(command.run(shards, command.arguments(raw)))
    return render(answer, "text", done=command.done)


@pytest.fixture
def shards() -> list[FakeOperations]:
    return [FakeOperations(["a.example/v1", "b.example/v1"]), FakeOperations(["c.example/v2"])]


def test_queues_of_all_shards_are_one_sorted_list(shards):
    text = run("show topqueues", shards)
    assert text.index("a.example") < text.index("b.example") < text.index("c.example")
    assert text.endswith("3 of 3 matching queues.\n")
    assert run("show queues", shards, maxitems="2").endswith("2 of 3 matching queues.\n")


def test_a_change_reaches_every_shard_and_is_summed(shards):
    text = run("schedule", shards, queues="*/*", **{"retry-recipients": "yes"})
    assert text == "0 of 3 matching queues scheduled.\n"
    assert [s.told for s in shards] == [["schedule */* recipients=True"]] * 2
    assert run("set queue", shards, queues="*/v2", mode="backoff") == (
        "Mode of 1 of 1 matching queues changed.\n"
    )


def test_holding_back_what_matches_nothing_is_refused(shards):
    with pytest.raises(CommandRefusedError, match=r"no queue matches x\.example/\{default\}"):
        run("pause queue", shards, queues="x.example")
    with pytest.raises(CommandRefusedError, match=r"no queue matches x\.example/\{default\}"):
        run("set queue", shards, queues="x.example", mode="backoff")


def test_sources_are_disabled_shown_and_enabled_where_queues_send_from_them(shards):
    said = run("disable source", shards, ip=SOURCE_IP, queues="*/v1", **{"reenable-after": "1h"})
    assert said == "Source disabled for 2 of 2 matching queues.\n"
    assert [s.told for s in shards] == [["disable 192.0.2.1 */v1 after=3600"]] * 2
    run("disable source", shards, ip=SOURCE_IP, queues="c.example/v2")
    shown = run("show disabled sources", shards).splitlines()
    assert [line.split()[0] for line in shown[2:5]] == [
        "a.example/v1", "b.example/v1", "c.example/v2",
    ]  # fmt: skip
    assert shown[4].split(maxsplit=2)[1:] == [SOURCE_IP, "enabled             by an operator"]
    assert shown[-1] == "3 of 3 disabled sources."
    assert run("show disabled sources", shards, queues="b.example", maxitems="1").endswith(
        "1 of 1 disabled sources.\n"
    )
    said = run("enable source", shards, ip=SOURCE_IP, queues="a.example/*")
    assert said == "Source enabled for 1 of 1 matching queues.\n"
    assert "a.example" not in run("show disabled sources", shards)


def test_a_source_that_no_queue_sends_from_is_refused_where_it_is_to_be_disabled(shards):
    with pytest.raises(CommandRefusedError, match=r"no queue that matches \*/\* sends from 192"):
        run("disable source", shards, ip="192.0.2.9", queues="*/*")
    with pytest.raises(CommandRefusedError, match="sends from system;"):
        run("disable source", shards, ip="System", queues="*/*")
    assert shards[0].told[-1] == "disable  */* after=None"
    assert run("enable source", shards, ip="192.0.2.9", queues="*/*") == (
        "Source enabled for 0 of 0 matching queues.\n"
    )


def test_letting_go_what_matches_nothing_is_done(shards):
    assert run("schedule", shards, queues="x.example") == "0 of 0 matching queues scheduled.\n"
    assert run("resume queue", shards, queues="x.example").splitlines() == [
        "Queue(s) resumed.",
        "No queue matches x.example/{default}.",
    ]
    assert run("set queue", shards, queues="x.example", mode="normal") == (
        "Mode of 0 of 0 matching queues changed.\n"
    )


class Dying(FakeOperations):
    """One whose worker ends as soon as it is told anything."""

    async def _dies(self, *_: object, **__: object) -> None:
        raise CommandRefusedError("worker 1 ended before it answered; what it did is not known")

    pause = set_mode = delete = set_priority = reset_counters = _dies


@pytest.mark.parametrize(
    ("words", "raw", "done"),
    [
        ("pause queue", {"queues": "*/*"}, "2 of 2 matching changed"),
        ("delete", {"queue": "*/*"}, "80 of 80 matching changed"),
        ("set priority", {"queue": "*/*", "priority": "90"}, "80 of 80 matching changed"),
        ("reset counters", {}, "Traffic counters reset."),
    ],
)
def test_a_change_that_breaks_off_says_what_is_done_and_what_is_not(shards, words, raw, done):
    last = FakeOperations(["d.example/v1"])
    with pytest.raises(CommandRefusedError) as refused:
        run(words, [shards[0], Dying(["c.example/v2"]), last], **raw)
    assert str(refused.value).split("\n") == [
        f"done in part only; worker 0: {done}",
        "worker 1 ended before it answered; what it did is not known",
        "not asked: worker 2",
        "try again in a moment for the rest; what was done stays done",
    ]
    assert last.told == []


def test_a_change_that_breaks_off_before_anything_is_done_is_refused_as_it_is(shards):
    with pytest.raises(CommandRefusedError, match=r"^worker 1 ended before it answered"):
        run("pause queue", [shards[0], Dying([])], queues="c.example/*")


def test_what_one_shard_knows_is_explained_though_another_does_not(shards):
    assert "c.example/v2" in run("explain", shards, subject="c.example/v2")
    assert "max-smtp-out 20" in run("show settings", shards, queue="c.example/v2")
    with pytest.raises(CommandRefusedError, match="no VirtualMTA"):
        run("explain", shards, subject="c.example/v3")


def test_one_directive_of_a_queue_is_explained(shards):
    said = run("explain", shards, subject="c.example/v2", directive="MAX-SMTP-*")
    assert said == "max-smtp-out of c.example/v2\n  is     20  pmta.conf:12\n"
    with pytest.raises(CommandRefusedError, match='did you mean "max-smtp-out"'):
        run("explain", shards, subject="c.example/v2", directive="max-smtp-ou")


def test_a_message_is_explained_by_its_printed_number(shards):
    assert "From        news@example.com" in run(
        "explain", shards, subject=ids.printed(MESSAGE_ID).upper()
    )
    with pytest.raises(CommandRefusedError, match="is queued"):
        run("explain", shards, subject=ids.printed(MESSAGE_ID + 64))


@pytest.mark.parametrize(
    ("words", "raw", "text", "told"),
    [
        ("pause queue", {"queues": "a.example/*"}, "Queue(s) paused.", "pause a.example/*"),
        ("resume queue", {"queues": "*/*"}, "Queue(s) resumed.", "resume */*"),
        ("reload", {}, "Configuration reloaded.", "reload"),
        ("rotate acct", {}, "Accounting file rotated.", "rotate acct"),
        ("rotate acct", {"file": "a.csv"}, "Accounting file rotated.", "rotate acct a.csv"),
        ("rotate log", {}, "Logging file rotated.", "rotate log"),
        ("clear dnscache", {"domain": "*"}, "DNS cache cleared.", "clear *"),
        ("clear dnscache", {"domain": "a.b"}, "Cleared a.b from DNS cache.", "clear a.b"),
        ("reset counters", {}, "Traffic counters reset.", "reset"),
        ("stop", {}, "Stopping.", "stop"),
        (
            "delete",
            {"queue": "a.example/*", "dsn": "yes", "no-accounting": "yes"},
            "40 of 40 matching recipients deleted.",
            "delete a.example/* dsn=True accounting=False",
        ),
        (
            "delete",
            {"queue": "a.example/*", "accounting": "yes"},
            "40 of 40 matching recipients deleted.",
            "delete a.example/* dsn=False accounting=True",
        ),
    ],
)
def test_commands_say_what_powermta_says(shards, words, raw, text, told):
    assert run(words, shards, **raw) == f"{text}\n"
    assert all(shard.told == [told] for shard in shards)


def test_traffic_and_connections_of_shards_add_up_under_one_ceiling():
    one = StatusAnswer(
        now=10,
        started=5,
        host_name="h",
        total=TrafficPeriod(Traffic(1, 2, 3), Traffic(4, 5, 6)),
        outbound=Connections(1, 2, 30),
        queues={"smtp": QueueTotals(1, 1, 1)},
    )
    merged = merge.merge_status([one, one])
    assert merged.total == TrafficPeriod(Traffic(2, 4, 6), Traffic(8, 10, 12))
    assert merged.outbound == Connections(2, 4, 30)
    assert merged.queues["smtp"] == QueueTotals(2, 2, 2)
    assert merged.started == 5


def test_a_domain_that_several_shards_have_queues_of_counts_once():
    def status(**domains):
        queues = {kind: QueueTotals(5, len(names), 7) for kind, names in domains.items()}
        sets = {kind: frozenset(names) for kind, names in domains.items()}
        return StatusAnswer(now=10, started=5, host_name="h", queues=queues, domains=sets)

    answers = [status(smtp="ab", pipe="a"), status(smtp="bc"), status(smtp="b")]
    merged = merge.merge_status(answers)
    assert merged.queues == {"smtp": QueueTotals(15, 3, 21), "pipe": QueueTotals(5, 1, 7)}


def test_rows_of_one_domain_or_vmta_add_up():
    (row,) = merge.merge_domains([[("a", 2, 3, 1)], [("a", 2, 3, 1)]], DomainQuery()).rows
    assert (row.recipients, row.octets, row.connections) == (4, 6, 2)
    vmta = VmtasAnswer((VmtaRow(name="v", recipients=2),), 1, 5)
    answer = merge.merge_vmtas([vmta, vmta], "name", 20)
    assert (answer.rows[0].recipients, answer.total_recipients) == (4, 10)


def test_what_is_little_in_each_shard_may_be_the_most_of_all():
    sums = [[("a", 5, 0, 0), ("b", 3, 0, 0)], [("c", 4, 0, 0), ("b", 3, 9, 1)]]
    top = merge.merge_domains(sums, DomainQuery(max_items=1))
    assert [(row.domain, row.recipients) for row in top.rows] == [("b", 6)]
    assert top.matching == 3
    connected = merge.merge_domains(sums, DomainQuery(connected=True))
    assert [(row.domain, row.recipients) for row in connected.rows] == [("b", 6)]


def test_domains_of_several_shards_are_summed_before_they_are_cut_and_keep_their_events():
    shards = [
        FakeOperations(["a.example/v1", "b.example/v1"]),
        FakeOperations(["c.example/v1", "b.example/v2"]),
    ]
    text = run("show topdomains", shards, maxitems="1", errors="yes")
    assert "b.example      80" in text
    assert text.count("ETIMEDOUT connecting to mx.example") == 2
    assert text.endswith("1 of 3 domains shown.\n")


def test_virtualmtas_are_all_shown_and_summed_before_they_are_cut():
    class Pool(FakeOperations):
        def __init__(self, recipients: dict[str, int]) -> None:
            super().__init__()
            self.names = recipients

        async def vmtas(self, *, sort, max_items):
            del sort
            rows = [VmtaRow(name=n, recipients=r) for n, r in sorted(self.names.items())]
            return VmtasAnswer(tuple(rows[:max_items]), len(rows), sum(self.names.values()))

    one = {f"v{n:02}": 1 for n in range(30)}
    shards = [Pool(one), Pool({**one, "v29": 70})]
    assert "30 of 30 virtual MTAs." in run("show vmtas", shards)
    top = run("show vmtas", shards, sort="rcpt", maxitems="1")
    assert "v29        0    71" in top
    assert "1 of 30 virtual MTAs." in top


def test_jobs_of_all_shards_add_up_before_they_are_cut(shards):
    text = run("show jobs", shards)
    assert text.splitlines()[1].split() == ["news", "80", "390.6"]
    assert text.endswith("Total of 1 job(s).\n")
    one = JobsAnswer((JobRow(name="a", recipients=5), JobRow(name="b", recipients=3)), 2)
    other = JobsAnswer((JobRow(name="b", recipients=3),), 7)
    merged = merge.merge_jobs([one, other], "rcpt", 1)
    assert [(row.name, row.recipients) for row in merged.rows] == [("b", 6)]
    assert merged.matching == 8, "six more, which the other shard left out"


def test_the_explanation_of_the_owner_wins():
    key = QueueKey("a", "v")
    stranger = Explanation(now=1, queue=key, recipients=0)
    owner = Explanation(now=1, queue=key, recipients=3)
    assert merge.merge_explanations([stranger, owner]) is owner


def test_a_merged_list_says_that_it_was_cut():
    asked = FakeOperations()
    listed = asyncio.run(asked.list_recipients(p_filter(), limit=30))
    merged = merge.merge_lists([ListAnswer(listed.rows), listed], 40)
    assert (len(merged.rows), merged.has_more) == (40, True)


def p_filter():
    from mta.admin.operations import RecipientFilter

    return RecipientFilter()


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("gmail.com/*", "gmail.com/v1", "mail.gmail.com/v1"),
        ("*/V1", "gmail.com/v1", "gmail.com/v2"),
        ("*.gmail.com/v?", "x.gmail.com/v1", "gmail.com/v1"),
        ("gmail.com", "gmail.com/{default}", "gmail.com/v1"),
        ("g.ail.com/*", "g.ail.com/v1", "gmail.com/v1"),
        ("[192.0.2.1]/*", "[192.0.2.1]/v1", "1/v1"),
    ],
)
def test_a_pattern_matches_names_whole_and_only_stars_are_wild(pattern, matching, other):
    parsed = QueuePattern.parse(pattern)
    assert parsed.matches(QueueKey.parse(matching))
    assert not parsed.matches(QueueKey.parse(other))


async def traced(operations, **raw):
    """Lines of a trace, until it waits for a connection."""
    command = find_command(COMMANDS, "trace")
    assert command.stream is not None
    lines = command.stream(operations, command.arguments(raw))
    operations.trace_lines.put_nowait("(end)")
    found = [await anext(lines)]
    while found[-1] != "(end)":
        found.append(await anext(lines))
    await lines.aclose()
    return found[:-1]


def test_a_trace_schedules_only_where_it_is_asked_to_and_once_it_watches():
    shard = FakeOperations(["a.example/v1"])
    assert asyncio.run(traced(shard, queues="*/*")) == ["starting */*"]
    assert shard.told == []
    shard = FakeOperations(["a.example/v1"])
    said = asyncio.run(traced(shard, queues="*/*", **{"retry-recipients": "yes"}))
    assert said == ["starting */*", "0 of 1 matching queues scheduled."]
    assert shard.told == ["schedule */* recipients=True"]
    assert shard.traces_open == 0


def test_a_trace_goes_on_where_a_worker_cannot_be_told_to_schedule():
    class Away(FakeOperations):
        async def schedule(self, *_, **__):
            raise CommandRefusedError("worker 1 is being started again")

    said = asyncio.run(traced(Away(), queues="*/*", **{"retry-recipients": "yes"}))
    assert said == ["starting */*", "not scheduled: worker 1 is being started again"]


def test_a_listing_of_a_bare_domain_means_all_its_queues():
    assert str(p.parse_listing("Gmail.com")) == "gmail.com/*"
    assert str(QueuePattern.parse("Gmail.com")) == "gmail.com/{default}"


@pytest.mark.parametrize(
    ("words", "raw", "said"),
    [
        ("show queues", {"maxitems": "10001"}, "expected a number from 1 to 10000"),
        ("show queues", {"maxitems": "٣"}, "expected a number"),
        ("show queues", {"sort": "size2"}, "expected name, rcpt or size"),
        ("show queues", {"paused": "maybe"}, "expected yes or no"),
        ("show queues", {"no": "1"}, "unknown argument 'no'"),
        ("show queues", {"queues": "a/"}, "expected a queue such as"),
        ("explain", {"subject": "*/*"}, "without wildcards"),
        ("explain", {}, "QUEUE-OR-MESSAGE is missing"),
        ("list", {"orig": "a\nb"}, "without control characters"),
        ("list", {"older-than": "5 days"}, "expected an interval"),
        ("delete", {"older-than": "2h"}, "delete needs"),
        (
            "delete",
            {"queue": "*/*", "accounting": "yes", "no-accounting": "yes"},
            "contradict each other",
        ),
        ("trace", {"queues": "*/*", "source-ip": "192.0.2"}, "expected an IP address such as"),
        ("disable source", {"ip": "a.example", "queues": "*/*"}, "expected an IP address such as"),
        ("show vmta-settings", {"vmta": "*"}, "the name of one VirtualMTA"),
    ],
)
def test_wrong_arguments_say_what_was_expected(words, raw, said):
    with pytest.raises(UsageError, match=said):
        find_command(COMMANDS, words).arguments(raw)


def test_a_shortened_word_must_be_the_beginning_of_one_only():
    words = ["queues", "topqueues", "topdomains", "set", "settings"]
    assert match_word("Q", words) == "queues"
    assert match_word("set", words) == "set"
    with pytest.raises(UsageError, match="'top' may be topdomains or topqueues"):
        match_word("top", words)
    with pytest.raises(UsageError, match="no command 'x' here"):
        match_word("x", words)


_texts = st.text(st.characters(codec="utf-8"), max_size=100)


@given(_texts, st.dictionaries(_texts, _texts, max_size=5), st.sampled_from(FORMATS))
def test_a_request_crosses_the_socket_as_it_is(command, arguments, form):
    request = Request(command=command, arguments=arguments, format=form)
    line = encode_request(request)
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


@given(st.one_of(st.builds(Piece, out=st.text()), st.builds(Piece, exit=st.sampled_from(Exit))))
def test_a_piece_crosses_the_socket_as_it_is(piece):
    line = encode_piece(piece)
    assert line.count(b"\n") == 1
    assert decode_piece(line) == piece


@given(st.binary(max_size=200))
def test_any_line_is_a_request_or_a_usage_error(line):
    with contextlib.suppress(UsageError):
        decode_request(line)


def test_a_request_too_long_is_refused_before_it_is_sent():
    with pytest.raises(UsageError, match="longer than"):
        encode_request(Request(command="list", arguments={"rcpt": "x" * 70000}))


def test_the_last_minute_slides_and_the_top_stays():
    counters = TrafficCounters()
    for second in range(200):
        counters.sample(second)
        counters.out_messages += 10 if second < 100 else 1
    assert counters.total.outbound.messages == 1100
    assert counters.last_minute.outbound.messages == pytest.approx(60, abs=2)
    assert counters.top_minute.outbound.messages == pytest.approx(600, abs=10)
    counters.reset()
    counters.sample(200)
    assert counters.total == counters.top_hour == TrafficPeriod()


def test_traffic_of_days_takes_no_more_memory():
    counters = TrafficCounters()
    for second in range(20000):
        counters.sample(second)
    assert len(counters._minute.samples) <= 62
    assert len(counters._hour.samples) <= 62
