"""What happened, as a record: the values of every field that may be asked for."""

from collections.abc import Mapping

from mta.address import utf8_domain
from mta.bounces.status_texts import status_text
from mta.model.attempt import Attempt
from mta.model.message import Envelope, Recipient
from mta.model.outcome import Bounced, Deferred, Delivered
from mta.model.queue_key import QueueKey
from mta.model.record import Record

Values = dict[str, str | float | int]


def delivery_record(
    recipient: Recipient, outcome: Delivered, attempt: Attempt, now: float, *, category: str = ""
) -> Record:
    """A recipient was delivered."""
    values = _outcome(recipient, outcome.status, outcome.diagnostic, attempt, now, category)
    values["dsnAction"] = "relayed" if attempt.delivery_type == "smtp" else "delivered"
    values["dlvSize"] = recipient.envelope.size
    return Record("d", values)


def bounce_record(
    recipient: Recipient, outcome: Bounced, attempt: Attempt, now: float, *, category: str
) -> Record:
    """A recipient was given up."""
    values = _outcome(
        recipient, outcome.status, outcome.diagnostic, attempt, now, category, outcome.status_text
    )
    values["dsnAction"] = "failed"
    return Record("b", values)


def transient_record(
    recipient: Recipient, outcome: Deferred, attempt: Attempt, now: float, *, category: str
) -> Record:
    """A try for a recipient failed for now."""
    values = _outcome(recipient, outcome.status, outcome.diagnostic, attempt, now, category)
    values["dsnAction"] = "delayed"
    return Record("t", values)


def transient_queue_record(
    key: QueueKey, outcome: Deferred, attempt: Attempt, now: float
) -> Record:
    """A try of a whole queue failed."""
    return Record(
        "tq",
        {
            "timeLogged": now,
            "dsnStatus": printed_status(outcome.status, ""),
            "dsnDiag": outcome.diagnostic,
            "dsnMta": attempt.dsn_mta,
            "dlvType": attempt.delivery_type,
            "dlvSourceIp": attempt.source_ip or "0.0.0.0",  # noqa: S104 - as parsers know it
            "dlvDestinationIp": attempt.remote_ip,
            "vmta": key.vmta,
            "queue": str(key),
        },
    )


def receipt_record(recipient: Recipient, now: float) -> Record:
    """A recipient was accepted."""
    envelope = recipient.envelope
    values: Values = {
        "timeLogged": now,
        "orig": recipient.return_path,
        "rcpt": recipient.address,
        "srcType": envelope.source_type,
        "srcMta": _source_mta(envelope),
        "rcvSourceIp": envelope.source_ip,
        "rcvDestinationIp": envelope.listener_ip,
        # Guide: a message given to a pool has the pool's name here; its d records name the member.
        "vmta": recipient.pool or recipient.queue.vmta,
    }
    _add_what_is_there(values, recipient)
    return Record("r", values)


def connection_record(
    key: QueueKey,
    attempt: Attempt,
    *,
    connected_at: float,
    now: float,
    messages: int,
    recipients_delivered: int,
    recipients_failed: int,
    octets: int,
    reason: str,
) -> Record:
    """An outbound connection ended."""
    return Record(
        "c",
        {
            "timeLogged": now,
            "timeConnected": connected_at,
            "queue": str(key),
            "vmta": key.vmta,
            "dlvType": attempt.delivery_type,
            "dlvSourceIp": attempt.source_ip,
            "dlvDestinationIp": attempt.remote_ip,
            "dsnMta": attempt.dsn_mta,
            "dlvTlsProtocol": attempt.tls_protocol,
            "dlvTlsCipher": attempt.tls_cipher,
            "msgsDelivered": messages,
            "rcptsDelivered": recipients_delivered,
            "rcptsFailed": recipients_failed,
            "bytesOut": octets,
            "closeReason": reason,
        },
    )


def _outcome(
    recipient: Recipient,
    status: str,
    diagnostic: str,
    attempt: Attempt,
    now: float,
    category: str,
    words: str = "",
) -> Values:
    envelope = recipient.envelope
    queue = recipient.queue
    values: Values = {
        "timeLogged": now,
        "timeQueued": envelope.time_queued,
        "orig": recipient.return_path,
        "rcpt": recipient.address,
        "dsnStatus": printed_status(status, words),
        "dsnDiag": diagnostic,
        "dsnMta": attempt.dsn_mta,
        "srcType": envelope.source_type,
        "srcMta": _source_mta(envelope),
        "dlvType": attempt.delivery_type,
        "dlvSourceIp": attempt.source_ip,
        "dlvDestinationIp": attempt.remote_ip,
        "dlvEsmtpAvailable": attempt.esmtp,
        "vmta": queue.vmta,
        "queue": f"{utf8_domain(queue.domain)}/{queue.vmta}",
    }
    if category:
        values["bounceCat"] = category
    if attempt.tls_protocol:
        values["dlvTlsProtocol"] = attempt.tls_protocol
        values["dlvTlsCipher"] = attempt.tls_cipher
    _add_what_is_there(values, recipient)
    return values


def _add_what_is_there(values: Values, recipient: Recipient) -> None:
    """Fields of a message that most have not: one that is not there is an empty cell."""
    envelope = recipient.envelope
    if recipient.orcpt:
        values["orcpt"] = recipient.orcpt
    if envelope.job_id:
        values["jobId"] = envelope.job_id
    if envelope.env_id:
        values["envId"] = envelope.env_id
    if recipient.pool:
        values["vmtaPool"] = recipient.pool
    if envelope.smtp_user:
        values["rcvSmtpUser"] = envelope.smtp_user
    if envelope.acct_headers:
        _add_headers(values, envelope.acct_headers)


def printed_status(status: str, words: str = "") -> str:
    """A status with its text, or with other words."""
    return f"{status} ({words or status_text(status)})"


def _source_mta(envelope: Envelope) -> str:
    if not envelope.source_ip:
        return envelope.source_helo  # It came from no client: a report, a copy, an alias.
    return f"{envelope.source_helo} ({envelope.source_ip})"


def _add_headers(values: Values, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        values[f"header_{name}"] = value
