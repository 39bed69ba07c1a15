"""A server's side of SMTP without I/O: commands in, replies out (RFC 5321 §4.1.4, §4.3).

    state      command       next
    START      EHLO, HELO    READY
    READY      MAIL          MAIL
    MAIL       RCPT          MAIL with a recipient, if accepted
               DATA          CONTENT, if a recipient was accepted
    any        RSET, EHLO    READY: sender and recipients are forgotten
               QUIT          END

Pipelined commands are answered together (RFC 2920). What follows DATA is content. What a
client sent before TLS began is thrown away (RFC 3207 §4.2).
"""

import enum
from typing import TYPE_CHECKING, Final, Protocol

from mta.model.reply import Reply
from mta.smtp import command
from mta.smtp.command import CommandError, MailParameters, RcptParameters
from mta.units import UNLIMITED

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS_MAX: Final = 20
"""Commands nobody understands before the connection is closed: it is no mail client."""


class Policy(Protocol):
    """Who may do what; a Reply refuses, None accepts."""

    def mail(self, mail: MailParameters) -> Reply | None: ...

    def rcpt(self, mail: MailParameters, rcpt: RcptParameters) -> Reply | None: ...


class ServerSettings(Protocol):
    """What a session depends on among the rules of its source."""

    @property
    def max_message_size(self) -> int: ...
    @property
    def max_rcpt_per_message(self) -> int: ...
    @property
    def allow_smtputf8(self) -> bool: ...


class Step(enum.Enum):
    """What the shell does after a command."""

    GO_ON = "go on"
    CONTENT = "content"
    START_TLS = "start TLS"
    END = "end"


class Server:
    """The commands of one connection."""

    def __init__(
        self,
        policy: Policy,
        settings: ServerSettings,
        host_name: str,
        *,
        offers_tls: bool = False,
        rcpts_max: int = 65536,
    ) -> None:
        self.helo = ""
        self.is_esmtp = False
        self.mail: MailParameters | None = None
        self.rcpts: list[RcptParameters] = []
        self._policy = policy
        self._settings = settings
        self._host_name = host_name
        self._offers_tls = offers_tls
        self._rcpts_max = min(rcpts_max, settings.max_rcpt_per_message)
        self._errors = 0
        self._commands: dict[str, Callable[[str], Reply | Step]] = {
            "EHLO": self._ehlo,
            "HELO": self._helo,
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": lambda _: Reply(250, ("2.0.0 ok",)),
            "QUIT": lambda _: Step.END,
            "VRFY": lambda _: Reply(252, ("2.0.0 send the message and see",)),
            "HELP": lambda _: Reply(214, ("2.0.0 see RFC 5321",)),
            "STARTTLS": self._starttls,
        }

    def receive(self, line: bytes) -> tuple[Reply | None, Step]:
        """One command line without its end: the reply to it, and what to do then."""
        try:
            verb, rest = command.split_command(line)
            known = self._commands.get(verb)
            if known is None:
                raise CommandError(502, f"5.5.1 {verb[:20]!r} is no command known here")
            answer = known(rest)
        except CommandError as error:
            self._errors += 1
            if self._errors >= ERRORS_MAX:
                return Reply(421, ("4.7.0 too many errors; closing",)), Step.END
            return error.reply, Step.GO_ON
        if isinstance(answer, Reply):
            return answer, Step.GO_ON
        match answer:
            case Step.END:
                return Reply(221, (f"2.0.0 {self._host_name} says goodbye",)), answer
            case Step.CONTENT:
                return Reply(354, ("send the message; end with <CRLF>.<CRLF>",)), answer
            case Step.START_TLS:
                return Reply(220, ("2.0.0 ready to start TLS",)), answer
            case _:
                return None, answer

    def tls_started(self) -> None:
        """Everything said before counts for nothing."""
        self._offers_tls = False
        self.helo = ""
        self.is_esmtp = False
        self.reset()

    def reset(self) -> None:
        """Forget sender and recipients."""
        self.mail = None
        self.rcpts = []

    def _ehlo(self, rest: str) -> Reply:
        self._greeted(rest)
        self.is_esmtp = True
        size = self._settings.max_message_size
        lines = [
            self._host_name,
            "PIPELINING",
            "SIZE" if size == UNLIMITED else f"SIZE {size}",
            "8BITMIME",
            "ENHANCEDSTATUSCODES",
            "DSN",
        ]
        if self._settings.allow_smtputf8:
            lines.append("SMTPUTF8")
        if self._offers_tls:
            lines.append("STARTTLS")
        return Reply(250, tuple(lines))

    def _helo(self, rest: str) -> Reply:
        self._greeted(rest)
        self.is_esmtp = False
        return Reply(250, (self._host_name,))

    def _greeted(self, rest: str) -> None:
        if not rest or len(rest) > 255 or not rest.isprintable() or any(c in rest for c in "<> "):
            raise CommandError(
                501, "5.5.4 give the name of your host, such as EHLO mail.example.com"
            )
        self.helo = rest
        self.reset()

    def _mail(self, rest: str) -> Reply:
        if not self.helo:
            raise CommandError(503, "5.5.1 say EHLO first")
        if self.mail is not None:
            raise CommandError(503, "5.5.1 a sender was given already; RSET begins again")
        mail = command.parse_mail(rest, smtputf8_allowed=self._settings.allow_smtputf8)
        if mail.size > self._settings.max_message_size:
            size = self._settings.max_message_size
            raise CommandError(552, f"5.3.4 at most {size} octets are taken (max-message-size)")
        refusal = self._policy.mail(mail)
        if refusal is not None:
            return refusal
        self.mail = mail
        return Reply(250, ("2.1.0 sender ok",))

    def _rcpt(self, rest: str) -> Reply:
        if self.mail is None:
            raise CommandError(503, "5.5.1 say MAIL FROM first")
        if len(self.rcpts) >= self._rcpts_max:
            return Reply(
                452,
                (f"4.5.3 at most {self._rcpts_max} recipients; send the rest in another message",),
            )
        rcpt = command.parse_rcpt(rest, smtputf8=self.mail.smtputf8, domain=self._host_name)
        refusal = self._policy.rcpt(self.mail, rcpt)
        if refusal is not None:
            return refusal
        self.rcpts.append(rcpt)
        return Reply(250, ("2.1.5 recipient ok",))

    def _data(self, rest: str) -> Reply | Step:
        if rest:
            raise CommandError(501, "5.5.4 DATA takes no argument")
        if self.mail is None:
            raise CommandError(503, "5.5.1 say MAIL FROM first")
        if not self.rcpts:
            raise CommandError(554, "5.5.1 no valid recipients")
        return Step.CONTENT

    def _rset(self, rest: str) -> Reply:
        del rest
        self.reset()
        return Reply(250, ("2.0.0 ok",))

    def _starttls(self, rest: str) -> Step:
        if rest:
            raise CommandError(501, "5.5.4 STARTTLS takes no argument")
        if not self._offers_tls:
            raise CommandError(502, "5.5.1 STARTTLS is not available")
        return Step.START_TLS
