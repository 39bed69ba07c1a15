"""One transaction after another as a client, without I/O (RFC 5321 §3.3, RFC 2920).

What is waited for is a queue of expectations; each reply answers the first. With PIPELINING
MAIL, every RCPT and DATA are written at once, so their expectations stand there together;
without it each is written when the one before was answered.

    expected    reply                        then
    RSET        any                          (it only clears what the last transaction left)
    MAIL        2yz                          the recipients
                other                        end of the transaction
    RCPT        2yz | other                  noted; after the last: DATA if any was accepted
    DATA        3yz, a recipient accepted    write the content, expect CONTENT
                3yz, none accepted           write an empty message (RFC 2920 §3.1), expect CONTENT
                other                        end of the transaction
    CONTENT     any, all content is out      end of the transaction
                4yz, 5yz before that         end of it, and of the connection
                other before that            the peer broke the protocol

A transaction that ends without content leaves the server with a sender and recipients, so
the next one begins with RSET. Lines are written with CRLF by us alone: what could smuggle a
command in is refused as a bug of ours. So is an address beyond ASCII without SMTPUTF8.
"""

import enum
import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from mta.errors import LocalProtocolError, RemoteProtocolError
from mta.model.frozen import frozen
from mta.model.message import Content, Envelope, Recipient
from mta.model.outcome import Stage
from mta.model.reply import Reply
from mta.smtp.extensions import Extensions

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f<>]")
# RFC 3461 §4 asks it of + and = alone. Brackets are encoded for receivers who look for the last
# one on a line to find the end of the address.
_XTEXT = re.compile(r"[^\x21-\x2a\x2c-\x3b\x3f-\x7e]")
_XTEXT_BRACKETS = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")
ENVID_OCTETS_MAX: Final = 100
ORCPT_OCTETS_MAX: Final = 500
"""RFC 3461 §5.4: a longer parameter may have the command refused."""


@frozen()
class Transaction:
    """One message to one or more recipients.

    What is sent is `head`, then `content` from `content_skip` on, dot-stuffed where the
    envelope says that lines begin with a dot.
    """

    envelope: Envelope
    recipients: tuple[Recipient, ...]
    head: bytes
    content: Content
    content_skip: int = 0
    mail_from: str | None = None
    """The sender that the peer is told, where it is not that of the envelope."""

    @property
    def sender(self) -> str:
        """The sender that the peer is told."""
        return self.envelope.mail_from if self.mail_from is None else self.mail_from

    @property
    def is_smtputf8(self) -> bool:
        """Whether the peer is to be told SMTPUTF8: the submitter asked for it, or an address does.

        What our own configuration adds (alias, bcc, rewrite-list) has not been asked for.
        """
        return (
            self.envelope.is_smtputf8
            or not self.sender.isascii()
            or not all(recipient.address.isascii() for recipient in self.recipients)
        )


@dataclass(slots=True)
class TransactionResult:
    """What came back; None where nothing did. `broken` says how the connection broke."""

    rcpts: list[Reply | None]
    mail: Reply | None = None
    data: Reply | None = None
    final: Reply | None = None
    broken: str = ""
    broken_stage: Stage | None = None
    fault: str = ""
    """What the peer said that is no reply, or that nothing had asked for, if it broke by that."""
    is_unanswered: bool = False
    """Whether all of the content went out and the time for a reply to it is over."""
    is_pix: bool = False
    """Whether the peer's banner shows a firewall that rewrites SMTP."""


class Next(enum.Enum):
    """What to do after a reply."""

    WAIT = "wait"
    WRITE = "write"
    """Write what `take_output` gives."""
    CONTENT = "content"
    """Write the content of the transaction, call `content_sent`, then wait."""
    DONE = "done"
    CLOSE = "close"
    """As DONE; the rest of the content is not to be sent, and what is sent cannot end there."""


