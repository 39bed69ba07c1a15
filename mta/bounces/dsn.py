"""Delivery status notifications: who is told, and the message that tells (RFC 3461, RFC 3464).

The layout is PowerMTA's, as parsers of its bounces know it: the fields and their order, the
words `delivery failed; will not continue trying`, and the `X-PowerMTA-` fields.
"""

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import Header, decode_header, make_header
from email.utils import format_datetime, formataddr, parseaddr
from string import Template
from typing import Final

from mta import address
from mta.bounces.status_texts import with_text
from mta.model.attempt import Attempt
from mta.model.message import Envelope, Recipient
from mta.smtp import header_block
from mta.smtp.plain_text import one_line, wrapped

LINE_OCTETS_MAX: Final = 900
"""Longer field bodies are cut. RFC 5322 §2.1.1 allows 998 octets of a line."""
FULL_OCTETS_MAX: Final = 256 << 10
"""A larger message is not sent back whole: its header block goes instead."""
SUBJECT_CHARACTERS_MAX: Final = 200
"""Of a subject or name that is not ASCII, which takes up to twelve octets for each."""
ENCODED_CHARACTERS_MAX: Final = 2000
"""Of a subject in encoded words that are looked at for what they say."""
BOUNDARY_OCTETS_MAX: Final = 70
"""RFC 2046 §5.1.1."""
_TRANSIENT: Final = re.compile(r"^smtp;4\d\d[ -](4\.\d{1,3}\.\d{1,3})\b")
_RETURNED: Final = {
    (True, False): "message/rfc822",
    (False, False): "text/rfc822-headers",
    (True, True): "message/global",
    (False, True): "message/global-headers",
}
"""What goes back, by whether it is all of the message and its header is UTF-8 (RFC 6533)."""
_BACKSLASH: Final = "\\"
_CRLF: Final = "\r\n"
_TEMPLATE_VARIABLES: Final = (
    "hostname", "originator", "recipient", "subject", "retryAfter", "bounceAfter", "date",
    "timeQueued", "response",
)  # fmt: skip


