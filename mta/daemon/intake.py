"""From an accepted SMTP transaction to durable recipients in their queues.

The order is fixed: read the header block, choose a VirtualMTA for each recipient, commit to
the spool, tell the scheduler, answer 250. Nothing is in a queue that is not on disk.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mta import address, clock, ids
from mta.accounting import build
from mta.admin.traffic import TrafficCounters
from mta.daemon import expansion
from mta.daemon.refused import Refused
from mta.daemon.sender_checks import SenderChecks
from mta.daemon.submission_rules import X_DKIM_KEY, X_DKIM_OPTIONS, SubmissionRules
from mta.daemon.suppression import Suppression
from mta.errors import SpoolError, SpoolFullError
from mta.model.message import PRIORITY, Content, Envelope, FileContent, Recipient
from mta.model.queue_key import INVALID_DOMAIN, QueueKey
from mta.model.reply import Reply
from mta.routing import pool, relay, select
from mta.settings.source import SourceSettings
from mta.smtp import header_block

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.router import Router
    from mta.model.record import Record
    from mta.net.reception import Session
    from mta.smtp.command import MailParameters, RcptParameters
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
TOO_MANY_RCPTS = Reply(554, ("5.5.3 too many recipients with those that aliases stand for",))
TOO_MANY_HOPS = Reply(554, ("5.4.6 the message has passed too many hosts; look for a mail loop",))
DISK_FULL = Reply(452, ("4.3.1 the spool is full; try again later",))
SPOOL_BROKEN = Reply(451, ("4.3.0 the message could not be stored; try again later",))
RULES_MAX: Final = 10_000
"""Sources whose rules are remembered; a few hundred octets each."""
_OURSELVES: Final = SourceSettings(process_x_virtual_mta=True)
"""What holds for mail of our own: nothing limits it, and it may say its VirtualMTA."""


class Keep(Protocol):
    """What puts a message on disk; it is there when this returns. SpoolFullError, SpoolError."""

    async def __call__(
        self,
        envelope: Envelope,
        content: Content,
        recipients: Sequence[Recipient],
        records: "Sequence[Record]",
    ) -> None: ...


class Inbox(Protocol):
    """Where committed recipients go: the scheduler of this shard."""

    def __call__(self, recipients: Sequence[Recipient], now: float) -> None: ...


class Intake:
    """The `Reception` of every listener of one shard."""

    def __init__(
        self,
        configuration: "Configuration",
        spool: "Spool",
        *,
        suppression: Suppression,
        checks: SenderChecks,
        keep: Keep,
        router: "Router",
        inbox: Inbox,
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
        self._router = router
        self._inbox = inbox
        self._traffic = traffic
        self._log = log
        self.refused = Refused(log)
        self._turns = pool.Turns()
        self._trusted: tuple[SourceSettings, SourceSettings] | None = None
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

    # Reception

    def log(self, text: str) -> None:
        """One line of the log."""
        self._log(text)

    def open_session(self, session: "Session") -> Reply | None:
        """A Reply refuses the connection.

        A client on this very host that no <source> speaks of is taken at its word about
        VirtualMTAs and jobs.
        """
        if session.is_local and not session.source_matched:
            session.source = self._trusting(session.source)
        if self.is_stopping:
            return STOPPING
        if session.source.smtp_service:
            return None
        return Reply(521, (f"{self.configuration.root.host_name} does not accept mail from you",))

    def mail(self, session: "Session", mail: "MailParameters") -> Reply | None:
        """A Reply refuses the sender."""
        if session.source.require_auth and not session.user:
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
        source = session.source
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
        source = session.source
        head = await _head_of(content, head_size)
        hops_max = source.max_message_hops
        # A header block of few lines has fewer hops: most need no closer look.
        if head.count(b"\n") > hops_max and len(_RECEIVED.findall(head)) > hops_max:
            return TOO_MANY_HOPS
        host_name = self.configuration.root.host_name
        added_fields = ""
        if session.gets_results:
            content, head, added_fields = await self._checks.results(
                session, content, head, host_name
            )
            head_size = len(head)
        rules = self._rules_of(source)
        found = header_block.find(head, rules.wanted)
        match = rules.match(mail.mail_from, [rcpt.address for rcpt in rcpts], head)
        wish = select.wish(self.configuration, source, rules.x_virtual_mta(found), match)
        if wish.error:
            return Reply(550, (wish.error,))
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
            head_size=head_size,
            has_leading_dot=has_leading_dot,
            is_8bit=is_8bit,
            is_smtputf8=mail.smtputf8,
            ret=mail.ret,
            suppresses_dsn=source.suppress_local_dsn,
            dsn_return="full" if source.dsn_return_default == "full" else "",
            env_id=mail.env_id or rules.env_id(found),
            job_id=rules.job_id(found, session.user),
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
            is_verp=source.verp_default and bool(mail_from),
            shows_vmta=rules.shows_vmta(found),
            dkim_options=found.get(X_DKIM_OPTIONS, "") if source.process_x_dkim_options else "",
            has_dkim_key=source.process_x_dkim_key and X_DKIM_KEY in found,
            added_fields=added_fields + rules.added_fields(found, message_id, now, host_name),
            refusals=refusals,
            vmta_by=wish.by,
            acct_headers={
                name.decode(): found[name] for name in self.acct_headers if name in found
            },
        )
        priority = match.selection.priority if match is not None else None
        routed = self._route(
            envelope, source, rcpts, wish.name, PRIORITY if priority is None else priority
        )
        refusal = await self._commit(envelope, content, routed, now)
        if refusal is not None:
            return refusal
        self._traffic.in_messages += 1
        self._traffic.in_recipients += len(routed)
        self._traffic.in_octets += envelope.size
        self._inbox(routed, clock.now())
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
        records: list[Record] = []
        if "r" in self.wanted_kinds:
            records = [build.receipt_record(recipient, now) for recipient in recipients]
        try:
            await self._keep(envelope, content, recipients, records)
        except SpoolFullError as error:
            self.refused.add(452, str(error))
            return DISK_FULL
        except SpoolError as error:
            self.refused.add(451, str(error))
            return SPOOL_BROKEN
        return None

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
                    due=envelope.time_queued,
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

    def _trusting(self, source: SourceSettings) -> SourceSettings:
        if self._trusted is None or self._trusted[0] is not source:
            trusted = replace(source, process_x_virtual_mta=True, process_x_job=True)
            self._trusted = (source, trusted)
        return self._trusted[1]


async def _head_of(content: Content, head_size: int) -> bytes:
    if isinstance(content, bytes):
        return content[:head_size]
    return await asyncio.to_thread(_read_head, content.path, head_size)


def _read_head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
