"""To ask a spool for a few recipients never sorts, or reads the content of, all it holds."""

import pytest

from mta.model.queue_key import QueueKey
from mta.spool import moves, schema
from mta.spool.query import RecipientQuery, find_rows

QUERIES = [
    RecipientQuery(),
    RecipientQuery(domain="example.net", vmta="vmta1"),
    RecipientQuery(domain="*.example.net", address="r@*", is_staged=False),
    RecipientQuery(mail_from="<>", job_id="news-*", queued_before=1.0),
]


def plan(query):
    connection = schema.connect(":memory:")
    asked = []
    connection.set_trace_callback(asked.append)
    find_rows(connection, query, 3)
    connection.set_trace_callback(None)
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")]
    connection.close()
    return steps


@pytest.mark.parametrize("query", QUERIES)
def test_the_order_of_a_list_is_that_of_an_index(query):
    assert not [step for step in plan(query) if "TEMP B-TREE" in step]


@pytest.mark.parametrize("query", QUERIES)
def test_recipients_are_looked_at_before_their_messages(query):
    tables = [step.split()[1] for step in plan(query) if " recipient" in step or " message" in step]
    assert (tables[0], tables[-1]) == ("recipient", "message")


def test_what_moves_is_looked_up_however_much_waits_where_it_was():
    connection = schema.connect(":memory:")
    asked = []
    connection.set_trace_callback(asked.append)
    moves.move(connection, [1, 2], QueueKey("a.example", "v"), QueueKey("b.example", "v"), "")
    connection.set_trace_callback(None)
    (update,) = [text for text in asked if text.startswith("UPDATE recipient")]
    steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {update}")]
    connection.close()
    assert "SEARCH recipient USING INTEGER PRIMARY KEY (rowid=?)" in steps
