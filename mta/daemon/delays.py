"""Has submitters told that mail waits, where they asked to be. Guide: notify-of-delay-every.

Whoever did not ask costs nothing: the spool has an index of those that did.
"""

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from mta import clock
from mta.bounces import dsn
from mta.bounces.dsn import Action, Told
from mta.model.attempt import Attempt
from mta.spool.delays import Look, Waiting

if TYPE_CHECKING:
    from mta.config.configuration import Configuration
    from mta.daemon.reports import Reports
    from mta.model.message import Recipient
    from mta.spool.store import Spool

LOOK_S: Final = 300.0
"""How late somebody may be told at least; a period is hours."""
REST: Final = 20
"""How many times as long as a look took nothing is done after it: a million recipients that
asked take a twentieth of one thread."""
PAGE_RECIPIENTS: Final = 500
"""Looked at at once; told of together, with their messages they are some 15 MB."""


class Context(Protocol):
    """What of the shard this depends on; a reload changes some of it."""

    configuration: "Configuration"

    @property
    def reports(self) -> "Reports": ...

    def log(self, text: str) -> None: ...


class Delays:
    """Of one shard. Mail that another shard takes meanwhile may be told of once more, or less."""

    def __init__(self, context: Context, spool: "Spool") -> None:
        self._context = context
        self._spool = spool
        self._at: Look | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await self._look()
            except Exception as error:  # telling of delays is not worth the service itself
                self._context.log(f"notifications of delay wait: {error!r}")
            await asyncio.sleep(max(LOOK_S, REST * (loop.time() - begun)))

    async def _look(self) -> None:
        """Look through the spool once, or on where an earlier life was."""
        delays = self._spool.reports.delays
        last = self._at or await delays.last()
        now = int(clock.now())
        # A clock that was set back must not have everybody wait until it has caught up.
        look = Look(min(last.until, now), now) if last.since == last.until else last
        has_told = look is last
        while page := await delays.waiting(look.after, PAGE_RECIPIENTS):
            look = look._replace(after=page[-1].recipient_id)
            due = [one for one in page if self._is_due(one, look)]
            if due:
                has_told |= await self._tell(await delays.recipients(due), look)
            self._at = look
        self._at = Look(look.until, look.until)
        if has_told:
            await delays.looked(self._at)

    def _is_due(self, one: Waiting, look: Look) -> bool:
        settings = self._context.configuration.domain(one.queue)
        every = settings.notify_of_delay_every
        waited = look.until - int(one.time_queued)
        if not every or waited >= settings.bounce_after:
            return False  # What is too old is given up, and that is told.
        before = max(look.since - int(one.time_queued), 0)
        return waited // every > before // every

    async def _tell(self, recipients: "list[Recipient]", look: Look) -> bool:
        """Have it told, if anybody wants to know; True if that is so."""
        told = [await self._told(r) for r in recipients if _is_late(r)]
        owed = self._context.reports.owe(told, look)
        if owed is not None:
            await owed
        return owed is not None

    async def _told(self, recipient: "Recipient") -> Told:
        tries = await self._spool.tries.of(recipient.envelope.message_id)
        of_it = tries.get(recipient.recipient_id, ())
        host = of_it[-1].host if of_it else ""
        settings = self._context.configuration.domain(recipient.queue)
        return Told(
            recipient=recipient,
            action=Action.DELAYED,
            status=dsn.status_of_delay(recipient.last_reply),
            diagnostic=recipient.last_reply,
            attempt=Attempt(remote_host=host),
            retry_until=recipient.envelope.expires_at(settings.bounce_after),
        )


def _is_late(recipient: "Recipient") -> bool:
    """Whether somebody is to be told; what waits for its schedule is not late."""
    is_scheduled = recipient.envelope.windows and not recipient.attempts
    return not is_scheduled and dsn.wants(recipient, Action.DELAYED)
