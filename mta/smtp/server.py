"""A server's side of SMTP without I/O: commands in, replies out (RFC 5321 §4.1.4, §4.3).

    state      command       next
    START      EHLO, HELO    READY
    READY      MAIL          MAIL
    MAIL       RCPT          MAIL with a recipient, if accepted
               DATA, BDAT    CONTENT, if a recipient was accepted
               XMRG          MAIL with a mail merge, see `smtp/mailmerge.py`
    READY      AUTH          an exchange of challenges and responses, then READY
    any        RSET, EHLO    READY: sender and recipients are forgotten
               QUIT          END

Pipelined commands are answered together (RFC 2920). What follows DATA is content. What a
client sent before TLS began is thrown away (RFC 3207 §4.2).

After `XACK OFF` RCPT and XDFN have no reply; what was wrong with one is the reply of the
command that content would follow, and ends the transaction (Guide: mail merge).
"""

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from mta.model.reply import Reply
from mta.smtp import command, sasl
from mta.smtp.command import CommandError, MailParameters, RcptParameters
from mta.smtp.definitions import DEFINITIONS_OCTETS_MAX
from mta.smtp.mailmerge import MailMerge
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

    from mta.smtp.policy import Policy, ServerSettings

ERRORS_MAX: Final = 20
"""Commands nobody understands before the connection is closed: it is no mail client."""
UNANSWERED: Final = frozenset({b"RCPT", b"XDFN"})
"""After `XACK OFF`."""


class Step(enum.Enum):
    """What the shell does after a command."""

    GO_ON = "go on"
    CONTENT = "content"
    CHUNK = "chunk"
    """Take the octets of `Server.chunk`, then answer."""
    CHECK_SENDER = "check the sender"
    """Then call `sender_checked`."""
    VERIFY = "verify"
    """Check `Server.claim`, then call `verified`."""
    AUTHENTICATED = "authenticated"
    """Take `Server.user` for who the client is, and give `follow` what holds for it."""
    START_TLS = "start TLS"
    END = "end"


class Chunk(NamedTuple):
    """A BDAT command (RFC 3030): its octets come whether it is refused or not."""

    octets: int
    is_last: bool
    refusal: Reply | None = None


