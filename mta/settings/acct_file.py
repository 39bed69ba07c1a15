"""The directives of files and directories: accounting, spool, log."""

from dataclasses import dataclass
from typing import ClassVar

from mta.settings.directive import directive, repeated
from mta.settings.kinds import (
    BOOLEAN,
    DIRECTORY,
    FILE,
    INTERVAL,
    INTERVAL_OR_NEVER,
    KEYED,
    OCTETS,
    TEXT,
    number,
)

DAY_S = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class AcctFileDirectives:
    """What `<acct-file>` may say."""

    scope: ClassVar[str] = "acct-file"

    records: str = directive(
        TEXT,
        "",
        "Record types written. Once per file.",
    )
    record_fields: tuple[str, ...] = repeated(
        TEXT,
        "Columns for one record type; first column is always type.",
    )
    map_header_to_field: tuple[str, ...] = repeated(
        TEXT,
        "Overwrite an accounting field with a message header if present; for the same "
        "target the first existing header wins; not for tq.",
    )
    move_to: str = directive(
        DIRECTORY,
        "",
        "Move finished files there (same volume).",
    )
    move_interval: int = directive(
        INTERVAL,
        86400,
        "Start a new file after this time. Without move-to it has no effect.",
    )
    max_size: int = directive(
        OCTETS,
        250 << 20,
        "Start a new file at this size, with or without move-to.",
    )
    delete_after: int | None = directive(
        INTERVAL_OR_NEVER,
        8 * DAY_S,
        "Delete old files when they are not moved elsewhere.",
    )
    queue_filter: str = directive(
        TEXT,
        "",
        "Ordered filter on the queue field for d,b,t,tq; first hit decides, no hit = not "
        "written; missing VMTA means {default}; other record types are always written.",
        not_yet=True,
    )
    iso_times: bool = directive(
        BOOLEAN,
        True,
        "Time stamps as YYYY-MM-DD HH:MM:SS+zzzz.",
    )
    user_string: str = directive(
        TEXT,
        "",
        "Constant stored in userString.",
    )
    world_readable: bool = directive(
        BOOLEAN,
        False,
        "Permissions of new files.",
    )
    count_moved_records: bool = directive(
        BOOLEAN,
        False,
        "Log the number of records when a file is moved.",
        no_effect="moved files are logged without counts",
    )
    sync: bool = directive(
        BOOLEAN,
        False,
        "Flush regularly.",
        no_effect="accounting files are always synced",
    )
    retry_interval: int = directive(
        INTERVAL,
        300,
        "Pipe: restart interval after failure.",
        not_yet=True,
    )
    write_timeout: int = directive(
        INTERVAL,
        60,
        "Pipe: give up on a write after this.",
        not_yet=True,
    )
    privacy_policy: str = directive(
        KEYED,
        "",
        "Mask or hash recipient local parts. In <signals> only retain | sha1.",
        not_yet=True,
    )
    http_webhook_url: str = directive(
        TEXT,
        "",
        "POST batches to this endpoint; the file path is used for staging.",
        not_yet=True,
    )
    http_webhook_extra_headers: str = directive(
        FILE,
        "",
        "Extra request headers.",
        not_yet=True,
    )
    http_webhook_certificate: str = directive(
        FILE,
        "",
        "Client certificate.",
        not_yet=True,
    )
    http_webhook_ca_file: str = directive(
        FILE,
        "",
        "CA bundle for the endpoint.",
        not_yet=True,
    )
    http_webhook_max_interval: int = directive(
        INTERVAL,
        300,
        "Longest batching time.",
        not_yet=True,
    )
    http_webhook_transfer_encoding: str = directive(
        TEXT,
        "",
        "Compress batches.",
        not_yet=True,
    )
    http_webhook_log_verbose: bool = directive(
        BOOLEAN,
        False,
        "More logging.",
        not_yet=True,
    )
    http_webhook_connect_timeout: int = directive(
        INTERVAL,
        5,
        "Connect limit.",
        not_yet=True,
    )
    http_webhook_io_timeout: int = directive(
        INTERVAL,
        5,
        "I/O limit.",
        not_yet=True,
    )
    directory: str = directive(
        DIRECTORY,
        "",
        "Where the file is, if the section names no path: DIRECTORY/acct.csv.",
        is_ours=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolDirectives:
    """What `<spool>` may say."""

    scope: ClassVar[str] = "spool"

    delete_file_holders: bool = directive(
        BOOLEAN,
        False,
        "Remove empty placeholder files kept to save I/O.",
        no_effect="the spool is a database",
    )
    deliver_only: bool = directive(
        BOOLEAN,
        False,
        "Drain this spool without writing new messages to it.",
        not_yet=True,
    )
    priority: int = directive(
        number(1, 100),
        1,
        "Spools with higher priority are filled first; equal ones are used in rotation.",
        not_yet=True,
    )
    min_free_space: int = directive(
        OCTETS,
        0,
        "Spool: stop accepting into it below this free space. Signals: start deleting "
        "pending upload files below it.",
        needs_restart=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRotateDirectives:
    """What the section `<log-rotate>` may say."""

    scope: ClassVar[str] = "log-rotate"

    directory: str = directive(
        DIRECTORY,
        "",
        "Where the log file is: DIRECTORY/log.",
        is_ours=True,
    )
    period: int = directive(
        INTERVAL,
        86400,
        "How often a new log file begins; a day, at midnight, is what there is.",
        is_ours=True,
    )