class Client:
    """The client side of one connection, after EHLO."""

    __slots__ = (
        "_accepted",
        "_answered",
        "_expected",
        "_extensions",
        "_is_sending",
        "_needs_rset",
        "_output",
        "_rcpts",
        "result",
    )

    def __init__(self, extensions: Extensions) -> None:
        self.result = TransactionResult([])
        self._extensions = extensions
        self._expected: deque[Stage] = deque()
        self._rcpts: list[bytes] = []
        self._accepted = 0
        self._answered = 0
        """Recipients that have their reply."""
        self._needs_rset = False
        self._is_sending = False
        """Whether content is on its way, and its end not written."""
        self._output = b""

    @property
    def is_over(self) -> bool:
        """Whether every reply is there."""
        return not self._expected

    @property
    def stage(self) -> Stage:
        """What the first reply that is missing answers."""
        return self._expected[0] if self._expected else Stage.MAIL

    def begin(self, transaction: Transaction) -> bytes:
        """What to write first."""
        assert not self._expected, "a transaction is under way"
        self.result = TransactionResult([None] * len(transaction.recipients))
        self._accepted = self._answered = 0
        is_smtputf8 = self._extensions.smtputf8 and transaction.is_smtputf8
        charset = "utf-8" if is_smtputf8 else "ascii"
        mail = self._mail(transaction, charset)
        rcpts = [self._rcpt(recipient, charset) for recipient in transaction.recipients]
        start = b""
        if self._needs_rset:
            start = b"RSET\r\n"
            self._expected.append(Stage.RSET)
        self._expected.append(Stage.MAIL)
        if not self._extensions.pipelining:
            self._rcpts = rcpts
            if not start:
                return mail
            self._rcpts.insert(0, mail)
            return start
        self._rcpts = []
        self._expected.extend([Stage.RCPT] * len(rcpts))
        self._expected.append(Stage.DATA)
        return b"".join([start, mail, *rcpts, b"DATA\r\n"])

    def receive(self, reply: Reply) -> Next:
        """Take the next reply; RemoteProtocolError if none is expected."""
        if not self._expected:
            raise RemoteProtocolError(f"a reply nobody asked for: {reply}")
        stage = self._expected.popleft()
        result = self.result
        if stage is Stage.RSET:
            self._needs_rset = False
            return self._write(self._rcpts.pop(0)) if self._rcpts else Next.WAIT
        if stage is Stage.MAIL:
            result.mail = reply
            self._needs_rset = reply.is_positive
            return self._after_mail(reply)
        if stage is Stage.RCPT:
            result.rcpts[self._answered] = reply
            self._answered += 1
            self._accepted += reply.is_positive
            return self._after_rcpt()
        if stage is Stage.DATA:
            if reply.code // 100 != 3:  # RFC 5321 §4.3.2: the first digit decides
                result.data = reply
                return Next.DONE
            self._expected.append(Stage.CONTENT)
            if result.mail is None or not result.mail.is_positive or not self._accepted:
                return self._write(b".\r\n")
            result.data = reply
            self._is_sending = True
            return Next.CONTENT
        if self._is_sending and not (reply.is_transient or reply.is_permanent):
            self._expected.append(Stage.CONTENT)
            raise RemoteProtocolError(f"a reply before the end of the content: {reply}")
        self._needs_rset = False
        if result.data is not None:
            result.final = reply
        return Next.CLOSE if self._is_sending else Next.DONE

    def content_sent(self) -> None:
        """The end of the content is about to be written: a reply answers all of it."""
        self._is_sending = False

    def take_output(self) -> bytes:
        """What `receive` said to write."""
        output, self._output = self._output, b""
        return output

    def _write(self, octets: bytes) -> Next:
        self._output = octets
        return Next.WRITE

    def _after_mail(self, reply: Reply) -> Next:
        if self._extensions.pipelining:
            return Next.WAIT
        if not reply.is_positive:
            self._rcpts = []
            return Next.DONE
        self._expected.append(Stage.RCPT)
        return self._write(self._rcpts.pop(0))

    def _after_rcpt(self) -> Next:
        if self._extensions.pipelining:
            return Next.WAIT
        if self._rcpts:
            self._expected.append(Stage.RCPT)
            return self._write(self._rcpts.pop(0))
        if not self._accepted:
            return Next.DONE
        self._expected.append(Stage.DATA)
        return self._write(b"DATA\r\n")

    def _mail(self, transaction: Transaction, charset: str) -> bytes:
        envelope = transaction.envelope
        parts = [f"MAIL FROM:<{_checked(transaction.sender)}>"]
        offers = self._extensions
        if offers.size:
            parts.append(f"SIZE={envelope.size + len(transaction.head) - transaction.content_skip}")
        if offers.eightbit and envelope.is_8bit:
            parts.append("BODY=8BITMIME")
        if charset == "utf-8":
            parts.append("SMTPUTF8")
        if offers.requiretls and envelope.requires_tls:
            parts.append("REQUIRETLS")
        if offers.dsn and envelope.ret:
            parts.append(f"RET={_checked(envelope.ret)}")
        dsn_id = envelope.env_id if offers.dsn else ""
        if dsn_id and (fitting := _fitting(dsn_id, ENVID_OCTETS_MAX)):
            parts.append(f"ENVID={fitting}")
        return _line(parts, charset)

    def _rcpt(self, recipient: Recipient, charset: str) -> bytes:
        parts = [f"RCPT TO:<{_checked(recipient.address)}>"]
        if self._extensions.dsn and recipient.notify:
            parts.append(f"NOTIFY={_checked(recipient.notify)}")
        if self._extensions.dsn and recipient.orcpt:
            kind, _, address = recipient.orcpt.partition(";")
            if kind.lower() == "utf-8":  # RFC 6533 §3: in ASCII, whatever the peer takes
                address = "".join(c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in address)
            if fitting := _fitting(address, ORCPT_OCTETS_MAX - len(kind) - 1):
                parts.append(f"ORCPT={_checked(kind)};{fitting}")
        return _line(parts, charset)


def xtext(text: str, pattern: re.Pattern[str] = _XTEXT) -> str:
    """Text as RFC 3461 §4 writes it in a parameter."""
    return pattern.sub(lambda m: "".join(f"+{octet:02X}" for octet in m[0].encode()), text)


def _fitting(text: str, octets_max: int) -> str:
    """Text in xtext no longer than the parameter may be, with bare brackets if it must.

    Empty if it is too long even so: one that is missing costs no mail, a refused command does.
    """
    encoded = xtext(text)
    if len(encoded) > octets_max:
        encoded = xtext(text, _XTEXT_BRACKETS)
    return encoded if len(encoded) <= octets_max else ""


def stuffed(octets: bytes, *, at_line_start: bool = True) -> bytes:
    """Octets with lines that begin with a dot given another (RFC 5321 §4.5.2)."""
    octets = octets.replace(b"\r\n.", b"\r\n..")
    return b"." + octets if at_line_start and octets[:1] == b"." else octets


def _checked(text: str) -> str:
    if _FORBIDDEN.search(text):
        raise LocalProtocolError(f"{text!r} cannot stand in a command")
    return text


def _line(parts: list[str], charset: str) -> bytes:
    line = " ".join(parts)
    try:
        return f"{line}\r\n".encode(charset)
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{line!r} is no command in {charset}") from None
