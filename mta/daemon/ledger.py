"""What became of mail, on its way to disk: outcomes and their accounting records together."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol

from mta.accounting import build
from mta.bounces import dsn
from mta.bounces.dsn import Action, Told
from mta.model.attempt import Attempt, Try
from mta.model.message import LOCAL
from mta.queues.events import RecipientEvent
from mta.queues.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mta.bounces.categories import Categories
    from mta.daemon.reports import Reports
    from mta.model.message import Envelope, Recipient
    from mta.model.outcome import Bounced, Deferred, Delivered
    from mta.model.record import Record
    from mta.net.dialogue import Dialogue
    from mta.queues.connection import Connection
    from mta.settings.domain import DomainSettings
    from mta.spool.store import Spool

UNSETTLED_MAX = 256
"""Transactions whose outcome is known but not on disk yet: what a crash can double beyond
those in flight. At 5,000 messages a second it is 50 ms of work."""
NO_ATTEMPT = Attempt()


class Context(Protocol):
    """What of the shard a ledger depends on; a reload changes some of it."""

    categories: "Categories"
    wanted_kinds: frozenset[str]

    @property
    def reports(self) -> "Reports": ...

    def log(self, text: str) -> None: ...


class Accounted(Protocol):
    """What of a queue decides which records there are."""

    @property
    def settings(self) -> "DomainSettings": ...


class Ledger:
    """Outcomes that are known, and those of them that are not on disk yet."""

    def __init__(self, context: Context, spool: "Spool") -> None:
        self._context = context
        self._spool = spool
        self._unsettled: deque[asyncio.Future[None]] = deque()
        self._told: list[Told] = []
        """Outcomes of the next settlement that somebody is to be told of."""
        self._copied: dict[tuple[int, str], Envelope] = {}
        """By message and address: what the next settlement delivers and who gets a copy."""

    # Records

    def delivered(
        self,
        records: "list[Record]",
        queue: "Queue",
        recipient: "Recipient",
        outcome: "Delivered",
        attempt: Attempt,
        now: float,
    ) -> None:
        """Add the `d` record, if any file wants it, have the submitter told if it asked, and
        a copy sent. A message that goes to several recipients at once is copied once.
        """
        if queue.settings.track_recipient_events:
            _track(queue, "delivered", recipient, attempt, now, outcome.diagnostic)
        if self._wants("d", queue):
            records.append(build.delivery_record(recipient, outcome, attempt, now))
        if (
            recipient.notify
            and _is_relayed(attempt, queue)
            and dsn.wants(recipient, Action.RELAYED)
        ):
            self._told.append(
                Told(
                    recipient=recipient,
                    action=Action.RELAYED,
                    status=outcome.status,
                    diagnostic=outcome.diagnostic,
                    attempt=attempt,
                )
            )
        copied_to = queue.settings.bcc_upon_delivery
        if copied_to and attempt.delivery_type == "smtp":
            envelope = recipient.envelope
            # Not of a copy: it would come back as the next one for ever.
            if envelope.source_type != LOCAL:
                self._copied[envelope.message_id, copied_to] = envelope

    def bounced(
        self,
        records: "list[Record]",
        queue: Accounted,
        recipient: "Recipient",
        outcome: "Bounced",
        attempt: Attempt,
        now: float,
        *,
        is_accounted: bool = True,
        is_told: bool = True,
    ) -> None:
        """Add the `b` record, if any file wants it, and have the submitter told."""
        if queue.settings.track_recipient_events:
            status = build.printed_status(outcome.status, outcome.status_text)
            text = _printed(f"smtp;550 {status}", outcome.diagnostic)
            _track(queue, "bounced", recipient, attempt, now, text)
        is_accounted = is_accounted and self._wants("b", queue)
        is_told = is_told and dsn.wants(recipient, Action.FAILED)
        if not (is_accounted or is_told):
            return
        category = self._context.categories.category(outcome.status, outcome.diagnostic)
        if is_accounted:
            records.append(build.bounce_record(recipient, outcome, attempt, now, category=category))
        if is_told:
            self._told.append(
                Told(
                    recipient=recipient,
                    action=Action.FAILED,
                    status=outcome.status,
                    diagnostic=outcome.diagnostic,
                    words=outcome.status_text,
                    attempt=attempt,
                    category=category,
                )
            )

    def deferred(
        self,
        records: "list[Record]",
        queue: "Queue",
        recipient: "Recipient",
        outcome: "Deferred",
        attempt: Attempt,
        now: float,
    ) -> None:
        """Add the `t` record, if any file wants it."""
        if queue.settings.track_recipient_events:
            status = build.printed_status(outcome.status)
            text = _printed(f"smtp;450 {status}", outcome.diagnostic)
            _track(queue, "deferred", recipient, attempt, now, text)
        if self._wants("t", queue):
            category = self._context.categories.category(outcome.status, outcome.diagnostic)
            records.append(
                build.transient_record(recipient, outcome, attempt, now, category=category)
            )

    def queue_failure(
        self, queue: "Queue", deferred: "Deferred", attempt: Attempt, now: float
    ) -> None:
        """The `tq` record: the queue as a whole could not deliver."""
        if self._wants("tq", queue):
            record = build.transient_queue_record(queue.key, deferred, attempt, now)
            self.settle((), (), [record])

    def connection(
        self, connection: "Connection", dialogue: "Dialogue", reason: str, now: float
    ) -> None:
        """The `c` record: a connection is over."""
        if not self._wants("c", connection.queue):
            return
        record = build.connection_record(
            connection.queue.key,
            dialogue.attempt,
            connected_at=connection.opened_at,
            now=now,
            messages=connection.messages_delivered,
            recipients_delivered=connection.recipients_delivered,
            recipients_failed=connection.recipients_failed,
            octets=dialogue.octets_out,
            reason=reason,
        )
        self.settle((), (), [record])

    def _wants(self, kind: str, queue: Accounted) -> bool:
        return (
            kind in self._context.wanted_kinds and kind not in queue.settings.disable_acct_records
        )

    # The disk

    def settle(
        self,
        done: "Sequence[Recipient]",
        deferred: "Sequence[Recipient]",
        records: "Sequence[Record]",
        tried: Try | None = None,
    ) -> None:
        """Recipients that no longer wait, those that wait on, and what is to be accounted.

        `tried` is the connection that those who wait on were tried over.
        """
        if self._told:
            told, self._told = self._told, []
            owed = self._context.reports.owe(told)
            if owed is not None:
                self.follow(owed)
        if self._copied:
            copied, self._copied = self._copied, {}
            self.follow(self._context.reports.owe_copies(copied))
        self.follow(self._spool.settle(done, deferred, records, tried))

    def follow(self, settled: "asyncio.Future[None]") -> None:
        """Count something among what is on its way to disk."""
        unsettled = self._unsettled
        unsettled.append(settled)
        while unsettled and unsettled[0].done():
            self._check(unsettled.popleft())

    @property
    def is_full(self) -> bool:
        """Whether so much is on its way that nothing new is to be begun."""
        return len(self._unsettled) > UNSETTLED_MAX

    async def room(self) -> None:
        """Wait until the oldest is on disk."""
        oldest = self._unsettled.popleft()
        await asyncio.wait([oldest])
        self._check(oldest)

    async def close(self) -> None:
        """Wait until everything is on disk."""
        while self._unsettled:
            await self.room()

    def _check(self, settled: "asyncio.Future[None]") -> None:
        """What the spool could not write it will deliver again; that is for the log."""
        error = settled.exception()
        if error is not None:
            self._context.log(f"an outcome could not be written and may be repeated: {error}")


def _track(
    queue: Accounted,
    kind: Literal["delivered", "bounced", "deferred"],
    recipient: "Recipient",
    attempt: Attempt,
    now: float,
    text: str,
) -> None:
    """Have a queue of this shard remember it. The text is PowerMTA's, its 550 and 450 too."""
    if isinstance(queue, Queue):
        job_id = recipient.envelope.job_id
        queue.track(
            RecipientEvent(
                kind, now, attempt.source_ip, recipient.address, job_id, attempt.dsn_mta, text
            )
        )


def _printed(status: str, diagnostic: str) -> str:
    return f"{status};{diagnostic}" if diagnostic else status


def _is_relayed(attempt: Attempt, queue: "Queue") -> bool:
    """Whether the peer took it without being asked to tell of it (RFC 3461 §5.2.1)."""
    is_asked = "DSN" in attempt.esmtp.split(",") and not queue.settings.ignore_dsn
    return attempt.delivery_type == "smtp" and not is_asked
