"""Whatever a message or a record holds, its text in the spool is the JSON of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mta.model.message import Envelope
from mta.model.record import Record
from mta.spool import schema

TEXT = st.text(max_size=40)
VALUE = st.one_of(TEXT, st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(st.sampled_from("drb"), st.dictionaries(TEXT, VALUE)), max_size=3))
def test_records_are_json_and_come_back(found):
    records = [Record(*one) for one in found]
    text = schema.records_text(records)
    assert text == json.dumps(records, ensure_ascii=False, separators=(",", ":"))
    assert schema.records_of(text) == records


@given(TEXT, VALUE.filter(lambda value: isinstance(value, float)), st.dictionaries(TEXT, TEXT))
def test_an_envelope_comes_back_and_keeps_no_defaults(mail_from, queued, headers):
    envelope = Envelope(
        message_id=1, mail_from=mail_from, time_queued=queued, size=2, head_size=3,
        remove_fields=("a",), acct_headers=headers,
    )  # fmt: skip
    text = schema.stored_text(envelope, b"content")
    assert schema.envelope_of(text) == envelope
    assert ("acct_headers" in json.loads(text)) == bool(headers)
    assert "is_verp" not in json.loads(text)
