"""What a server asks of those who decide about a session."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mta.model.reply import Reply
    from mta.smtp import sasl
    from mta.smtp.command import MailParameters, RcptParameters


class Policy(Protocol):
    """Who may do what; a Reply refuses, None accepts."""

    @property
    def checks_sender(self) -> bool:
        """Whether a sender is only accepted after a check that takes time."""
        ...

    def renewed(self) -> "ServerSettings | None":
        """The rules of the client's source, if they are not those of the last time."""
        ...

    def mail(self, mail: "MailParameters") -> "Reply | None": ...

    def rcpt(self, mail: "MailParameters", rcpt: "RcptParameters") -> "Reply | None": ...

    def mechanisms(self) -> "Sequence[str]":
        """Those by which the client may say who it is, now."""
        ...

    def begin_auth(self, mechanism: str) -> "sasl.Exchange": ...


class ServerSettings(Protocol):
    """What a session depends on among the rules of its source."""

    @property
    def max_message_size(self) -> int: ...
    @property
    def max_rcpt_per_message(self) -> int: ...
    @property
    def too_many_rcpts_fails_message(self) -> bool: ...
    @property
    def allow_smtputf8(self) -> bool: ...
    @property
    def allow_chunking(self) -> bool: ...
    @property
    def disconnect_on_transient_error(self) -> bool: ...
    @property
    def accept_invalid_recipients(self) -> bool: ...
    @property
    def auto_qualify_domain(self) -> bool: ...
    @property
    def allow_mailmerge(self) -> bool: ...
    @property
    def always_allow_api_submission(self) -> bool: ...
    @property
    def verp_default(self) -> bool: ...
