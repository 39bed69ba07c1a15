"""The arguments and options of the admin commands, with how each is read."""

import ipaddress
from typing import Final, cast, get_args

from mta import ids, units
from mta.admin.answers import Mode
from mta.admin.command import Parameter
from mta.admin.operations import Sort
from mta.admin.pattern import QueuePattern
from mta.model.queue_key import QueueKey
from mta.queues.disabling import SYSTEM

LISTED_MAX: Final = 10_000
"""The most rows one command returns: an answer is held in memory whole."""


def parse_text(text: str) -> str:
    """Text as it is, but never empty and never with control characters."""
    if not text or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError("expected some text without control characters")
    return text


def parse_yes_no(text: str) -> bool:
    """`yes` or `no`, and what else stands for them."""
    match text.lower():
        case "yes" | "true" | "1":
            return True
        case "no" | "false" | "0":
            return False
        case _:
            raise ValueError("expected yes or no")


def parse_count(text: str) -> int:
    """A whole number from 1 to `LISTED_MAX`."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LISTED_MAX):
        raise ValueError(f"expected a number from 1 to {LISTED_MAX}")
    return int(text)


def parse_priority(text: str) -> int:
    """A whole number from 0 to 100."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= 100):
        raise ValueError("expected a number from 0 to 100")
    return int(text)


def parse_sort(text: str) -> Sort:
    """`name`, `rcpt` or `size`."""
    if text not in get_args(Sort):
        raise ValueError("expected name, rcpt or size")
    return cast("Sort", text)


def parse_mode(text: str) -> Mode:
    """`normal` or `backoff`."""
    if text not in get_args(Mode):
        raise ValueError("expected normal or backoff")
    return cast("Mode", text)


