"""What becomes of the header block of a message that a source submits.

Which fields are instructions to us, which are not sent on, which are added. Worked out once
for each source and configuration; for a message only what its fields say is left to do.
Guide: header processing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from mta import ids
from mta.daemon import x_schedule
from mta.model.message import Window
from mta.model.pattern_list import PatternList
from mta.model.reply import Reply
from mta.routing.pattern_match import Match, first_match
from mta.settings.source import SourceSettings
from mta.smtp import header_block
from mta.smtp.rewriting import NO_REWRITES, RewriteList, domains_of

if TYPE_CHECKING:
    from mta.config.configuration import Configuration

X_VIRTUAL_MTA: Final = b"x-virtual-mta"
X_JOB: Final = b"x-job"
X_ENVID: Final = b"x-envid"
X_DKIM_OPTIONS: Final = b"x-dkim-options"
X_DKIM_KEY: Final = b"x-dkim-key"
X_SCHEDULE: Final = b"x-schedule"
DATE: Final = b"date"
MESSAGE_ID: Final = b"message-id"

ENVID_MAX: Final = 100
"""RFC 3461 §4.4."""
JOB_ID_MAX: Final = 1000
"""A job id is in every accounting row."""
ACCT_VALUE_MAX: Final = 4096
"""Of a field that accounting files have: it is in the row of each recipient."""
AUTH: Final = "{auth}"
"""Stands for the user in `jobid-prefix`."""

Found = dict[bytes, str]
"""The first value of each field looked for, by lower-case name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRules:
    """The rules of one source. Names are lower case."""

    source: SourceSettings
    pattern_list: PatternList | None
    wanted: frozenset[bytes]
    """Fields whose values are looked for."""
    spent: frozenset[bytes]
    """Instructions that are not sent on."""
    removed: frozenset[bytes]
    """Fields that are not sent on, and not added either."""
    removed_always: tuple[str, ...]
    """The fields of a message that are not sent on, if it has no instructions."""
    jobid_header: bytes
    rewrites: RewriteList

    @classmethod
    def of(
        cls,
        source: SourceSettings,
        configuration: "Configuration",
        acct_headers: frozenset[bytes],
    ) -> "SubmissionRules":
        """What a source says; accounting files may ask for more fields."""
        processed = {name for name, is_processed, _ in _instructions(source) if is_processed}
        jobid_header = source.jobid_header.lower().encode()
        wanted = processed | acct_headers | {jobid_header}
        if source.add_date_header == "yes":
            wanted.add(DATE)
        if source.add_message_id_header:
            wanted.add(MESSAGE_ID)
        if source.add_x_virtual_mta_header:
            wanted.add(X_VIRTUAL_MTA)
        removed = frozenset(name.lower().encode() for name in source.remove_header)
        always = {name.decode() for name in removed}
        if source.remove_received_headers:
            always.add("received")
        if source.add_date_header == "override":
            always.add("date")
        return cls(
            source=source,
            pattern_list=configuration.pattern_list(source.pattern_list),
            wanted=frozenset(wanted - {b""}),
            spent=frozenset(
                name
                for name, is_processed, is_retained in _instructions(source)
                if is_processed and not is_retained
            ),
            removed=removed,
            removed_always=tuple(sorted(always)),
            jobid_header=jobid_header,
            rewrites=configuration.rewrite_list(source.rewrite_list) or NO_REWRITES,
        )

    @property
    def adds_received(self) -> bool:
        return self.source.add_received_header and b"received" not in self.removed

    def from_domains(self, head: bytes) -> dict[str, str]:
        """What domains of the message's From field become."""
        if not self.rewrites.domains:
            return {}
        domains = [d for f in header_block.fields(head, b"from") for d in domains_of(f)]
        changed = {domain: self.rewrites.domain(domain) for domain in domains}
        return {domain: to for domain, to in changed.items() if to != domain}

    def match(self, mail_from: str, rcpts: Sequence[str], head: bytes) -> Match | None:
        """The rule of the source's pattern-list that the message meets."""
        if self.pattern_list is None:
            return None
        return first_match(
            self.pattern_list, mail_from, rcpts, lambda name: header_block.values(head, name)
        )

    def x_virtual_mta(self, found: Found) -> str | None:
        """The VirtualMTA that the message names, if it may."""
        return found.get(X_VIRTUAL_MTA) if self.source.process_x_virtual_mta else None

    def env_id(self, found: Found) -> str:
        """What X-Envid says, if it may; what cannot be an ENVID says nothing."""
        value = found.get(X_ENVID, "") if self.source.process_x_envid else ""
        return value if len(value) <= ENVID_MAX and value.isascii() else ""

    def job_id(self, found: Found, user: str, given: str | None = None) -> str:
        """What was given, else X-Job where it is processed, else what jobid-header names."""
        value = given
        if value is None and self.source.process_x_job:
            value = found.get(X_JOB)
        if value is None:
            value = found.get(self.jobid_header, "")
        prefix = self.source.jobid_prefix.replace(AUTH, user) if value else ""
        return f"{prefix}{value}"[:JOB_ID_MAX]

    def windows(self, found: Found, given: str | None = None) -> tuple[Window, ...] | Reply:
        """When what was given, else X-Schedule if it may, lets the message go.

        A Reply refuses what says no times.
        """
        name, value = "*schedule", given
        if value is None and self.source.process_x_schedule:
            name, value = "X-Schedule", found.get(X_SCHEDULE)
        if value is None:
            return ()
        try:
            return x_schedule.parse(value)
        except ValueError as error:
            return Reply(554, (f"5.6.0 {name}: {error}",))

    def remove_fields(self, found: Found, head: bytes) -> tuple[str, ...]:
        """Which of the message's own fields are not sent on."""
        names = {name.decode() for name in self.spent if name in found}
        is_told = self.source.retain_x_dkim_key or X_DKIM_KEY in self.spent
        if not (is_told and self.source.retain_x_schedule):
            names_there = head.lower()
            if not is_told and X_DKIM_KEY in names_there:
                # A private key goes nowhere only because nobody turned its use on.
                names.add(X_DKIM_KEY.decode())
            if not self.source.retain_x_schedule and X_SCHEDULE in names_there:
                names.add(X_SCHEDULE.decode())  # Guide: also where it is not processed.
        return tuple(sorted(names.union(self.removed_always))) if names else self.removed_always

    def added_fields(self, found: Found, message_id: int, now: float, host_name: str) -> str:
        """Fields that the message gets here and now, each with its line end."""
        source, added = self.source, ""
        if self._adds_date(found) and source.date_header_time == "reception":
            added += f"Date: {formatdate(now, localtime=True)}\r\n"
        if (
            source.add_message_id_header
            and MESSAGE_ID not in found
            and MESSAGE_ID not in self.removed
        ):
            added += f"Message-ID: <{ids.printed(message_id)}.{int(now):x}@{host_name}>\r\n"
        return added

    def adds_date_later(self, found: Found) -> bool:
        """Whether the message gets a Date field when it is delivered."""
        return self.source.date_header_time == "delivery" and self._adds_date(found)

    def shows_vmta(self, found: Found) -> bool:
        """Whether the message gets an X-Virtual-MTA field when it is delivered."""
        is_there = X_VIRTUAL_MTA in found and X_VIRTUAL_MTA not in self.spent
        is_added = self.source.add_x_virtual_mta_header and X_VIRTUAL_MTA not in self.removed
        return is_added and not is_there

    def _adds_date(self, found: Found) -> bool:
        wanted = self.source.add_date_header
        return (
            wanted != "no"
            and not (wanted == "yes" and DATE in found)
            and (DATE not in self.removed)
        )


def accounted(found: Found, names: Collection[bytes]) -> dict[str, str]:
    """What accounting files have of the fields of those names."""
    return {name.decode(): found[name][:ACCT_VALUE_MAX] for name in names if name in found}


def _instructions(source: SourceSettings) -> tuple[tuple[bytes, bool, bool], ...]:
    """The fields that may be instructions: whether they are processed, whether they are kept."""
    return (
        (X_VIRTUAL_MTA, source.process_x_virtual_mta, source.retain_x_virtual_mta),
        (X_JOB, source.process_x_job, source.retain_x_job),
        (X_ENVID, source.process_x_envid, False),
        (X_DKIM_OPTIONS, source.process_x_dkim_options, source.retain_x_dkim_options),
        (X_DKIM_KEY, source.process_x_dkim_key, source.retain_x_dkim_key),
        (X_SCHEDULE, source.process_x_schedule, source.retain_x_schedule),
    )
