"""From an accepted SMTP transaction to durable recipients in their queues.

The order is fixed: read the header block, choose a VirtualMTA for each recipient, commit to
the spool, tell the scheduler, answer 250. Nothing is in a queue that is not on disk.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta import address, clock, ids
from mta.accounting import build
from mta.admin.traffic import TrafficCounters
from mta.daemon import expansion, merging
from mta.daemon.heads import head_of
from mta.daemon.refused import Refused
from mta.daemon.sender_checks import SenderChecks
from mta.daemon.sources import Sources
from mta.daemon.submission_rules import X_DKIM_KEY, X_DKIM_OPTIONS, SubmissionRules, accounted
from mta.daemon.suppression import Suppression
from mta.errors import SpoolError, SpoolFullError
from mta.model.frozen import frozen
from mta.model.message import PRIORITY, Content, Envelope, FileContent, Recipient
from mta.model.queue_key import INVALID_DOMAIN, QueueKey
from mta.model.reply import Reply
from mta.routing import pool, relay, select
from mta.settings.source import SourceSettings
from mta.smtp import header_block
from mta.smtp.mailmerge import NO_WISHES

if TYPE_CHECKING:
    import asyncio

    from mta.config.configuration import Configuration
    from mta.daemon.keeping import Begin, Inbox, Keep
    from mta.daemon.router import Router
    from mta.daemon.together import Together
    from mta.model.record import Record
    from mta.net.reception import Session
    from mta.smtp.command import MailParameters, RcptParameters
    from mta.smtp.mailmerge import Submission, Wishes
    from mta.spool.store import Spool

_RECEIVED = re.compile(rb"^Received[ \t]*:", re.IGNORECASE | re.MULTILINE)

STOPPING = Reply(421, ("4.3.2 the service is stopping; try again in a minute",))
NO_RELAYING = Reply(
    550,
    ("5.7.1 relaying denied: your address may not send mail through this host; ask its operator",),
)
TRY_LATER = Reply(
    450,
    ("4.7.1 relaying denied for now (relay-debug): your address may not send through this host",),
)
AUTH_REQUIRED = Reply(530, ("5.7.0 authentication is required (require-auth)",))
NO_USER = Reply(421, ("4.7.0 this user is configured no more; closing",))
TOO_MANY_RCPTS = Reply(554, ("5.5.3 too many recipients with those that aliases stand for",))
TOO_MANY_HOPS = Reply(554, ("5.4.6 the message has passed too many hosts; look for a mail loop",))
DISK_FULL = Reply(452, ("4.3.1 the spool is full; try again later",))
SPOOL_BROKEN = Reply(451, ("4.3.0 the message could not be stored; try again later",))
RULES_MAX: Final = 10_000
"""Sources whose rules are remembered; a few hundred octets each."""
_OURSELVES: Final = SourceSettings(process_x_virtual_mta=True)
"""What holds for mail of our own: nothing limits it, and it may say its VirtualMTA."""


@frozen()
class Taken:
    """A message that is decided on; it is in no queue before it is on disk."""

    envelope: Envelope
    recipients: list[Recipient]


class _Underway:
    """The `Underway` of a message."""

    __slots__ = ("_content", "_intake", "_taken", "committed")

    def __init__(
        self, intake: "Intake", taken: Taken, content: bytes, committed: "asyncio.Future[None]"
    ) -> None:
        self.committed = committed
        self._intake = intake
        self._taken = taken
        self._content = content

    def reply(self) -> Reply:
        """The answer to the message, which is on disk, or will not be."""
        return self._intake.committed(self._taken, self._content, self.committed)


class Intake:
    """The `Reception` of every listener of one shard."""

    def __init__(
        self,
        configuration: "Configuration",
        spool: "Spool",
        *,
        suppression: Suppression,
        checks: SenderChecks,
        keep: "Keep",
        begin: "Begin | None",
        together: "Together",
        router: "Router",
        inbox: "Inbox",
        wanted_kinds: frozenset[str],
        acct_headers: frozenset[bytes],
        traffic: TrafficCounters,
        log: Callable[[str], None],
    ) -> None:
        self.configuration = configuration
        self.suppression = suppression
        self._checks = checks
        self.is_stopping = False
        self._spool = spool
        self._keep = keep
        self._begin = begin
        """None where the queues of a message decide which disk it goes to."""
        self.together = together
        self._router = router
        self._inbox = inbox
        self._traffic = traffic
        self._log = log
        self.refused = Refused(log)
        self._turns = pool.Turns()
        self._sources = Sources(configuration)
        self._rules: dict[int, SubmissionRules] = {}
        self.wanted_kinds = wanted_kinds
        self.acct_headers = acct_headers - {X_DKIM_KEY}
        self._own_domains = expansion.own_domains(configuration)

    @property
    def spill_directory(self) -> Path:
        """Where listeners put content that is too large for memory."""
        return self._spool.spill_directory

    def follow(
        self,
        configuration: "Configuration",
        suppression: Suppression,
        wanted_kinds: frozenset[str],
        acct_headers: frozenset[bytes],
    ) -> None:
        """Take a new configuration for the messages to come."""
        self.configuration = configuration
        self.suppression = suppression
        self.wanted_kinds = wanted_kinds
        self.acct_headers = acct_headers - {X_DKIM_KEY}
        self._own_domains = expansion.own_domains(configuration)
        self._rules = {}
        self._sources.follow(configuration)

    # Reception

    def log(self, text: str) -> None:
        """One line of the log."""
        self._log(text)

    def open_session(self, session: "Session") -> Reply | None:
        """A Reply refuses the connection."""
        self._sources.begin(session)
        if self.is_stopping:
            return STOPPING
        return None if session.source.smtp_service else self._no_service()

    def followed(self, session: "Session") -> SourceSettings:
        """The source of a client; after a reload that of the configuration in force.

        What it names, such as lists and VirtualMTAs, is there.
        """
        if session.epoch != self._sources.epoch:
            self._sources.renew(session)
        return session.source

    def mail(self, session: "Session", mail: "MailParameters") -> Reply | None:
        """A Reply refuses the sender."""
        session.findings = ()
        source = self.followed(session)
        if session.user:
            if session.user not in self.configuration.submitters.users:
                return NO_USER
        elif not source.smtp_service:
            return self._no_service()
        elif source.require_auth:
            return AUTH_REQUIRED
        return STOPPING if self.is_stopping else None

    async def check_sender(self, session: "Session", mail: "MailParameters") -> Reply | None:
        """A Reply refuses a sender after looking things up."""
        return await self._checks.sender(session, mail.mail_from)

    def rcpt(
        self, session: "Session", mail: "MailParameters", rcpt: "RcptParameters"
    ) -> Reply | None:
        """A Reply refuses the recipient."""
        domain = address.domain_of(rcpt.address)
        source = self.followed(session)
        if domain in self._own_domains:
            session.writes_to_host = True
        if relay.may_relay(
            self.configuration,
            source,
            is_local_client=session.is_local,
            source_matched=session.source_matched,
            domain=domain,
            address=rcpt.address,
        ):
            if source.suppression_lists and not source.accept_invalid_recipients:
                return self.suppression.refusal(source.suppression_lists, rcpt.address)
            return None
        return TRY_LATER if self.configuration.root.relay_debug else NO_RELAYING

    def close_session(self, session: "Session") -> None:
        """Nothing is held for a session."""

    async def message(
        self,
        session: "Session",
        mail: "MailParameters",
        rcpts: Sequence["RcptParameters"],
        content: Content,
        head_size: int,
        has_leading_dot: bool,  # noqa: FBT001 - the listener's call, by position
        is_8bit: bool,  # noqa: FBT001
    ) -> Reply:
        """Take a message; 250 only after its commit."""
        now = clock.now()
        content, head, added = await self.checked(session, content, head_size)
        taken = self.take(session, mail, rcpts, content, head, has_leading_dot, is_8bit, added, now)
        if isinstance(taken, Reply):
            return taken
        refusal = await self._commit(taken.envelope, content, taken.recipients, now)
        return self.arrived(taken) if refusal is None else refusal

    async def checked(
        self, session: "Session", content: Content, head_size: int
    ) -> tuple[Content, bytes, str]:
        """A message as it is kept, its header block, and what is added after looking it over."""
        head = await head_of(content, head_size)
        if not session.gets_results:
            return content, head, ""
        host_name = self.configuration.root.host_name
        return await self._checks.results(session, content, head, host_name)

    async def merged(self, session: "Session", submission: "Submission") -> Reply:
        """Take a mail merge; 250 only after the commit of all its messages."""
        return await merging.take(self, session, submission)

    def takes_at_once(self, session: "Session") -> bool:
        """Whether nothing but the disk is waited for: `begin` is as good as `message`."""
        self.followed(session)
        return self._begin is not None and not session.gets_results

    def begin(
        self,
        session: "Session",
        mail: "MailParameters",
        rcpts: Sequence["RcptParameters"],
        content: Content,
        head_size: int,
        has_leading_dot: bool,  # noqa: FBT001 - the listener's call, by position
        is_8bit: bool,  # noqa: FBT001
    ) -> Reply | _Underway:
        """As `message` up to its commit; a Reply is a refusal."""
        assert isinstance(content, bytes), "a file is not taken at once"
        now = clock.now()
        head = content[:head_size]
        taken = self.take(session, mail, rcpts, content, head, has_leading_dot, is_8bit, "", now)
        if isinstance(taken, Reply):
            return taken
        assert self._begin is not None
        records = self.receipts(taken.recipients, now)
        committed = self._begin(taken.envelope, content, taken.recipients, records)
        return _Underway(self, taken, content, committed)

    def committed(self, taken: Taken, content: bytes, committed: "asyncio.Future[None]") -> Reply:
        """What is said of a message that was begun: it is on disk, or it is not taken."""
        error = committed.exception()
        if error is not None:
            return self.not_stored(error)
        self.keep_at_hand(taken, content)
        return self.arrived(taken)

    def keep_at_hand(self, taken: Taken, content: bytes) -> None:
        """Have the content of a stored message in memory while there is room."""
        self._spool.keep(taken.envelope.message_id, content, len(taken.recipients))

    def take(
        self,
        session: "Session",
        mail: "MailParameters",
        rcpts: Sequence["RcptParameters"],
        content: Content,
        head: bytes,
        has_leading_dot: bool,  # noqa: FBT001
        is_8bit: bool,  # noqa: FBT001
        added_fields: str,
        now: float,
        wishes: "Wishes" = NO_WISHES,
    ) -> Reply | Taken:
        """What becomes of a message; a Reply refuses it."""
        source = self.followed(session)
        if _has_too_many_hops(head, source):
            return TOO_MANY_HOPS
        host_name = self.configuration.root.host_name
        rules = self._rules_of(source)
        found = header_block.find(head, rules.wanted)
        match = rules.match(mail.mail_from, [rcpt.address for rcpt in rcpts], head)
        if wishes.vmta is None:
            wish = select.wish(self.configuration, source, rules.x_virtual_mta(found), match)
        else:
            wish = select.requested(self.configuration, source, wishes.vmta.strip())
        if wish.error:
            return Reply(550, (wish.error,))
        windows = rules.windows(found, wishes.schedule)
        if isinstance(windows, Reply):
            return windows
        refusals: dict[str, str] = {}
        if source.accept_invalid_recipients:
            refusals = expansion.refusals(rcpts, source.suppression_lists, self.suppression)
        if source.bcc or session.writes_to_host or self.configuration.submitters.aliases:
            rcpts = expansion.expanded(rcpts, source.bcc, self.configuration, refusals)
            if len(rcpts) > ids.RECIPIENTS_MAX:
                return TOO_MANY_RCPTS
        mail_from = rules.rewrites.sender(mail.mail_from)
        message_id = self._spool.next_message_id()
        envelope = Envelope(
            message_id=message_id,
            mail_from=mail_from,
            time_queued=now,
            size=content.size if isinstance(content, FileContent) else len(content),
            head_size=len(head),
            has_leading_dot=has_leading_dot,
            is_8bit=is_8bit,
            is_smtputf8=mail.smtputf8,
            requires_tls=mail.requires_tls,
            ret=mail.ret,
            suppresses_dsn=source.suppress_local_dsn,
            dsn_return="full" if source.dsn_return_default == "full" else "",
            env_id=mail.env_id or rules.env_id(found),
            job_id=rules.job_id(found, session.user, wishes.job_id),
            source_helo=session.helo,
            source_ip=session.peer_ip,
            listener_ip=session.local_ip,
            smtp_user=session.user,
            with_protocol=session.with_protocol,
            hide_source=source.hide_message_source,
            add_received=rules.adds_received,
            remove_fields=rules.remove_fields(found, head),
            adds_date=rules.adds_date_later(found),
            from_domains=rules.from_domains(head),
            is_verp=(source.verp_default or mail.is_verp)
            and bool(mail_from)
            and not wishes.has_own_sender,
            shows_vmta=rules.shows_vmta(found),
            dkim_options=found.get(X_DKIM_OPTIONS, "") if source.process_x_dkim_options else "",
            has_dkim_key=source.process_x_dkim_key and X_DKIM_KEY in found,
            added_fields=added_fields + rules.added_fields(found, message_id, now, host_name),
            refusals=refusals,
            vmta_by=wish.by,
            acct_headers=accounted(found, self.acct_headers),
            windows=windows,
        )
        priority = wishes.priority
        if priority is None and match is not None:
            priority = match.selection.priority
        routed = self._route(
            envelope, source, rcpts, wish.name, PRIORITY if priority is None else priority
        )
        return Taken(envelope, routed)

    def arrived(self, taken: Taken) -> Reply:
        """A message is on disk, and goes to its queues."""
        envelope, recipients = taken.envelope, taken.recipients
        traffic = self._traffic
        traffic.in_messages += 1
        traffic.in_recipients += len(recipients)
        traffic.in_octets += envelope.size
        self._inbox(recipients, clock.now())
        return Reply(250, (f"2.6.0 message received; id {ids.printed(envelope.message_id)}",))

    async def submit(
        self, envelope: Envelope, content: Content, rcpts: Sequence["RcptParameters"], *, vmta: str
    ) -> Reply | None:
        """Take mail of our own; a Reply says why not.

        It goes through the VirtualMTA or pool named, or, where there is none of that name (any
        more), through the one that any mail would go through.
        """
        now = clock.now()
        exists = self.configuration.vmta(vmta) or self.configuration.pool(vmta)
        routed = self._route(envelope, _OURSELVES, rcpts, vmta if exists else None, PRIORITY)
        refusal = await self._commit(envelope, content, routed, now)
        if refusal is None:
            self._inbox(routed, clock.now())
        return refusal

    async def _commit(
        self, envelope: Envelope, content: Content, recipients: list[Recipient], now: float
    ) -> Reply | None:
        """Put a message on disk; a Reply if that could not be done."""
        try:
            await self._keep(envelope, content, recipients, self.receipts(recipients, now))
        except SpoolError as error:
            return self.not_stored(error)
        return None

    def receipts(self, recipients: Sequence[Recipient], now: float) -> "list[Record]":
        """The `r` records, if any file wants them."""
        if "r" not in self.wanted_kinds:
            return []
        return [build.receipt_record(recipient, now) for recipient in recipients]

    def not_stored(self, error: BaseException) -> Reply:
        """The spool did not take a message; any other error is raised."""
        match error:
            case SpoolFullError():
                self.refused.add(452, str(error))
                return DISK_FULL
            case SpoolError():
                self.refused.add(451, str(error))
                return SPOOL_BROKEN
            case _:
                raise error

    def _route(
        self,
        envelope: Envelope,
        source: SourceSettings,
        rcpts: Sequence["RcptParameters"],
        wanted: str | None,
        priority: int,
    ) -> list[Recipient]:
        """A queue for each recipient; `wanted` is the VirtualMTA or pool they all ask for."""
        chosen: dict[tuple[str, str], tuple[QueueKey, str]] = {}
        diverted: dict[QueueKey, str] | None = {} if envelope.source_type == "smtp" else None
        recipients = []
        for index, rcpt in enumerate(rcpts):
            domain = address.domain_of(rcpt.address)
            if rcpt.address in envelope.refusals:
                domain = INVALID_DOMAIN
            by = address.domain_of(rcpt.chosen_by) if rcpt.chosen_by else domain
            found = chosen.get((by, domain))
            if found is None:
                choice = select.choose(
                    self.configuration,
                    source,
                    by,
                    wanted,
                    self._turns,
                    listener_ip=envelope.listener_ip,
                )
                found = QueueKey(domain, choice.vmta), choice.pool
                if self._router.is_used:
                    found = self._router.end(*found, diverted)
                chosen[by, domain] = found
            queue, pool_name = found
            recipients.append(
                Recipient(
                    recipient_id=ids.recipient_id(envelope.message_id, index),
                    envelope=envelope,
                    address=rcpt.address,
                    queue=queue,
                    due=envelope.due,
                    pool=pool_name,
                    orcpt=rcpt.orcpt,
                    notify=rcpt.notify,
                    priority=priority,
                )
            )
        return recipients

    def _rules_of(self, source: SourceSettings) -> SubmissionRules:
        rules = self._rules.get(id(source))
        if rules is None:
            if len(self._rules) >= RULES_MAX:
                self._rules.clear()
            rules = SubmissionRules.of(source, self.configuration, self.acct_headers)
            self._rules[id(source)] = rules  # It holds its source: the id stays its own.
        return rules

    def _no_service(self) -> Reply:
        return Reply(521, (f"{self.configuration.root.host_name} does not accept mail from you",))


def _has_too_many_hops(head: bytes, source: SourceSettings) -> bool:
    most = source.max_message_hops
    # A header block of few lines has fewer hops: most need no closer look.
    return head.count(b"\n") > most and len(_RECEIVED.findall(head)) > most
