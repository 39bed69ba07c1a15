"""Programs written for PowerMTA cut columns and names out of these; they stay as they are."""

import json
import time
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

import mta
from mta.admin.answers import (
    Changed,
    CommandDone,
    Connections,
    DisabledSource,
    DisabledSourcesAnswer,
    DomainRow,
    DomainsAnswer,
    Event,
    Explanation,
    Hidden,
    LimitUse,
    ListAnswer,
    ListedRecipient,
    MessageExplanation,
    QueueRow,
    QueuesAnswer,
    QueueTotals,
    RecipientEvent,
    RecipientExplanation,
    ReloadAnswer,
    Setting,
    SettingsAnswer,
    StatusAnswer,
    Traffic,
    TrafficPeriod,
    VersionAnswer,
    VmtaRow,
    VmtasAnswer,
)
from mta.admin.job_answers import JobRow, JobsAnswer
from mta.admin.render import FORMATS, render, render_failure
from mta.admin.tree import printed_time
from mta.model.queue_key import QueueKey
from mta.model.refusal import Refusal


def at(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))


NOW = at("2024-03-05 10:17:07")
GMAIL = QueueKey("gmail.com", "vmta1")
KB = 1024

STATUS = StatusAnswer(
    now=NOW,
    started=at("2024-03-04 16:22:01"),
    host_name="mta1.example.com",
    total=TrafficPeriod(Traffic(121000, 9500, 20110 * KB), Traffic(120400, 120000, 90210 * KB)),
    last_minute=TrafficPeriod(Traffic(61, 5, 3277), Traffic(60, 60, 20582)),
    inbound=Connections(1, 7, 150),
    outbound=Connections(12, 157, 1200),
    names_cached=81,
    names_pending=1,
    queues={"smtp": QueueTotals(692, 241, 10450 * KB), "pipe": QueueTotals(2, 1, 410)},
    spool_messages=491,
    spool_recipients=694,
)
TOP = QueuesAnswer(
    rows=(
        QueueRow(
            key=GMAIL,
            recipients=77,
            octets=787866,
            mode="backoff",
            is_paused=True,
            retry_at=at("2024-03-05 18:25:32"),
            events=(
                Event(at("2024-03-05 18:24:33"), "connect rate limit reached"),
                Event(at("2024-03-05 18:20:00"), 'Error: "421 later" while connected'),
            ),
            refusal=Refusal("max-connect-rate", "gmail.com/vmta1", NOW, "pmta.conf:12"),
        ),
        QueueRow(key=QueueKey("example.org", "{default}"), recipients=2, octets=410, connections=1),
    ),
    matching=3,
    total_recipients=61078,
    total_queues=1428,
    title="Top 2 queues by number of recipients",
    shows_events=True,
)
VMTAS = VmtasAnswer(
    (
        VmtaRow(name="vmta572", domains=13, recipients=18, octets=102, connections=16),
        VmtaRow(name="vmta103", domains=1, recipients=7, octets=102, connections=8),
    ),
    2,
    25,
)
EXPLANATION = Explanation(
    now=NOW,
    queue=GMAIL,
    recipients=40,
    recipients_due=30,
    in_flight=2,
    mode="backoff",
    mode_since=NOW - 60,
    mode_until=NOW + 3600,
    mode_reason='reply /blocked/ (pmta.conf:30): "421 blocked"',
    limits=(
        LimitUse(
            directive="max-smtp-out",
            scope="gmail.com/vmta1",
            used="20",
            ceiling="20",
            place="pmta.conf:12",
            is_exhausted=True,
        ),
        LimitUse(
            directive="max-msg-rate",
            scope="gmail.com/vmta1",
            used="100",
            ceiling="100/h",
            is_exhausted=True,
            binds_until=NOW + 90,
        ),
        LimitUse(
            directive="max-connect-rate", scope="gmail.com/vmta1", used="", ceiling="unlimited"
        ),
    ),
    refusal=Refusal("max-smtp-out", "gmail.com/vmta1", None, "pmta.conf:12"),
    next_event="a connection becomes free",
    sources=("203.0.113.9 mta1.example.com",),
    settings=(
        Setting(
            directive="max-smtp-out",
            value="20",
            place="pmta.conf:12",
            hides=(Hidden("5", "pmta.conf:3"), Hidden("20", "")),
        ),
        Setting(directive="bounce-after", value="4d12h"),
        Setting(directive="command", value=""),
    ),
)
MESSAGE = MessageExplanation(
    now=NOW,
    message_id=64,
    mail_from="",
    time_queued=NOW - 7200,
    size=5 * KB,
    recipients=(
        RecipientExplanation(address="a@gmail.com", queue=GMAIL, attempts=1, due=NOW + 60),
        RecipientExplanation(address="b@gmail.com", queue=GMAIL, attempts=0, due=NOW - 1),
    ),
    recipients_total=5,
    queues=(EXPLANATION,),
)
LISTED = ListAnswer(
    (
        ListedRecipient(
            queue=GMAIL,
            mail_from="",
            address="a@gmail.com",
            message_id=64,
            time_queued=NOW,
            due=NOW + 60,
            attempts=2,
            last_reply="450 try later",
            subject="Hello <b>",
        ),
    ),
    has_more=True,
    busy_queues=1,
)
SETTINGS = SettingsAnswer(
    GMAIL,
    (Setting(directive="host-name", value="mta1.example.com"),),
    (Setting(directive="max-smtp-out", value="20", place="a:1"), Setting(directive="c", value="")),
)
JOBS = JobsAnswer((JobRow(name="weeklyNews22100", recipients=431, octets=1266586),), 1)
ANSWERS = [
    STATUS,
    TOP,
    VMTAS,
    EXPLANATION,
    MESSAGE,
    LISTED,
    SETTINGS,
    DomainsAnswer((DomainRow(domain="a.example", recipients=1),), 1),
    DisabledSourcesAnswer((DisabledSource(queue=GMAIL, ip="192.0.2.1", until=NOW + 60),), 1),
    JOBS,
    VersionAnswer("Petrel", "1"),
    ReloadAnswer(remarks=("pmta.conf:3: warning: x",), needs_restart=("http-mgmt-port",)),
    CommandDone("Done & <dusted>."),
    Changed(1, 2),
]


