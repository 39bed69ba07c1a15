"""Which jobs what waits belongs to."""

import sqlite3
from typing import Final, NamedTuple

from mta.spool.gathering import GATHERING

ORDERS: Final = {
    "name": "job",
    "rcpt": "recipients DESC, job",
    "size": "octets DESC, job",
}


class JobSum(NamedTuple):
    """One job, with what waits of it; octets count for each recipient."""

    job_id: str
    recipients: int
    octets: int


def job_sums(connection: sqlite3.Connection, sort: str, limit: int) -> tuple[list[JobSum], int]:
    """Up to limit jobs in one of the `ORDERS`, and how many there are.

    Recipients are counted by an index first, so that each message is looked at once. What is
    damaged is of none.
    """
    rows = connection.execute(
        "SELECT CASE WHEN json_valid(envelope) THEN json_extract(envelope, '$.job_id') END"  # noqa: S608 - a constant
        " AS job, SUM(waiting) AS recipients,"
        " SUM(size) AS octets, COUNT(*) OVER ()"
        " FROM (SELECT id >> 16 AS message_id, COUNT(*) AS waiting, SUM(size) AS size"
        "  FROM recipient INDEXED BY recipient_due"
        "  WHERE queue IS NOT (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"
        "  GROUP BY message_id)"
        " CROSS JOIN message ON message.id = message_id"
        f" WHERE job != '' GROUP BY job ORDER BY {ORDERS[sort]} LIMIT ?",
        (*GATHERING, limit),
    ).fetchall()
    return [JobSum(*row[:3]) for row in rows], rows[0][3] if rows else 0
