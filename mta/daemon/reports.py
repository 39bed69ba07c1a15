"""Writes the notifications that are owed, and copies; at the start, those of an earlier life.

One that cannot be written, as its row is damaged or for a defect of ours, holds up no other: it
is kept in `damaged/` of the spool, and the log says whom it was for.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mta import clock, failpoints
from mta.address import domain_of
from mta.bounces import dsn
from mta.bounces.dsn import Style, Told
from mta.daemon.local_mail import Letter, LocalMail
from mta.errors import SpoolDamagedError, SpoolError
from mta.model.queue_key import DEFAULT_VMTA, QueueKey
from mta.units import print_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mta.config.configuration import Configuration
    from mta.model.message import Envelope
    from mta.settings.domain import DomainSettings
    from mta.spool.delays import Look
    from mta.spool.reports import Owed
    from mta.spool.store import Spool

STOP_WITHIN_S: Final = 5.0
RETRY_S: Final = 1.0
"""When a notification that the disk did not take is tried again, as an outcome is."""
PAGE_REPORTS: Final = 50
"""Notifications that are in memory at once; of full messages that is some 10 MB."""
TEMPLATE_OCTETS_MAX: Final = 64 << 10
SHOWN_MAX: Final = 1000
"""Characters of one that cannot be written that the log shows: sender and first recipients."""


class Reports:
    """The notifications of one shard."""

    def __init__(
        self,
        configuration: "Configuration",
        spool: "Spool",
        mail: LocalMail,
        log: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._mail = mail
        self._log = log
        self._owing = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_stopping = False
        self.follow(configuration)

    def follow(self, configuration: "Configuration") -> None:
        """Take a new configuration, and its template anew."""
        self._configuration = configuration
        self._body_template = self._read(configuration.root.dsn_failed_body_template_from)

    def owe(
        self, told: "Sequence[Told]", look: "Look | None" = None
    ) -> "asyncio.Future[None] | None":
        """Have submitters told; done when that is on disk. None if nobody wants to know.

        `look` is the one that found them, if they are delayed.
        """
        wanted = [one for one in told if self._settings_of(one).deliver_local_dsn]
        if not wanted:
            return None
        owed = self._spool.reports.put(wanted, look)
        owed.add_done_callback(lambda _: self._owing.set())
        return owed

    def owe_copies(self, copied: "Mapping[tuple[int, str], Envelope]") -> "asyncio.Future[None]":
        """Have copies of messages sent, by message and address; done when that is on disk."""
        owed = self._spool.reports.put_copies(
            [(envelope, address) for (_, address), envelope in copied.items()]
        )
        owed.add_done_callback(lambda _: self._owing.set())
        return owed

    async def run(self) -> None:
        """Write what is owed, first what an earlier life left, until cancelled."""
        while True:
            try:
                async with self._writing:
                    while not self._is_stopping and await self._write_page():
                        pass
            except SpoolError as error:
                self._log(f"notifications wait: {error}")
                await asyncio.sleep(RETRY_S)
                continue
            await self._owing.wait()
            self._owing.clear()

    async def stop(self) -> None:
        """Begin nothing more; returns when what was begun is written, or that takes too long.

        Between a notification and the note that it is written nothing is to be cancelled: it
        would be written again.
        """
        self._is_stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S), self._writing:
                pass

    async def _write_page(self) -> bool:
        """All at once, so that they share commits; False if nothing is owed.

        SpoolError after those that could be written.
        """
        owed = await self._spool.reports.pending(PAGE_REPORTS)
        if not owed:
            return False
        failpoints.reach("report.owed")
        results = await asyncio.gather(*map(self._write_one, owed), return_exceptions=True)
        for result in results:
            if result is not None:
                raise result
        return True

    async def _write_one(self, owed: "Owed") -> None:
        await self._write_or_set_aside(owed)
        # Not with the others of its page: one of them may wait for long.
        await self._spool.reports.written([owed.number])

    async def _write_or_set_aside(self, owed: "Owed") -> None:
        try:
            await self._write(owed)
        except Exception as error:
            if isinstance(error, SpoolError) and not isinstance(error, SpoolDamagedError):
                raise
            self._log(
                f"notification {owed.number} cannot be written ({error!r}) and is kept in damaged/ "
                f"of the spool; nobody is told what it says: {owed.body[:SHOWN_MAX]!a}"
            )
            await self._spool.reports.set_aside(owed.number)

    async def _write(self, owed: "Owed") -> None:
        if (copy := owed.copy) is not None:
            while (refusal := await self._mail.copy(copy[0], owed.content, copy[1])) is not None:
                if refusal.code // 100 != 4:
                    self._log(f"no copy to {copy[1]}: {refusal}")
                    return
                await asyncio.sleep(RETRY_S)
            return
        told = owed.told
        envelope = told[0].recipient.envelope
        mail_from = told[0].recipient.return_path
        octets = dsn.compose(told, owed.content, self._style(told[0]), now=clock.now())
        letter = Letter(recipients=(mail_from,), content=octets, requires_tls=envelope.requires_tls)
        while (refusal := await self._mail.submit(letter)) is not None:
            if refusal.code // 100 != 4:
                self._log(f"no notification to {mail_from}: {refusal}")
                return
            await asyncio.sleep(RETRY_S)

    def _settings_of(self, told: Told) -> "DomainSettings":
        """Of the domain that is told."""
        domain = domain_of(told.recipient.envelope.mail_from)
        return self._configuration.domain(QueueKey(domain, DEFAULT_VMTA))

    def _style(self, told: Told) -> Style:
        root = self._configuration.root
        recipient = told.recipient
        vmta = self._configuration.vmta(recipient.queue.vmta)
        settings = self._configuration.domain(recipient.queue)
        return Style(
            host_name=(vmta.host_name if vmta is not None else "") or root.host_name,
            is_plain=self._settings_of(told).dsn_format == "plain-text",
            returns_full=recipient.envelope.dsn_return == "full",
            from_field=root.custom_dsn_from_header,
            from_template=root.dsn_failed_from_template,
            subject_template=root.dsn_failed_subject_template,
            body_template=self._body_template,
            retry_after=print_interval(settings.retry_after[0]),
            bounce_after=print_interval(settings.bounce_after),
        )

    def _read(self, path: str) -> str:
        if not path:
            return ""
        try:
            with Path(path).open("rb") as file:
                return file.read(TEMPLATE_OCTETS_MAX).decode("utf-8", "replace")
        except OSError as error:
            self._log(f"dsn-failed-body-template-from {path} cannot be read: {error.strerror}")
            return ""