def test_status_is_laid_out_in_the_columns_of_powermta():
    title = f"Petrel v{mta.__version__} status on mta1 on 2024-03-05 10:17:07".center(77).rstrip()
    assert (
        render(STATUS, "text")
        == f"""\
{title}

  Traffic    ------------inbound------------  ------------outbound-----------
                 rcpts      msgs      kbytes      rcpts      msgs      kbytes
      Total     121000      9500     20110.0     120400    120000     90210.0
  Last Hour          0         0         0.0          0         0         0.0
   Top/Hour          0         0         0.0          0         0         0.0
  Last Min.         61         5         3.2         60        60        20.1
   Top/Min.          0         0         0.0          0         0         0.0

 Connections    active       top     maximum  Domain       cached     pending
    Inbound          1         7         150    Names          81           1
   Outbound         12       157        1200

     Queues      rcpts   domains      kbytes  Spool        in use    recycled
       SMTP        692       241     10450.0    Files         491           0
      other          2         1         0.4    Init.                complete

     Status    running    Started  2024-03-04 16:22:01    Uptime   0 17:55:06
"""
    )


def test_queues_have_columns_as_wide_as_their_content():
    lines = render(TOP, "text").splitlines()
    assert lines[0].split() == ["queue", "#rcpt", "kbytes", "conn", "st", "retry", "last", "error"]
    assert set(lines[1]) == {"-", " "}
    assert lines[2].split()[:6] == ["gmail.com/vmta1", "77", "769.4", "0", "PB", "18:25:32"]
    assert lines[2].endswith("connect rate limit reached")
    assert lines[3] == "    2024-03-05 18:24:33 connect rate limit reached"
    assert lines[5].startswith("    waits for max-connect-rate of gmail.com/vmta1 (pmta.conf:12)")
    assert lines[-1] == "2 of 3 matching queues."


def test_domains_have_the_ruler_and_the_cut_error():
    events = (Event(NOW, "ETIMEDOUT connecting to mx.example (192.0.2.1)"),)
    row = DomainRow(domain="slow.example", recipients=3, octets=31334, events=events)
    assert render(DomainsAnswer((row,), 30), "text").splitlines() == [
        "-----------------------------domain --#rcpt ---kbytes conn last error----------",
        "                       slow.example       3      30.6    0 ETIMEDOUT connect...",
        "1 of 30 domains shown.",
    ]