class Action(enum.Enum):
    """What a notification says of a recipient (RFC 3464 §2.3.3); the word for people beside it."""

    FAILED = ("failed", "delivery failed; will not continue trying")
    DELAYED = ("delayed", "delivery delayed; will continue trying")
    RELAYED = ("relayed", "relayed to a system that sends no notifications")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One recipient, as a notification tells of it."""

    recipient: Recipient
    action: Action
    status: str
    diagnostic: str = ""
    """As in accounting rows, `smtp;550 …`; empty where no server said anything."""
    words: str = ""
    """Of the status, where they are not the usual ones."""
    attempt: Attempt = field(default_factory=Attempt)
    category: str = ""
    retry_until: float | None = None
    """For a delay: when it is given up, epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How the configuration wants notifications."""

    host_name: str
    is_plain: bool = False
    """`dsn-format plain-text`: the fields alone, as text."""
    returns_full: bool = False
    """The default of RET."""
    from_field: str = ""
    from_template: str = ""
    subject_template: str = ""
    body_template: str = ""
    retry_after: str = ""
    bounce_after: str = ""


def wants(recipient: Recipient, action: Action) -> bool:
    """Whether the submitter is to be told that of a recipient.

    Nobody is told of what happened to a notification (RFC 3461 §6.2, RFC 5321 §4.5.5).
    """
    envelope = recipient.envelope
    if not envelope.mail_from or envelope.suppresses_dsn:
        return False
    asked = recipient.notify.split(",") if recipient.notify else ["FAILURE"]
    match action:
        case Action.FAILED:
            return "FAILURE" in asked
        case Action.DELAYED:
            return "DELAY" in asked
        case Action.RELAYED:
            return "SUCCESS" in asked


def status_of_delay(diagnostic: str) -> str:
    """The status of a recipient that waits, from the last reply to it, if there was any."""
    found = _TRANSIENT.search(diagnostic)
    return found[1] if found else "4.0.0"


def compose(told: Sequence[Told], content: bytes, style: Style, *, now: float) -> bytes:
    """The notification about recipients of one message that went through one VirtualMTA.

    `content` is the message, or as much of it as has its header block.
    """
    envelope = told[0].recipient.envelope
    host = style.host_name
    head = content[: envelope.head_size]
    variables = _variables(told, head, style, now)
    failed = told[0].action is Action.FAILED
    sender = style.from_field or f"postmaster@{host}"
    subject = "Delivery report"
    # In a header field encoded words may stand as they came, but not among others.
    shown = variables | {"subject": _decoded(variables["subject"])}
    if failed and style.from_template:
        sender = _filled(style.from_template, shown)
    if failed and style.subject_template:
        subject = _filled(style.subject_template, variables)
        if not subject.isascii():
            subject = _filled(style.subject_template, shown)
    fields = [
        f"Date: {_date(now)}",
        f"From: {_mailbox(sender, host)}",
        f"Subject: {_words(subject)}",
        # In UTF-8 where it is not ASCII: the notification goes with SMTPUTF8 then.
        f"To: {one_line(told[0].recipient.return_path)}",
        "Auto-Submitted: auto-replied",  # RFC 3834 §5
        "MIME-Version: 1.0",
    ]
    status = _status_fields(told, style)
    if style.is_plain:
        fields.append('Content-Type: text/plain; charset="utf-8"')
        return _octets([*fields, "", *status])
    is_filled = failed and style.body_template
    text = _filled(style.body_template, shown).splitlines() if is_filled else []
    return _report(
        fields, wrapped(text or _text(told, host)), status, envelope, content, style, now
    )


def _report(
    fields: list[str],
    text: list[str],
    status: list[str],
    envelope: Envelope,
    content: bytes,
    style: Style,
    now: float,
) -> bytes:
    head = content[: envelope.head_size]
    is_full = envelope.ret == "FULL" or (not envelope.ret and style.returns_full)
    is_full = is_full and len(content) == envelope.size and envelope.size <= FULL_OCTETS_MAX
    is_full = is_full and not envelope.requires_tls  # RFC 8689 §5: as if RET=HDRS was given
    # What was an instruction to us, such as a key to sign with, goes to nobody.
    names = frozenset(name.encode() for name in envelope.remove_fields)
    original = header_block.without(head, names)
    is_global = _is_utf8(original)
    if is_full:
        # What begins without a header block is a body as a whole, as when it is delivered.
        original += content[envelope.head_size :] if envelope.head_size else b"\r\n" + content
    boundary = f"report{int(now):08X}@{style.host_name}"[:BOUNDARY_OCTETS_MAX]
    number = 0
    # A template and what peers said may begin a line, too.
    held = "\r\n".join([*text, *status]).encode() + original
    while boundary.encode() in held:
        number += 1
        boundary = f"report{int(now):08X}.{number}@{style.host_name}"[:BOUNDARY_OCTETS_MAX]
    kind = _RETURNED[is_full, is_global]
    of_text, of_original = _encoding("".join(text).isascii()), _encoding(original.isascii())
    parts = [
        *fields,
        # RFC 2045 §6.4: what holds 8-bit data says so.
        *(of_text or of_original),
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'    boundary="{boundary}"',
        "",
        "",
        f"--{boundary}",
        'Content-Type: text/plain; charset="utf-8"',
        *of_text,
        "",
        *text,
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        *status,
        f"--{boundary}",
        f"Content-Type: {kind}",
        *of_original,
        "",
        "",
    ]
    return _octets(parts)[:-2] + original + f"\r\n--{boundary}--\r\n".encode()


def _text(told: Sequence[Told], host: str) -> list[str]:
    return [
        f"Hello, this is the mail server on {host}.",
        "",
        "This message is about a message that you sent before. Below are the recipients",
        "it is about and what became of each. A report in standard form is attached, and",
        "what you sent, or its header.",
        "",
        *(f"  <{one.recipient.address}>  {one.action.value[1]}" for one in told),
    ]


def _status_fields(told: Sequence[Told], style: Style) -> list[str]:
    """RFC 3464 §2.2 and §2.3: a group for the message, one for each recipient."""
    first = told[0].recipient
    envelope = first.envelope
    came_from = envelope.source_helo
    if envelope.source_ip:
        came_from = f"{came_from} ({envelope.source_ip})".strip()
    lines = [
        *([f"Original-Envelope-Id: {_line(envelope.env_id)}"] if envelope.env_id else []),
        f"Reporting-MTA: dns;{style.host_name}",
        f"X-PowerMTA-VirtualMTA: {_line(first.queue.vmta)}",
        f"Received-From-MTA: dns;{_line(came_from)}",
        f"Arrival-Date: {_date(envelope.time_queued)}",
        "",
    ]
    for one in told:
        attempt = one.attempt
        lines += [
            *(
                [f"Original-Recipient: {_original(one.recipient.orcpt)}"]
                if one.recipient.orcpt
                else []
            ),
            f"Final-Recipient: {_address(one.recipient.address)}",
            f"Action: {one.action.value[0]}",
            f"Status: {with_text(one.status, one.words)}",
            *([f"Remote-MTA: dns;{_line(attempt.dsn_mta)}"] if attempt.dsn_mta else []),
            *([f"Diagnostic-Code: {_line(one.diagnostic)}"] if one.diagnostic else []),
            *([f"Will-Retry-Until: {_date(one.retry_until)}"] if one.retry_until else []),
            *([f"X-PowerMTA-BounceCategory: {_line(one.category)}"] if one.category else []),
            "",
        ]
    return lines


def _variables(told: Sequence[Told], head: bytes, style: Style, now: float) -> dict[str, str]:
    """What a template may name. Guide: dsn-failed-body-template-from."""
    recipient = told[0].recipient
    envelope = recipient.envelope
    values = (
        style.host_name,
        recipient.return_path,
        ", ".join(one.recipient.address for one in told),
        header_block.find(head, frozenset([b"subject"])).get(b"subject", ""),
        style.retry_after,
        style.bounce_after,
        _date(now),
        _date(envelope.time_queued),
        told[0].diagnostic.partition(";")[2] or told[0].diagnostic,
    )
    return dict(zip(_TEMPLATE_VARIABLES, values, strict=True))


def _filled(template: str, variables: dict[str, str]) -> str:
    return Template(template).safe_substitute(variables)


def _address(address: str) -> str:
    """RFC 3464 §2.3.2; RFC 6533 §3 where it is not ASCII."""
    if address.isascii():
        return f"rfc822;{_line(address)}"
    return f"utf-8;{_line(_in_ascii(address, '+= ' + _BACKSLASH))}"


def _original(orcpt: str) -> str:
    """ORCPT, which may have come in UTF-8 over SMTPUTF8 (RFC 6533 §3)."""
    kind, _, address = orcpt.partition(";")
    if kind.lower() == "utf-8":
        # What is spelled out in it already stays so.
        return _line(f"{kind};{_in_ascii(address, '+= ')}")
    return _address(address) if not address.isascii() else _line(orcpt)


def _in_ascii(address: str, special: str) -> str:
    """RFC 6533's utf-8-addr-xtext, which has no character that begins one of xtext."""
    return "".join(c if c.isascii() and c not in special else _spelled(c) for c in address)