class Server:
    """The commands of one connection."""

    def __init__(
        self,
        policy: "Policy",
        settings: "ServerSettings",
        host_name: str,
        *,
        offers_tls: bool = False,
        is_tls: bool = False,
        rcpts_max: int = 65536,
        domain_suffix: str = "",
        greeting: str = "",
    ) -> None:
        self.helo = ""
        self.user = ""
        self.is_esmtp = False
        self.mail: MailParameters | None = None
        self.rcpts: list[RcptParameters] = []
        self.chunk = Chunk(0, is_last=True)
        self.is_chunking = False
        """Whether a chunk of the message was taken."""
        self.merge: MailMerge | None = None
        """That of a transaction which XMRG began."""
        self.claim: sasl.Claim
        self._is_silent = False
        """Whether the client said XACK OFF."""
        self._unspoken: Reply | None = None
        """What was wrong with a command that has no reply."""
        self._policy = policy
        self._host_name = host_name
        self._greeting = greeting or host_name
        self._domain_suffix = domain_suffix
        self._offers_tls = offers_tls
        self._is_tls = is_tls
        self._rcpts_configured_max = rcpts_max
        self._has_too_many_rcpts = False
        self._exchange: sasl.Exchange | None = None
        self._is_taking_leave = False
        self._errors = 0
        self._commands: dict[str, Callable[[str], Reply | Step]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
            "AUTH": self._auth,
            "RSET": self._rset,
            "NOOP": lambda _: Reply(250, ("2.0.0 ok",)),
            "QUIT": lambda _: Step.END,
            "VRFY": lambda _: Reply(252, ("2.0.0 send the message and see",)),
            "HELP": lambda _: Reply(214, ("2.0.0 see RFC 5321",)),
            "STARTTLS": self._starttls,
            "XACK": self._xack,
            "XMRG": self._xmrg,
            "XDFN": self._xdfn,
            "XPRT": self._xprt,
        }
        self.follow(settings)

    def follow(self, settings: "ServerSettings") -> None:
        """Go by the rules of another source from now on."""
        self._settings = settings
        self._rcpts_max = min(self._rcpts_configured_max, settings.max_rcpt_per_message)
        self._suffix = self._domain_suffix if settings.auto_qualify_domain else ""
        self._offers_merge = settings.allow_mailmerge or settings.always_allow_api_submission
        self._is_silent = self._is_silent and self._offers_merge

    @property
    def is_in_exchange(self) -> bool:
        """Whether the next line is no command but a response of an AUTH exchange."""
        return self._exchange is not None

    @property
    def line_octets_max(self) -> int:
        """How long the next line may be."""
        if self._exchange is not None:
            return sasl.RESPONSE_OCTETS_MAX
        return command.LINE_OCTETS_MAX if self.merge is None else DEFINITIONS_OCTETS_MAX

    def protocol(self, *, is_tls: bool) -> str:
        """The `with` clause of a Received field (RFC 3848)."""
        if not self.is_esmtp:
            return "SMTP"
        suffix = f"{'S' if is_tls else ''}{'A' if self.user else ''}"
        utf8 = self.mail is not None and self.mail.smtputf8
        return f"UTF8SMTP{suffix}" if utf8 else f"ESMTP{suffix}"

    def receive(self, line: bytes) -> tuple[Reply | None, Step]:
        """One command line without its end: the reply to it, and what to do then."""
        is_command = self._exchange is None
        if self._is_silent and is_command and line.partition(b" ")[0].upper() in UNANSWERED:
            self._obey_silently(line)
            return None, Step.GO_ON
        try:
            answer = self._command(line) if is_command else self._response(line)
        except CommandError as error:
            self._errors += 1
            if error.closes:
                return error.reply, Step.END
            if self._errors >= ERRORS_MAX:
                return Reply(421, ("4.7.0 too many errors; closing",)), Step.END
            return self.answered(error.reply)
        if isinstance(answer, Reply):
            return (answer, Step.GO_ON) if answer.code < 400 else self.answered(answer)
        match answer:
            case Step.END:
                return Reply(221, (f"2.0.0 {self._greeting} says goodbye",)), answer
            case Step.CONTENT:
                return _GO_AHEAD if self.merge is None else _SEND_PART, answer
            case Step.START_TLS:
                return Reply(220, ("2.0.0 ready to start TLS",)), answer
            case Step.AUTHENTICATED:
                return _WELCOME, answer
            case _:
                return None, answer

    def answered(self, reply: Reply) -> tuple[Reply, Step]:
        """A reply as it is given, and whether the connection ends with it."""
        if self._settings.disconnect_on_transient_error and 400 <= reply.code < 500:
            reply = Reply(421, reply.lines)
        return reply, Step.END if reply.code == 421 else Step.GO_ON

    def sender_checked(self, refusal: Reply | None) -> tuple[Reply, Step]:
        """What the check of the sender came to."""
        if refusal is not None:
            self.mail = self.merge = None
            return self.answered(refusal)
        return _SENDER_OK if self.merge is None else _XMRG_OK, Step.GO_ON

    def content_ended(self, reply: Reply) -> None:
        """The content, or the part of a mail merge, has that reply."""
        if self.merge is None or self.merge.is_last or reply.code >= 400:
            self.reset()

    def verified(self, refusal: Reply | None) -> tuple[Reply, Step]:
        """What the check of the claim came to."""
        if refusal is not None:
            self._exchange = None
            self._errors += 1
            if self._errors >= ERRORS_MAX:
                return Reply(421, ("4.7.0 too many errors; closing",)), Step.END
            return self.answered(refusal)
        if farewell := self.claim.farewell():
            self._is_taking_leave = True
            return Reply(334, (sasl.encoded(farewell),)), Step.GO_ON
        self._authenticated()
        return _WELCOME, Step.AUTHENTICATED

    def tls_started(self) -> None:
        """Everything said before counts for nothing."""
        self._offers_tls = False
        self._is_tls = True
        self.helo = ""
        self.is_esmtp = self._is_silent = False
        self.reset()

    def reset(self) -> None:
        """Forget sender and recipients."""
        self.mail = self.merge = self._unspoken = None
        self.rcpts = []
        self.is_chunking = False
        self._has_too_many_rcpts = False

    def _command(self, line: bytes) -> Reply | Step:
        if len(line) > command.LINE_OCTETS_MAX and (
            len(line) > self.line_octets_max or line[:5].upper() != b"XDFN "
        ):
            raise CommandError(500, "5.5.2 the command line is too long")
        verb, rest = command.split_command(line)
        known = self._commands.get(verb)
        if known is None or (verb in _MERGE_VERBS and not self._offers_merge):
            raise CommandError(502, f"5.5.1 {verb[:20]!r} is no command known here")
        return known(rest)

    def _ehlo(self, rest: str) -> Reply:
        self._greeted(rest)
        self.is_esmtp = True
        settings = self._settings
        size = settings.max_message_size
        lines = [
            self._greeting,
            "PIPELINING",
            "SIZE" if size == UNLIMITED else f"SIZE {size}",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "VERP",
            f"LIMITS RCPTMAX={self._rcpts_max}",
        ]
        if settings.allow_smtputf8:
            lines.append("SMTPUTF8")
        if settings.allow_chunking:
            lines.append("CHUNKING")
        if self._offers_merge:
            lines += ["XACK", "XMRG"]
        if self._offers_tls:
            lines.append("STARTTLS")
        if self._is_tls:
            lines.append("REQUIRETLS")  # RFC 8689 §2: not before
        mechanisms = self._policy.mechanisms()
        if mechanisms:
            lines.append(f"AUTH {' '.join(mechanisms)}")
        return Reply(250, tuple(lines))

    def _helo(self, rest: str) -> Reply:
        self._greeted(rest)
        self.is_esmtp = False
        return Reply(250, (self._greeting,))

    def _greeted(self, rest: str) -> None:
        if not rest or len(rest) > 255 or not rest.isprintable() or any(c in rest for c in "<> "):
            raise CommandError(
                501, "5.5.4 give the name of your host, such as EHLO mail.example.com"
            )
        # It goes into a header field, where nothing but ASCII may stand.
        self.helo = rest if rest.isascii() else rest.encode("ascii", "replace").decode()
        self._is_silent = False
        self.reset()

    def _mail(self, rest: str) -> Reply | Step:
        if not self.helo:
            raise CommandError(503, "5.5.1 say EHLO first")
        if self.mail is not None:
            raise CommandError(503, "5.5.1 a sender was given already; RSET begins again")
        renewed = self._policy.renewed()
        if renewed is not None:
            self.follow(renewed)
        settings = self._settings
        mail = command.parse_mail(
            rest,
            smtputf8_allowed=settings.allow_smtputf8,
            suffix=self._suffix,
            is_tls=self._is_tls,
        )
        if mail.size > settings.max_message_size:
            size = settings.max_message_size
            raise CommandError(552, f"5.3.4 at most {size} octets are taken (max-message-size)")
        refusal = self._policy.mail(mail)
        if refusal is not None:
            return refusal
        self.mail = mail
        return Step.CHECK_SENDER if self._policy.checks_sender else _SENDER_OK

    def _rcpt(self, rest: str) -> Reply:
        if self.mail is None:
            raise CommandError(503, "5.5.1 say MAIL FROM first")
        self._check_not_chunking()
        variables = self.merge.spend() if self.merge is not None else {}
        settings = self._settings
        if len(self.rcpts) >= self._rcpts_max:
            if settings.too_many_rcpts_fails_message:
                self._has_too_many_rcpts = True
                return _RECIPIENT_OK
            return Reply(
                452,
                (f"4.5.3 at most {self._rcpts_max} recipients; send the rest in another message",),
            )
        rcpt = command.parse_rcpt(
            rest,
            smtputf8=self.mail.smtputf8,
            domain=self._host_name,
            suffix=self._suffix,
            accepts_invalid=settings.accept_invalid_recipients,
        )
        refusal = self._policy.rcpt(self.mail, rcpt)
        if refusal is not None:
            return refusal
        self.rcpts.append(rcpt)
        if self.merge is not None:
            self.merge.add(variables)
        return _RECIPIENT_OK

    def _data(self, rest: str) -> Reply | Step:
        if rest:
            raise CommandError(501, "5.5.4 DATA takes no argument")
        self._check_not_chunking()
        return self._content(self._content_refusal(_BY_DATA if self.merge else None))

    def _content(self, refusal: Reply | None) -> Step:
        if refusal is None:
            return Step.CONTENT
        if refusal is self._unspoken:
            self.reset()
        raise CommandError(refusal.code, refusal.lines[0])

    def _bdat(self, rest: str) -> Step:
        octets, is_last = command.parse_bdat(rest)
        if not self._settings.allow_chunking:
            refusal: Reply | None = Reply(502, ("5.5.1 BDAT is not available",))
        else:
            refusal = self._content_refusal(_BY_DATA if self.merge else None)
        if refusal is not None and not octets:
            self.reset()
            raise CommandError(refusal.code, refusal.lines[0])
        self.chunk = Chunk(octets, is_last, refusal)
        return Step.CHUNK

    def _content_refusal(self, out_of_order: Reply | None) -> Reply | None:
        if self.mail is None:
            return Reply(503, ("5.5.1 say MAIL FROM first",))
        if self._unspoken is not None or out_of_order is not None:
            return self._unspoken or out_of_order
        if self._has_too_many_rcpts:
            text = f"5.5.3 more than {self._rcpts_max} recipients (max-rcpt-per-message)"
            return Reply(554, (text,))
        return None if self.rcpts else Reply(554, ("5.5.1 no valid recipients",))

    def _check_not_chunking(self) -> None:
        if self.is_chunking:
            raise CommandError(503, "5.5.1 a message comes in chunks; go on with BDAT, or RSET")

    def _rset(self, rest: str) -> Reply:
        del rest
        self.reset()
        return Reply(250, ("2.0.0 ok",))

    # Mail merge

    def _xack(self, rest: str) -> Reply:
        if rest.upper() not in ("ON", "OFF"):
            raise CommandError(501, "5.5.4 expected XACK ON or XACK OFF")
        self._is_silent = rest.upper() == "OFF"
        return Reply(250, ("2.0.0 ok",))

    def _obey_silently(self, line: bytes) -> None:
        """Outside a transaction, and after an error in it, nothing such a command says counts."""
        if self.mail is None or self._unspoken is not None:
            return
        try:
            reply = self._command(line)
        except CommandError as error:
            reply = error.reply
        if isinstance(reply, Reply) and reply.code >= 400:
            self._unspoken = reply

    def _xmrg(self, rest: str) -> Reply | Step:
        answer = self._mail(rest)
        if self.mail is None:
            return answer
        self.merge = MailMerge(
            self.mail,
            suffix=self._suffix,
            size_max=self._settings.max_message_size,
            verp_default=self._settings.verp_default,
        )
        return _XMRG_OK if answer is _SENDER_OK else answer

    def _xdfn(self, rest: str) -> Reply:
        self._merging().define(rest)
        return Reply(250, ("2.0.0 ok",))

    def _xprt(self, rest: str) -> Step:
        merge = self._merging()
        step = self._content(self._content_refusal(None))
        merge.begin_part(rest)
        return step

    def _merging(self) -> MailMerge:
        if self.merge is None:
            raise CommandError(503, "5.5.1 say XMRG FROM first")
        return self.merge

    # Who the client is

    def _auth(self, rest: str) -> Reply | Step:
        if not self.is_esmtp:
            raise CommandError(503, "5.5.1 say EHLO first")
        if self.user:
            raise CommandError(503, "5.5.1 you are known already")
        if self.mail is not None:
            raise CommandError(503, "5.5.1 AUTH comes before MAIL FROM")
        name, _, initial = rest.partition(" ")
        mechanism = name.upper()
        if mechanism not in self._policy.mechanisms():
            if self._offers_tls:
                raise CommandError(538, "5.7.11 not in clear text: say STARTTLS first")
            raise CommandError(504, "5.5.4 this mechanism is not available; see EHLO")
        self._exchange = self._policy.begin_auth(mechanism)
        self._is_taking_leave = False
        if initial:
            return self._response(initial.strip().encode())
        if sasl.speaks_first(mechanism):
            return self._exchanged(b"")
        return Reply(334, ("",))

    def _response(self, line: bytes) -> Reply | Step:
        try:
            if line == b"*":
                raise CommandError(501, "5.7.0 the exchange is over, as you wish")
            if len(line) > sasl.RESPONSE_OCTETS_MAX:
                raise CommandError(500, "5.5.6 the response is too long")
            return self._exchanged(sasl.decoded(line))
        except CommandError:
            self._exchange = None
            raise

    def _exchanged(self, response: bytes) -> Reply | Step:
        if self._is_taking_leave:
            if response:
                raise CommandError(501, "5.5.2 nothing more was expected")
            self._authenticated()
            return Step.AUTHENTICATED
        assert self._exchange is not None
        answer = self._exchange.receive(response)
        if isinstance(answer, bytes):
            return Reply(334, (sasl.encoded(answer),))
        self.claim = answer
        return Step.VERIFY

    def _authenticated(self) -> None:
        self._exchange = None
        self.user = self.claim.user

    def _starttls(self, rest: str) -> Step:
        if rest:
            raise CommandError(501, "5.5.4 STARTTLS takes no argument")
        if not self._offers_tls:
            raise CommandError(502, "5.5.1 STARTTLS is not available")
        if self.user:
            raise CommandError(503, "5.5.1 STARTTLS comes before AUTH")
        return Step.START_TLS


_WELCOME: Final = Reply(235, ("2.7.0 you are welcome",))
_MERGE_VERBS: Final = frozenset({"XACK", "XMRG", "XDFN", "XPRT"})
_GO_AHEAD: Final = Reply(354, ("send the message; end with <CRLF>.<CRLF>",))
_SENDER_OK: Final = Reply(250, ("2.1.0 sender ok",))
_XMRG_OK: Final = Reply(250, ("2.1.0 XMRG ok",))
_SEND_PART: Final = Reply(354, ("send part",))
_BY_DATA: Final = Reply(503, ("5.5.1 the parts of a mail merge come by XPRT",))
_RECIPIENT_OK: Final = Reply(250, ("2.1.5 recipient ok",))