def test_vmtas_show_their_share():
    assert render(VMTAS, "text").splitlines() == [
        "name    domains #rcpt % total kbytes conn",
        "------- ------- ----- ------- ------ ----",
        "vmta572      13    18      72    0.1   16",
        "vmta103       1     7      28    0.1    8",
        "",
        "2 of 2 virtual MTAs.",
    ]


def test_settings_are_lines_of_directive_and_value():
    lines = render(SETTINGS, "text").splitlines()
    assert lines[:3] == ["Virtual MTA Settings", "-" * 20, "host-name mta1.example.com"]
    assert lines[4:8] == ["Queue Settings", "-" * 14, "max-smtp-out 20", 'c ""']


def test_dom_has_a_line_for_each_value_and_escapes_nothing():
    assert render(TOP, "dom").splitlines()[:12] == [
        'title="Top 2 queues by number of recipients"',
        'queue[0].name="gmail.com/vmta1"',
        'queue[0].rcp="77"',
        'queue[0].kb="769.4"',
        'queue[0].conn="0"',
        'queue[0].event[0].type="error"',
        'queue[0].event[0].time="2024-03-05 18:24:33"',
        'queue[0].event[0].text="connect rate limit reached"',
        'queue[0].event[1].type="error"',
        'queue[0].event[1].time="2024-03-05 18:20:00"',
        'queue[0].event[1].text="Error: "421 later" while connected"',
        'queue[0].refusal.directive="max-connect-rate"',
    ]
    lines = render(TOP, "dom").splitlines()
    assert 'queue[0].paused="yes"' in lines
    assert 'queue[1].mode="normal"' in lines
    assert lines[-2:] == ['totalRcp="61078"', 'totalQueuesWithRcp="1428"']


def test_dom_of_status_has_the_names_monitoring_reads():
    values = dict(line.split("=", 1) for line in render(STATUS, "dom").splitlines())
    assert values["status.traffic.total.out.rcp"] == '"120400"'
    assert values["status.traffic.lastMin.in.kb"] == '"3.2"'
    assert values["status.conn.smtpOut.max"] == '"1200"'
    assert values["status.queue.smtp.dom"] == '"241"'
    assert values["status.queue.discard.rcp"] == '"0"'
    assert values["status.spool.files.inUse"] == '"491"'
    assert values["status.shuttingDown"] == '"0"'
    assert values["mta.fullHostName"] == '"mta1.example.com"'
    assert values["status.traffic.perf.lastMin.in.mailFromTime"] == '"0"'


def test_xml_is_one_line_of_the_same_names():
    text = render(VMTAS, "xml")
    assert text.count("\n") == 1
    assert text.startswith(
        "<rsp><data><vmta><name>vmta572</name><dom>13</dom><rcp>18</rcp>"
        "<pctOfTotal>72</pctOfTotal><kb>0.1</kb><conn>16</conn></vmta>"
    )
    assert text.endswith("</data><succ/></rsp>\n")


def test_json_has_plural_lists_and_native_values():
    document = json.loads(render(VMTAS, "json"))
    assert (document["status"], document["message"]) == ("success", "")
    assert document["data"]["vmtas"][0]["pctOfTotal"] == 72
    queue = json.loads(render(TOP, "json"))["data"]["queues"][0]
    assert queue["paused"] is True
    assert [event["type"] for event in queue["events"]] == ["error", "error"]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda a: type(a).__name__)
def test_every_answer_has_every_format(answer, form):
    text = render(answer, form, done="{count} of {matching} changed.")
    assert text.endswith("\n")
    if form == "xml":
        assert ET.fromstring(text).find("succ") is not None
    if form == "json":
        assert set(json.loads(text)) == {"data", "status", "message"}


@pytest.mark.parametrize("form", FORMATS)
def test_what_a_remote_server_said_cannot_break_a_format_or_a_terminal(form):
    evil = 'x\x1b[2J\r\n"><fail>&\u2028\x00\ud800'
    row = QueueRow(key=GMAIL, recipients=1, events=(Event(NOW, evil),))
    answer = QueuesAnswer(
        rows=(row,), matching=1, total_recipients=1, total_queues=1, shows_events=True
    )
    text = render(answer, form)
    assert "\x1b" not in text
    assert "\x00" not in text
    if form == "xml":
        assert ET.fromstring(text).find("fail") is None
    if form == "json":
        json.loads(text)
    if form != "json":
        text.encode()


