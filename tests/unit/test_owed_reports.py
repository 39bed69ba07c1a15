"""Each notification is about one message and one outcome, and goes to one sender."""

import sqlite3
from pathlib import Path

import pytest

from mta.bounces.dsn import Action, Told
from mta.model.message import Envelope, Recipient
from mta.model.queue_key import QueueKey
from mta.spool.reports import Owed, OwedReports


def put(told):
    """What is owed then: of whom, in each notification."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE message (id, content)")
    connection.execute("CREATE TABLE report (id INTEGER PRIMARY KEY, body, content)")

    def change(work, about=None):
        work(connection)

    OwedReports(None, None, change, Path("nowhere")).put(told)
    rows = [Owed(*row).told for row in connection.execute("SELECT * FROM report")]
    connection.close()
    return rows


def one(address, action=Action.FAILED, vmta="v", message_id=1, **envelope):
    queue = QueueKey("y.example", vmta)
    required = {"message_id": message_id, "mail_from": "a@b.example", "time_queued": 0.0}
    of = Envelope(**required, size=10, head_size=2, **envelope)
    recipient = Recipient(message_id << 16, of, address, queue, 0.0)
    return Told(recipient=recipient, action=action, status="5.0.0")


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 1),
        ({"action": Action.RELAYED}, 2),
        ({"vmta": "w"}, 2),
        ({"message_id": 2}, 2),
    ],
)
def test_who_had_the_same_outcome_is_told_of_together(values, count):
    """A template for failures is not for the recipients whose message was relayed."""
    told = [one("x@y.example"), one("z@y.example", **values), one("u@y.example")]
    owed = put(told)
    assert len(owed) == count
    assert sorted(len(group) for group in owed) == ([3] if count == 1 else [1, 2])
    assert all(len({told.action for told in group}) == 1 for group in owed)


def test_with_verp_each_recipient_has_a_notification_of_its_own():
    owed = put([one("x@y.example", is_verp=True), one("z@y.example", is_verp=True)])
    assert sorted(group[0].recipient.return_path for group in owed) == [
        "a-x=y.example@b.example",
        "a-z=y.example@b.example",
    ]