def _spelled(character: str) -> str:
    return f"\\x{{{ord(character):X}}}"


def _is_utf8(octets: bytes) -> bool:
    """Whether a header block is RFC 6532's: not ASCII, and UTF-8."""
    if octets.isascii():
        return False
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encoding(is_ascii: bool) -> list[str]:  # noqa: FBT001 - said where it is called
    return [] if is_ascii else ["Content-Transfer-Encoding: 8bit"]


def _mailbox(text: str, host: str) -> str:
    """The From field in ASCII: a name in encoded words (RFC 2047), a domain in A-labels.

    What is in the place of an address that cannot be so is the postmaster's.
    """
    if text.isascii():
        return _line(text)
    name, mailbox = parseaddr(one_line(text))
    local, _, domain = mailbox.rpartition("@")
    domain = address.ascii_domain(domain)
    if not (local and local.isascii() and domain):
        local, domain = "postmaster", host
    if name.isascii():
        return _line(formataddr((name, f"{local}@{domain}")))
    words = Header(name[:SUBJECT_CHARACTERS_MAX], "utf-8", header_name="From")
    return f"{words.encode(linesep=_CRLF)}{_CRLF} <{local}@{domain}>"


def _decoded(text: str) -> str:
    """What encoded words say (RFC 2047); the text itself if they say nothing."""
    if "=?" not in text or not text.isascii():
        return text
    try:
        said = str(make_header(decode_header(text[:ENCODED_CHARACTERS_MAX])))
    except (HeaderParseError, LookupError, ValueError):
        return text
    # They may say what begins a line, or is no character.
    return "".join(c if c.isprintable() else " " for c in said)


def _words(text: str) -> str:
    """A Subject field; in encoded words where it is not ASCII (RFC 2047)."""
    if text.isascii():
        return _line(text)
    shown = one_line(text)[:SUBJECT_CHARACTERS_MAX]
    return Header(shown, "utf-8", header_name="Subject").encode(linesep=_CRLF)


def _line(text: str) -> str:
    """Text that may stand in a header field: one line, ASCII, no longer than it may be."""
    return one_line(text).encode("ascii", "replace").decode()[:LINE_OCTETS_MAX]


def _date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(int(at), UTC).astimezone())


def _octets(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()