def test_a_failure_is_told_to_programs_too():
    assert render_failure("no <queue>", "text") == ""
    assert render_failure("no <queue>", "xml") == "<rsp><fail>no &lt;queue&gt;</fail></rsp>\n"
    assert render_failure("no\x1b\nmore", "xml") == "<rsp><fail>no  more</fail></rsp>\n"
    assert json.loads(render_failure("no", "json"))["status"] == "error"


def test_the_sentence_of_a_change_counts():
    done = "{count} of {matching} matching queues scheduled."
    assert render(Changed(154, 3888), "text", done=done) == (
        "154 of 3888 matching queues scheduled.\n"
    )
    assert render(Changed(1, 2), "xml", done=done) == (
        "<rsp><succ>1 of 2 matching queues scheduled.</succ></rsp>\n"
    )


def test_an_explanation_names_what_binds_where_it_stands_and_what_it_hides():
    text = render(EXPLANATION, "text")
    for line in (
        "Recipients  40 waiting, 30 due, 2 in flight; 0.0 kbytes; 0 connections",
        "Waits for   max-smtp-out of gmail.com/vmta1 (pmta.conf:12)",
        "Next        a connection becomes free",
        "* max-smtp-out     gmail.com/vmta1  20 of 20  (pmta.conf:12)",
        (
            "* max-msg-rate     gmail.com/vmta1  100 of 100/h  (default), until "
            "2024-03-05 10:18:37 (in 1m30s)"
        ),
        "  max-connect-rate gmail.com/vmta1  unlimited  (default)",
        "  max-smtp-out 20  (pmta.conf:12)",
        "      hides 5  (pmta.conf:3)",
        "      hides 20  (default)",
        '  command ""',
    ):
        assert f"{line}\n" in text
    assert "until 2024-03-05 11:17:07 (in 1h): reply /blocked/ (pmta.conf:30)" in text


def test_an_explained_message_says_why_each_recipient_waits():
    text = render(MESSAGE, "text")
    assert "From        <>\n" in text
    assert "Recipients still queued: 5, the first 2 shown\n" in text
    assert "waits     its last try failed; it is due again later\n" in text
    assert "waits     max-smtp-out of gmail.com/vmta1 (pmta.conf:12)\n" in text


def test_the_version_has_the_names_of_powermta_and_its_sentence():
    answer = VersionAnswer("Petrel", "1", "mta1.example.com")
    document = json.loads(render(answer, "json"))
    assert document["message"] == render(answer, "text").rstrip("\n")
    assert list(document["data"]) == [
        "product", "lak", "os", "cpu", "ram", "fullHostName", "userString", "hostId",
    ]  # fmt: skip
    assert document["data"]["fullHostName"] == "mta1.example.com"
    assert "<succ>Petrel v" in render(answer, "xml")


def test_recipient_events_are_laid_out_as_powermta_does():
    rest = ("203.0.113.10", "kf@gmail.com", "job1", "mx (192.0.2.48)")
    events = (
        RecipientEvent("delivered", NOW, *rest, "smtp;250 DATA ok"),
        RecipientEvent("bounced", NOW - 1, *rest, "smtp;550 5.0.0 (undefined status);smtp;550 No"),
        RecipientEvent("delivered", NOW - 2, *rest, "smtp;250 ok"),
    )
    row = replace(TOP.rows[0], recipient_events=events)
    lines = render(replace(TOP, rows=(row,), matching=1), "text").splitlines()
    at = lines.index("Recipient Events (deliveries:2, bounces:1, deferrals:0)")
    assert (lines[at - 1], lines[at + 1]) == ("", "-" * len(lines[at]))
    assert lines[at + 2] == (
        f"delivered | {printed_time(NOW)} | 203.0.113.10 | kf@gmail.com | job1 | "
        "mx (192.0.2.48) | smtp;250 DATA ok"
    )
    assert lines[at + 5 :] == ["", "1 of 1 matching queues."]
    two = render(replace(TOP, rows=(row, TOP.rows[1])), "text")
    assert f"Recipient Events of {row.key} (deliveries:2" in two
    dom = render(replace(TOP, rows=(row, TOP.rows[1])), "dom")
    assert 'queue[0].rcptEvent[1].type="bounced"\n' in dom
    assert "queue[1].rcptEvent" not in dom


