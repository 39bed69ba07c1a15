"""Rows go into the tables many to a statement, with few statements."""

from contextlib import closing

from mta.spool import schema
from mta.spool.tables import OR_FAIL, ROWS_MAX, Tables


def test_any_number_of_rows_goes_in_with_few_statements(tmp_path):
    with closing(schema.connect(str(tmp_path / "spool.db"))) as connection:
        tables = Tables(connection)
        statements = []
        connection.set_trace_callback(statements.append)
        wanted = 0
        for count in range(2 * ROWS_MAX + 4):
            tables.add_messages(OR_FAIL, [(wanted + i, "{}", b"") for i in range(count)])
            wanted += count
        connection.set_trace_callback(None)
        found = [number for (number,) in connection.execute("SELECT id FROM message ORDER BY id")]
    assert found == list(range(wanted))
    # Each stays prepared, and keeps its memory.
    assert {text.count("),(") + 1 for text in statements} == {1, 2, 4, 8, 16, 32}