def parse_ip(text: str) -> str:
    """An IP address, as it prints."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address such as 192.0.2.1 or 2001:db8::1") from None


def parse_source(text: str) -> str:
    """A source address, as it prints; empty for the one that the system chooses."""
    return "" if text.lower() == SYSTEM else parse_ip(text)


def parse_listing(text: str) -> QueuePattern:
    """A queue pattern for a list: a bare domain is all its queues."""
    return QueuePattern.parse(text, default_vmta="*")


def parse_queue(text: str) -> QueueKey:
    """The name of one queue; without a VirtualMTA it is the one of `{default}`."""
    pattern = QueuePattern.parse(text)
    if not pattern.is_exact:
        raise ValueError("expected one queue such as gmail.com/vmta1, without wildcards")
    return pattern.key


def parse_vmta(text: str) -> str:
    """The name of one VirtualMTA."""
    if "/" in text or "*" in text or "?" in text:
        raise ValueError("expected the name of one VirtualMTA, without wildcards")
    return parse_text(text)


def parse_queue_or_message(text: str) -> QueueKey | int:
    """A queue, or the number of a message as logs, Received fields and `list` show it."""
    if "/" not in text and "." not in text:
        try:
            return ids.parse_printed(text)
        except ValueError:
            pass
    return parse_queue(text)


_ALL: Final = QueuePattern("*", "*")

LISTING: Final = Parameter(
    name="queues",
    parse=parse_listing,
    default=_ALL,
    metavar="QUEUES",
    is_option=False,
    help="queues, with wildcards: gmail.com/*, */vmta1; default */*",
)
QUEUES: Final = Parameter(
    name="queues",
    parse=QueuePattern.parse,
    default=_ALL,
    metavar="QUEUES",
    is_option=False,
    is_required=True,
    help="a queue, or several with wildcards: gmail.com/*, */*; a bare domain is its "
    "queue of {default}",
)
VMTA_NAME: Final = Parameter(
    name="vmta",
    parse=parse_vmta,
    default="",
    metavar="VMTA",
    is_option=False,
    is_required=True,
    help="the name of a VirtualMTA",
)
QUEUE: Final = Parameter(
    name="queue",
    parse=parse_queue,
    default=QueueKey("", ""),
    metavar="QUEUE",
    is_option=False,
    is_required=True,
    help="one queue: gmail.com/vmta1; a bare domain is its queue of {default}",
)
SUBJECT: Final[Parameter[QueueKey | int]] = Parameter(
    name="subject",
    parse=parse_queue_or_message,
    default=0,
    metavar="QUEUE-OR-MESSAGE",
    is_option=False,
    is_required=True,
    help="one queue (gmail.com/vmta1), or a message number as `list` shows it",
)
DIRECTIVE: Final = Parameter(
    name="directive",
    parse=parse_text,
    default="",
    metavar="DIRECTIVE",
    is_option=False,
    help="only this directive of the queue, such as max-msg-rate; * is any run of characters",
)
IN_FILE: Final = Parameter(
    name="file",
    parse=parse_text,
    default="",
    metavar="FILE",
    help="what this configuration file says of a queue; no daemon is asked",
)
DOMAIN: Final = Parameter(
    name="domain",
    parse=parse_text,
    default="",
    metavar="DOMAIN",
    is_option=False,
    help="a domain, with wildcards",
)
DNS_DOMAIN: Final = Parameter(
    name="domain",
    parse=parse_text,
    default="",
    metavar="DOMAIN",
    is_option=False,
    is_required=True,
    help="a domain, or * for all",
)
SOURCE: Final = Parameter(
    name="ip",
    parse=parse_source,
    default="",
    metavar="IP",
    is_option=False,
    is_required=True,
    help="a source address, as `explain QUEUE` shows it; `system` for one chosen by the system",
)
REENABLE_AFTER: Final[Parameter[int | None]] = Parameter(
    name="reenable-after",
    parse=units.parse_interval,
    default=None,
    metavar="TIME",
    help="use it again after this long; default when an operator enables it, or at the next start",
)
ACCT_FILE: Final = Parameter(
    name="file",
    parse=parse_text,
    default="",
    metavar="FILE",
    is_option=False,
    help="the accounting file, as the configuration names it; default all",
)

SORT_NAME: Final[Parameter[Sort]] = Parameter(
    name="sort",
    parse=parse_sort,
    default="name",
    metavar="name|rcpt|size",
    help="the order; default name",
)
SORT_RCPT: Final[Parameter[Sort]] = Parameter(
    name="sort",
    parse=parse_sort,
    default="rcpt",
    metavar="name|rcpt|size",
    help="the order; default rcpt",
)
MAX_ITEMS: Final = Parameter(
    name="maxitems", parse=parse_count, default=20, metavar="N", help="most rows; default 20"
)
ALL_ITEMS: Final = Parameter(
    name="maxitems",
    parse=parse_count,
    default=LISTED_MAX,
    metavar="N",
    help="most rows; default all",
)
LIST_MAX_ITEMS: Final = Parameter(
    name="maxitems", parse=parse_count, default=100, metavar="N", help="most rows; default 100"
)
CONNECTED: Final[Parameter[bool | None]] = Parameter(
    name="connected",
    parse=parse_yes_no,
    default=None,
    metavar="yes|no",
    flag="yes",
    help="only with open connections (no: without)",
)
PAUSED: Final[Parameter[bool | None]] = Parameter(
    name="paused",
    parse=parse_yes_no,
    default=None,
    metavar="yes|no",
    flag="yes",
    help="only paused queues (no: only others)",
)
MODE: Final[Parameter[Mode | None]] = Parameter(
    name="mode",
    parse=parse_mode,
    default=None,
    metavar="normal|backoff",
    help="only queues in this mode",
)
NEW_MODE: Final[Parameter[Mode]] = Parameter(
    name="mode",
    parse=parse_mode,
    default="normal",
    metavar="normal|backoff",
    is_required=True,
    help="the mode to set",
)
ERRORS: Final = Parameter(
    name="errors",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show the recorded events of each, and what it waits for",
)
MODE_EVENTS: Final = Parameter(
    name="mode-events",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show when the mode of each changed, and why",
)
NO_RCPT_EVENTS: Final = Parameter(
    name="no-rcpt-events",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show no events of recipients, which `track-recipient-events` has recorded",
)
VMTA: Final = Parameter(
    name="vmta", parse=parse_text, default="", metavar="VMTA", help="only through this VirtualMTA"
)

PRIORITY: Final = Parameter(
    name="priority",
    parse=parse_priority,
    default=50,
    metavar="PRIORITY",
    is_option=False,
    is_required=True,
    help="0 to 100; new mail has 50 unless it says otherwise",
)

FILTER_QUEUE: Final[Parameter[QueuePattern | None]] = Parameter(
    name="queue",
    parse=QueuePattern.parse,
    default=None,
    metavar="QUEUES",
    help="in these queues; a bare domain is its queue of {default}",
)
ORIG: Final = Parameter(
    name="orig",
    parse=parse_text,
    default="",
    metavar="ADDRESS",
    help="from this envelope sender, with wildcards; <> is the null sender",
)
RCPT: Final = Parameter(
    name="rcpt", parse=parse_text, default="", metavar="ADDRESS", help="to it, with wildcards"
)
JOB_ID: Final = Parameter(
    name="jobId", parse=parse_text, default="", metavar="ID", help="of this job, with wildcards"
)
ENV_ID: Final = Parameter(
    name="envId", parse=parse_text, default="", metavar="ID", help="of this ENVID, with wildcards"
)
OLDER_THAN: Final[Parameter[int | None]] = Parameter(
    name="older-than",
    parse=units.parse_interval,
    default=None,
    metavar="TIME",
    help="queued at least this long ago: 24h, 2h15m",
)
DSN: Final = Parameter(
    name="dsn",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="send bounce messages for what is deleted",
)
ACCOUNTING: Final = Parameter(
    name="accounting",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="write accounting records for what is deleted, which is done without it, too",
)
NO_ACCOUNTING: Final = Parameter(
    name="no-accounting",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="write no accounting records for what is deleted",
)
RETRY_RECIPIENTS: Final = Parameter(
    name="retry-recipients",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="try their deferred recipients now too",
)
LIST_PAUSE: Final = Parameter(
    name="pause",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="list recipients in a transaction, too, which is done without it and pauses nothing",
)
LIST_PRIORITY: Final = Parameter(
    name="priority",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show the priority of each",
)
LIST_SCHEDULE: Final = Parameter(
    name="schedule",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show when alone each may be delivered, as X-Schedule said; any for at any time",
)

LOG_DATA: Final = Parameter(
    name="log-data",
    also="logdata",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show every octet, too; of what is said to authenticate none",
)
LOG_RESOLUTION: Final = Parameter(
    name="log-resolution",
    also="logresolution",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="show the hosts that DNS names, too",
)
TO_LOG: Final = Parameter(
    name="to-log",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="write it to the log, too",
)
TRACE_RETRY_RECIPIENTS: Final = Parameter(
    name="retry-recipients",
    parse=parse_yes_no,
    default=False,
    flag="yes",
    takes_value=False,
    help="once it watches, try the queues and their deferred recipients now, as "
    "`schedule --retry-recipients` does",
)
SOURCE_IP: Final = Parameter(
    name="source-ip",
    parse=parse_ip,
    default="",
    metavar="IP",
    help="only connections from this address; it does not choose the address",
)
SECONDS: Final[Parameter[int | None]] = Parameter(
    name="seconds",
    parse=units.parse_interval,
    default=None,
    metavar="TIME",
    help="end after this long; default when interrupted",
)

FILTER: Final = (FILTER_QUEUE, ORIG, RCPT, JOB_ID, ENV_ID, OLDER_THAN)
"""The parameters that make a `RecipientFilter`."""