def test_jobs_have_the_ruler_of_powermta():
    assert render(JOBS, "text") == (
        "-----------------------------job-id ----#rcpt ---kbytes\n"
        "                    weeklyNews22100       431    1236.9\n"
        "Total of 1 job(s).\n"
    )
    assert render(JOBS, "dom").splitlines()[:2] == [
        'job[0].name="weeklyNews22100"', 'job[0].rcp="431"',
    ]  # fmt: skip
    assert json.loads(render(JOBS, "json"))["data"]["jobs"][0]["kb"] == 1236.9


def test_a_disabled_source_says_until_when():
    answer = DisabledSourcesAnswer(
        (
            DisabledSource(queue=GMAIL, ip="192.0.2.1", until=NOW + 60, reason='"421 <no>"'),
            DisabledSource(queue=GMAIL, ip=""),
        ),
        3,
    )
    text = render(answer, "text").splitlines()
    assert text[2] == f'{GMAIL} 192.0.2.1 {printed_time(NOW + 60)} "421 <no>"'
    assert text[3] == f"{GMAIL} system    enabled"
    assert text[-1] == "2 of 3 disabled sources."
    dom = render(answer, "dom")
    assert f'source[0].until="{printed_time(NOW + 60)}"\n' in dom
    assert "source[1].until" not in dom


def test_mode_events_are_shown_alone_or_among_all():
    event = Event(NOW - 60, "entered backoff mode: 421 blocked", "mode")
    row = replace(TOP.rows[0], events=(*TOP.rows[0].events, event))
    only = replace(TOP, rows=(row,), shows_events=False, shows_mode_events=True)
    for answer, errors in ((only, 0), (replace(only, shows_events=True), len(row.events) - 1)):
        text = render(answer, "text")
        assert text.count("    2024-03-05 10:16:07 entered backoff mode: 421 blocked\n") == 1
        dom = render(answer, "dom")
        assert dom.count('.type="mode"\n') == 1
        assert dom.count('.type="error"\n') == errors
        assert ("    waits for " in text) == bool(errors)
    assert "backoff mode" not in render(replace(only, shows_mode_events=False), "text")


def test_a_list_has_the_columns_asked_for():
    assert "priority" not in render(LISTED, "text").splitlines()[0]
    row = replace(LISTED.rows[0], priority=90, schedule="2024-03-05 10:00:00 / 2024-03-05 11:00:00")
    shown = replace(LISTED, rows=(row, *LISTED.rows), shows_priority=True, shows_schedule=True)
    titles, _, first, second, *_ = render(shown, "text").splitlines()
    at = titles.index("priority")
    assert first[at:].split(maxsplit=1)[0] == "90"
    at = titles.index("schedule")
    assert first[at:].startswith("2024-03-05 10:00:00 / 2024-03-05 11:00:00 450")
    assert second[at:].startswith("any  ")
    xml = render(shown, "xml")
    assert "<priority>90</priority><schedule>2024-03-05 10:00:00 / " in xml
    assert "<schedule>" not in render(LISTED, "xml")


def test_a_list_that_was_to_pause_says_that_it_did_not():
    last = render(replace(LISTED, was_to_pause=True), "text").splitlines()[-1]
    assert last == "--pause paused nothing: recipients in a transaction are listed without it."
    message = json.loads(render(replace(LISTED, was_to_pause=True), "json"))["message"]
    assert ("busy while listing" in message, message.endswith(last)) == (True, True)


def test_a_list_says_when_it_is_cut_and_what_may_have_changed_meanwhile():
    lines = render(LISTED, "text").splitlines()
    assert lines[-2] == "1 recipients; there are more, see --maxitems."
    assert lines[-1] == "1 queue busy while listing; what is listed may be delivered by now."
    xml = render(LISTED, "xml")
    assert "<msg><queue>gmail.com/vmta1</queue><orig/><rcpt>a@gmail.com</rcpt>" in xml
    assert "<header_subject>Hello &lt;b&gt;</header_subject><priority>50</priority>" in xml
    assert "<succ>1 queue busy" in xml
