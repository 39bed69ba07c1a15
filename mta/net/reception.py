"""Who takes the mail that listeners hear, and what they know of a client."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mta.config.submitters import AUTH
from mta.model.message import Content
from mta.model.reply import Reply
from mta.smtp.auth_results import Finding
from mta.smtp.command import MailParameters, RcptParameters
from mta.smtp.mailmerge import Submission
from mta.smtp.sasl import Claim, Exchange

if TYPE_CHECKING:
    import asyncio

    from mta.config.configuration import Configuration, ListenerSettings
    from mta.settings.source import SourceSettings


@dataclass(slots=True, eq=False)
class Session:
    """One client connection, as those who decide about it see it."""

    peer_ip: str
    peer_port: int
    local_ip: str
    listener: "ListenerSettings"
    source: "SourceSettings"
    source_matched: bool
    """Whether any `<source>` speaks of the client."""
    is_local: bool
    """Whether the client is on this very host."""
    writes_to_host: bool = False
    """Whether a recipient was at a name of this host."""
    helo: str = ""
    user: str = ""
    with_protocol: str = "SMTP"
    is_tls: bool = False
    certificate: bytes = b""
    """What the client showed and our authorities vouch for (DER); or empty."""
    findings: tuple[Finding, ...] = ()
    """What was found out about the client and the sender, for Authentication-Results."""
    epoch: int = 0
    """Of the configuration that `source` is of, as the reception counts them."""

    def follow(self, configuration: "Configuration") -> None:
        """What a configuration says of the client holds from now on."""
        self.listener = self.listener.under(configuration.listeners)
        listener, user = self.listener.source, ""
        if self.user:
            account = configuration.submitters.users.get(self.user)
            user = account.source if account is not None else AUTH
        self.source = configuration.source(self.peer_ip, listener, user)
        self.source_matched = configuration.source_matches(self.peer_ip, listener, user)

    @property
    def is_checked(self) -> bool:
        """Whether something is to be looked up before a sender is accepted."""
        return self.source.check_spf_inbound or self.source.check_iprev_inbound

    @property
    def gets_results(self) -> bool:
        """Whether messages get an Authentication-Results field."""
        return self.is_checked or self.source.check_dkim_inbound


class Underway(Protocol):
    """A message on its way to the disk."""

    @property
    def committed(self) -> "asyncio.Future[None]":
        """Done when it is there, or will not be."""
        ...

    def reply(self) -> Reply:
        """The answer to it; asked for once, after that."""
        ...


class Reception(Protocol):
    """Who takes the mail; a Reply refuses, None accepts."""

    @property
    def spill_directory(self) -> Path: ...

    def log(self, text: str) -> None: ...

    def open_session(self, session: Session) -> Reply | None: ...

    def followed(self, session: Session) -> "SourceSettings":
        """The source of a client, which another configuration may have changed."""
        ...

    def mail(self, session: Session, mail: MailParameters) -> Reply | None: ...

    def rcpt(
        self, session: Session, mail: MailParameters, rcpt: RcptParameters
    ) -> Reply | None: ...

    async def check_sender(self, session: Session, mail: MailParameters) -> Reply | None: ...

    async def message(
        self,
        session: Session,
        mail: MailParameters,
        rcpts: list[RcptParameters],
        content: Content,
        head_size: int,
        has_leading_dot: bool,  # noqa: FBT001 - one call, by position
        is_8bit: bool,  # noqa: FBT001
    ) -> Reply: ...

    async def merged(self, session: Session, submission: Submission) -> Reply:
        """As `message`, for each message of a mail merge: all of them or none."""
        ...

    def takes_at_once(self, session: Session) -> bool:
        """Whether nothing but the disk is waited for: `begin` is as good as `message`."""
        ...

    def begin(
        self,
        session: Session,
        mail: MailParameters,
        rcpts: list[RcptParameters],
        content: Content,
        head_size: int,
        has_leading_dot: bool,  # noqa: FBT001 - one call, by position
        is_8bit: bool,  # noqa: FBT001
    ) -> Reply | Underway: ...

    def close_session(self, session: Session) -> None: ...


class Admission(Protocol):
    """Who says who a client is."""

    def mechanisms(self, session: Session) -> Sequence[str]: ...

    def begin_auth(self, session: Session, mechanism: str) -> Exchange: ...

    async def authenticate(self, session: Session, claim: Claim) -> Reply | None: ...

    def admit(self, session: Session, user: str) -> None:
        """The client is that user; what holds for it is in the session afterwards."""
        ...
