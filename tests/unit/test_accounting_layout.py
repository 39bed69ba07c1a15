"""Accounting files: columns in the order parsers know, values in their formats."""

import time
from dataclasses import dataclass, replace

import pytest

from mta.accounting import build
from mta.accounting.layout import Layout
from mta.model.attempt import Attempt
from mta.model.message import Envelope, Recipient
from mta.model.outcome import Bounced, Deferred, Delivered
from mta.model.queue_key import QueueKey
from mta.model.record_fields import kind_of

DEFAULT = (
    "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,bounceCat,"
    "srcType,srcMta,dlvType,dlvSourceIp,dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,"
    "envId,queue,vmtaPool"
)


@dataclass
class Settings:
    records: tuple = ("d", "b")
    record_fields: tuple = ()
    map_header_to_field: tuple = ()
    iso_times: bool = True
    user_string: str = ""


ENVELOPE = Envelope(
    message_id=64,
    mail_from="news@example.com",
    time_queued=1709633700.4,
    size=41159,
    head_size=100,
    job_id="spring24",
    source_helo="feeder.example.com",
    source_ip="198.51.100.7",
    listener_ip="203.0.113.2",
    acct_headers={"subject": 'Spring, "at last"'},
)
RECIPIENT = Recipient(
    64 << 16, ENVELOPE, "u01@example.net", QueueKey("example.net", "vmta10"), 0.0, pool="pool-a"
)
ATTEMPT = Attempt(
    source_ip="203.0.113.10",
    remote_host="mx1.example.net",
    remote_ip="192.0.2.25",
    esmtp="PIPELINING,8BITMIME",
)
NOW = 1709633702.9


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def header(**settings):
    return Layout(Settings(**settings)).header.decode()


def test_the_default_columns_are_those_of_current_versions():
    assert header() == DEFAULT + "\r\n"


def test_further_kinds_add_the_columns_they_alone_have():
    columns = header(records=("d", "r", "c")).strip()
    assert columns == (
        DEFAULT + ",rcvSourceIp,rcvDestinationIp,timeConnected,dlvTlsProtocol,dlvTlsCipher,"
        "msgsDelivered,rcptsDelivered,rcptsFailed,bytesOut,closeReason"
    )


def test_receipts_alone_have_their_own_order():
    assert header(records=("r",)) == (
        "type,timeLogged,orig,rcpt,orcpt,srcType,srcMta,rcvSourceIp,rcvDestinationIp,"
        "vmta,vmtaPool,jobId,envId\r\n"
    )


def test_transient_queue_has_the_order_of_the_sample_row():
    assert header(records=("tq",)) == (
        "type,timeLogged,dsnStatus,dsnDiag,dsnMta,dlvType,dlvSourceIp,dlvDestinationIp,vmta,queue"
        "\r\n"
    )


def test_fields_are_chosen_removed_and_ordered():
    fields = (("b", ("timeQueued", "bounceCat", "header_Subject")),)
    assert header(records=("b",), record_fields=fields) == (
        "type,timeQueued,bounceCat,header_Subject\r\n"
    )
    fields = (("d", ("*", "!dlvSize", "envId", "rcvSmtpUser")),)
    columns = header(records=("d",), record_fields=fields).strip().split(",")
    assert "dlvSize" not in columns
    assert columns.count("envId") == 1
    assert columns[-1] == "rcvSmtpUser"


def test_a_delivery_is_the_row_parsers_know():
    record = build.delivery_record(RECIPIENT, Delivered("2.0.0", "smtp;250 2.0.0 OK"), ATTEMPT, NOW)
    lines, count = Layout(Settings()).lines([record])
    assert count == 1
    assert lines.decode() == (
        "d,2024-03-05 10:15:02+0000,2024-03-05 10:15:00+0000,news@example.com,u01@example.net,,"
        "relayed,2.0.0 (success),smtp;250 2.0.0 OK,mx1.example.net (192.0.2.25),,smtp,"
        "feeder.example.com (198.51.100.7),smtp,203.0.113.10,192.0.2.25,"
        '"PIPELINING,8BITMIME",41159,vmta10,spring24,,example.net/vmta10,pool-a\r\n'
    )


def test_mail_that_came_from_no_client_has_no_empty_address():
    envelope = replace(ENVELOPE, source_type="local", source_helo="mta.example", source_ip="")
    recipient = replace(RECIPIENT, envelope=envelope)
    record = build.delivery_record(recipient, Delivered("2.0.0", "smtp;250 OK"), ATTEMPT, NOW)
    assert b",local,mta.example,smtp," in Layout(Settings()).lines([record])[0]


def test_a_bounce_and_a_deferral_are_named():
    layout = Layout(
        Settings(
            records=("b", "t"),
            record_fields=(
                ("b", ("dsnAction", "dsnStatus", "bounceCat")),
                ("t", ("dsnAction", "dsnStatus")),
            ),
        )
    )
    bounced = build.bounce_record(
        RECIPIENT,
        Bounced("5.1.2", "", "bad destination system: no such domain"),
        Attempt(),
        NOW,
        category="bad-domain",
    )
    deferred = build.transient_record(
        RECIPIENT, Deferred("4.2.2", "smtp;452"), ATTEMPT, NOW, category="quota-issues"
    )
    assert layout.lines([bounced, deferred])[0].decode().splitlines() == [
        "b,failed,5.1.2 (bad destination system: no such domain),bad-domain",
        "t,delayed,4.2.2 (mailbox full),",
    ]


def test_headers_user_string_and_epoch_times():
    settings = Settings(
        records=("d",),
        record_fields=(
            ("d", ("timeLogged", "header_Subject", "userString", "totalSecondsQueued")),
        ),
        iso_times=False,
        user_string="node 1",
    )
    record = build.delivery_record(RECIPIENT, Delivered("2.0.0", ""), ATTEMPT, NOW)
    lines, _ = Layout(settings).lines([record])
    assert lines == b'd,1709633702,"Spring, ""at last""",node 1,2\r\n'


def test_a_header_mapped_to_a_field_fills_it():
    settings = Settings(
        records=("d",),
        record_fields=(("d", ("jobId",)),),
        map_header_to_field=(("d", "header_Missing", "jobId"), ("d", "header_Subject", "jobId")),
    )
    record = build.delivery_record(RECIPIENT, Delivered("2.0.0", ""), ATTEMPT, NOW)
    assert Layout(settings).lines([record])[0] == b'd,"Spring, ""at last"""\r\n'


@pytest.mark.parametrize(
    ("mail_from", "orig"), [("news@b.example", "news-u01=example.net@b.example"), ("", "")]
)
def test_with_verp_orig_is_the_sender_that_it_leaves_with(mail_from, orig):
    recipient = replace(RECIPIENT, envelope=replace(ENVELOPE, is_verp=True, mail_from=mail_from))
    assert build.receipt_record(recipient, NOW).values["orig"] == orig
    record = build.delivery_record(recipient, Delivered("2.0.0", ""), ATTEMPT, NOW)
    assert record.values["orig"] == orig


def test_records_a_file_does_not_want_are_left_out():
    record = build.receipt_record(RECIPIENT, NOW)
    assert Layout(Settings()).lines([record]) == (b"", 0)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("d", "d"),
        ("deliveries", "d"),
        ("Bounces", "b"),
        ("connections", "c"),
        ("receipt", "r"),
        ("transient-queue", "tq"),
        ("received", "r"),
    ],
)
def test_kinds_have_short_long_and_customary_names(name, short):
    assert kind_of(name).short == short


def test_an_unknown_kind_is_none():
    assert kind_of("nonsense") is None
