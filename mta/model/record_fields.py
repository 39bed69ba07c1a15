"""Every field of every kind of record, declared once. Guide: accounting files."""

from typing import Final, NamedTuple


class Field(NamedTuple):
    """A column: what is in it, and whether a file has it without asking."""

    name: str
    doc: str
    is_default: bool = True
    is_time: bool = False


class Kind(NamedTuple):
    """A kind of record: one row each, with these fields in this order by default."""

    short: str
    long: str
    doc: str
    fields: tuple[Field, ...]
    aliases: tuple[str, ...] = ()


_TYPE = Field("type", "the kind of the record")
_LOGGED = Field("timeLogged", "when it happened", is_time=True)
_QUEUED = Field("timeQueued", "when the message was accepted", is_time=True)
_ORIG = Field("orig", "the envelope sender")
_RCPT = Field("rcpt", "the recipient, as it was submitted")
_ORCPT = Field("orcpt", "ORCPT as given (RFC 3461)")
_ACTION = Field("dsnAction", "relayed, delivered, failed or delayed")
_STATUS = Field("dsnStatus", "the enhanced status with its words")
_DIAG = Field("dsnDiag", "what the remote server said, or nothing")
_MTA = Field("dsnMta", "the remote host and its address")
_CATEGORY = Field("bounceCat", "the bounce category")
_SRC_TYPE = Field("srcType", "how the message came: smtp")
_SRC_MTA = Field("srcMta", "EHLO name and address of the client")
_DLV_TYPE = Field("dlvType", "how it is delivered: smtp, discard")
_DLV_SOURCE = Field("dlvSourceIp", "the local address of the connection")
_DLV_DESTINATION = Field("dlvDestinationIp", "the remote address")
_ESMTP = Field("dlvEsmtpAvailable", "what the remote server offered")
_SIZE = Field("dlvSize", "octets delivered")
_VMTA = Field("vmta", "the VirtualMTA")
_JOB = Field("jobId", "the job")
_ENV = Field("envId", "ENVID")
_QUEUE = Field("queue", "the queue, domain/vmta")
_POOL = Field("vmtaPool", "the pool the VirtualMTA was chosen from")
_USER = Field("userString", "`user-string` of the accounting file", is_default=False)
_SECONDS = Field("totalSecondsQueued", "seconds from acceptance", is_default=False)
_TLS_PROTOCOL = Field("dlvTlsProtocol", "TLS version of the connection", is_default=False)
_TLS_CIPHER = Field("dlvTlsCipher", "TLS cipher of the connection", is_default=False)
_SMTP_USER = Field("rcvSmtpUser", "who submitted it, if authenticated", is_default=False)
_RCV_SOURCE = Field("rcvSourceIp", "the client's address")
_RCV_DESTINATION = Field("rcvDestinationIp", "the address the client connected to")

_OUTCOME: Final = (
    _TYPE, _LOGGED, _QUEUED, _ORIG, _RCPT, _ORCPT, _ACTION, _STATUS, _DIAG, _MTA, _CATEGORY,
    _SRC_TYPE, _SRC_MTA, _DLV_TYPE, _DLV_SOURCE, _DLV_DESTINATION, _ESMTP, _SIZE, _VMTA, _JOB,
    _ENV, _QUEUE, _POOL, _SECONDS, _USER, _TLS_PROTOCOL, _TLS_CIPHER, _SMTP_USER,
)  # fmt: skip

KINDS: Final[dict[str, Kind]] = {
    kind.short: kind
    for kind in (
        Kind(
            "d", "delivery", "a recipient was delivered", _OUTCOME,
            ("deliveries", "delivered"),
        ),
        Kind(
            "b", "bounce", "a recipient was given up", _OUTCOME,
            ("bounces", "bounced"),
        ),
        Kind(
            "t", "transient", "a try for a recipient failed for now", _OUTCOME,
            ("transients",),
        ),
        Kind(
            "tq", "transient-queue", "a try of a whole queue failed",
            (
                _TYPE, _LOGGED, _STATUS, _DIAG, _MTA, _DLV_TYPE, _DLV_SOURCE, _DLV_DESTINATION,
                _VMTA, _QUEUE, _USER,
            ),
            ("transient queue", "transient-queues"),
        ),
        Kind(
            "r", "receipt", "a recipient was accepted",
            (
                _TYPE, _LOGGED, _ORIG, _RCPT, _ORCPT, _SRC_TYPE, _SRC_MTA, _RCV_SOURCE,
                _RCV_DESTINATION, _VMTA, _POOL, _JOB, _ENV, _USER, _SMTP_USER,
            ),
            ("received", "receipts"),
        ),
        Kind(
            "c", "connection", "an outbound connection ended",
            (
                _TYPE, _LOGGED,
                Field("timeConnected", "when the connection was begun", is_time=True),
                _QUEUE, _VMTA, _POOL, _DLV_TYPE, _DLV_SOURCE, _DLV_DESTINATION, _MTA,
                _TLS_PROTOCOL._replace(is_default=True), _TLS_CIPHER._replace(is_default=True),
                Field("msgsDelivered", "transactions that delivered to at least one recipient"),
                Field("rcptsDelivered", "recipients delivered"),
                Field("rcptsFailed", "recipients refused or deferred"),
                Field("bytesOut", "octets written to the connection"),
                Field("closeReason", "why it ended; the directive where one decided"),
                _USER,
            ),
            ("connections",),
        ),
    )
}  # fmt: skip
"""By short name. Feedback and returned bounces (`f`, `rb`, `rs`) are not written yet."""


def kind_of(name: str) -> Kind | None:
    """The kind of a short, long or other customary name; None if there is none."""
    lower = name.lower()
    for kind in KINDS.values():
        if lower in (kind.short, kind.long, *kind.aliases):
            return kind
    return None
