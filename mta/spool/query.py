"""Which queued recipients an operator means, and the SQL that finds them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mta.model.message import Recipient
from mta.model.queue_key import QueueKey
from mta.spool import schema
from mta.spool.gathering import GATHERING
from mta.spool.operations import QueueState


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientQuery:
    """All given conditions must hold. Texts may hold `*` and `?`; case does not count.

    Empty is any; `mail_from="<>"` is the null sender. `queued_before` is epoch seconds.
    """

    domain: str = ""
    vmta: str = ""
    mail_from: str = ""
    address: str = ""
    job_id: str = ""
    env_id: str = ""
    queued_before: float | None = None
    priority_other_than: int | None = None
    is_staged: bool | None = None
    """Whether it is on its way to the shard that owns its queue."""


def fetched(
    connection: sqlite3.Connection, statement: str, values: Sequence[object]
) -> list[tuple[Any, ...]]:
    """The rows of a SELECT, also where damaged octets are no UTF-8: a checksum will tell."""
    try:
        return connection.execute(statement, values).fetchall()
    except sqlite3.OperationalError:
        usual = connection.text_factory
        connection.text_factory = lambda octets: octets.decode("utf-8", "surrogateescape")
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.text_factory = usual


def find_rows(connection: sqlite3.Connection, query: RecipientQuery, limit: int) -> list[Recipient]:
    """Up to limit recipients that match, by queue, priority and due.

    That is the order of an index, which is walked only until there are enough. The tables are
    joined in the order written: to look at a message costs most, as its content lies with it.
    """
    conditions = ["recipient.queue IS NOT (SELECT id FROM queue WHERE domain = ? AND vmta = ?)"]
    values: list[str | float] = [*GATHERING]  # Nobody was told that these are taken.

    def matches(column: str, pattern: str, within: str = "{}") -> None:
        if pattern and pattern != "*":
            conditions.append(within.format(f"lower({column}) GLOB ?"))
            # GLOB knows one thing more than operators do: character classes.
            values.append(pattern.lower().replace("[", "[[]"))

    of_queues = "recipient.queue IN (SELECT id FROM queue WHERE {})"
    matches("domain", query.domain, of_queues)
    matches("vmta", query.vmta, of_queues)
    matches("address", query.address)
    if query.mail_from == "<>":
        conditions.append("json_extract(envelope, '$.mail_from') = ''")
    else:
        matches("json_extract(envelope, '$.mail_from')", query.mail_from)
    matches("COALESCE(json_extract(envelope, '$.job_id'), '')", query.job_id)
    matches("COALESCE(json_extract(envelope, '$.env_id'), '')", query.env_id)
    if query.queued_before is not None:
        conditions.append("json_extract(envelope, '$.time_queued') <= ?")
        values.append(query.queued_before)
    if query.priority_other_than is not None:
        conditions.append("priority != ?")
        values.append(query.priority_other_than)
    if query.is_staged is not None:
        conditions.append("(recipient.id IN (SELECT recipient FROM staged)) = ?")
        values.append(query.is_staged)
    rows = fetched(
        connection,
        f"SELECT {schema.RECIPIENT_COLUMNS} FROM recipient INDEXED BY recipient_due"  # noqa: S608 - values are bound
        " CROSS JOIN queue ON queue.id = recipient.queue"
        " CROSS JOIN message ON message.id = recipient.id >> 16"
        f" WHERE {' AND '.join(conditions)}"
        " ORDER BY recipient.queue, priority, due, recipient.id LIMIT ?",
        (*values, limit),
    )
    return schema.recipients_of(rows).recipients


def queue_states(connection: sqlite3.Connection) -> list[QueueState]:
    """Every queue that has recipients, or of which something is remembered."""
    rows = connection.execute(
        "SELECT domain, vmta, COALESCE(waiting, 0), COALESCE(octets, 0), paused,"
        " retry_position FROM queue LEFT JOIN (SELECT queue, COUNT(*) AS waiting,"
        " SUM(size) AS octets FROM recipient INDEXED BY recipient_due GROUP BY queue)"
        " ON queue = queue.id WHERE waiting OR paused OR retry_position"
    )
    return [
        QueueState(QueueKey(domain, vmta), waiting, octets, bool(paused), position)
        for domain, vmta, waiting, octets, paused, position in rows
    ]


def priorities_of(connection: sqlite3.Connection, key: QueueKey) -> list[int]:
    """Which priorities the recipients of a queue have, the highest first."""
    # One step down the index for each, not a walk over it.
    rows = connection.execute(
        "WITH RECURSIVE found (queue, priority) AS ("
        " SELECT q.id, (SELECT MAX(priority) FROM recipient WHERE queue = q.id)"
        "  FROM queue AS q WHERE domain = ? AND vmta = ?"
        " UNION ALL SELECT queue, (SELECT MAX(r.priority) FROM recipient AS r"
        "  WHERE r.queue = found.queue AND r.priority < found.priority)"
        "  FROM found WHERE priority IS NOT NULL)"
        " SELECT priority FROM found WHERE priority IS NOT NULL",
        key,
    )
    return [priority for (priority,) in rows]
