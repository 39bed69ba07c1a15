"""The tables of a spool database, and how rows become values and back.

message     envelope (JSON of what differs from the defaults) and content; content is
            NULL where it is a file
recipient   who still waits. The index on (queue, priority, due, id) is the order of delivery
queue       names of queues, small numbers for them, and what of them outlives a restart
record      accounting records not yet in their files: one row for each commit
try         what recipients that wait were answered
cold        how many messages VirtualMTAs being warmed up took today, and how far they are
position    how far each accounting file is good
piece       of accounting files: when those being written began, where those that are complete
            go to; the last of each, even if it is gone, because its name is not used again
report      notifications that are owed
counter     the next block of message ids; the last outbox row that was ever written to files;
            the last look for mail that is delayed; of the journal that stands before the
            database (`spool/journal.py`) its mark and the generation last taken in

Where several shards share the work (docs/design/0008-workers.md):

staged      recipients of queues that another shard owns, which has not taken them yet
receipt     records of staged parcels that go with them: the owner may have both already
taken       parcels of other shards that are here, until their senders have heard of it
written     how far the outboxes of other shards are in the accounting files
"""

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import MISSING, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple
from zlib import crc32

from mta import ids
from mta.errors import SpoolDamagedError, SpoolError
from mta.model.message import Content, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool import tries

PAGE_OCTETS: Final = 16384
"""A 5 KB message fits a page, so it is written as one."""
WAL_PAGES: Final = 2000
"""Pages in the log before they go to the database: messages that come and go meanwhile
never do. About 32 MB."""
CACHE_KIB: Final = 64 << 10
STATEMENTS_MAX: Final = 256
"""Statements that stay prepared: more than the writer has (`tables.ROWS_MAX`)."""

TABLES: Final = """
CREATE TABLE message (id INTEGER PRIMARY KEY, envelope TEXT NOT NULL, content BLOB);
CREATE TABLE recipient (
    id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, due REAL NOT NULL, size INTEGER NOT NULL,
    address TEXT NOT NULL, pool TEXT NOT NULL, orcpt TEXT NOT NULL, notify TEXT NOT NULL,
    attempts INTEGER NOT NULL, last_reply TEXT NOT NULL,
    priority INTEGER NOT NULL DEFAULT 50, sum INTEGER
);
CREATE INDEX recipient_due ON recipient (queue, priority, due, id, size);
CREATE TABLE queue (
    id INTEGER PRIMARY KEY, domain TEXT NOT NULL, vmta TEXT NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0, retry_position INTEGER NOT NULL DEFAULT 0,
    UNIQUE (domain, vmta)
);
CREATE TABLE record (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE position (name TEXT PRIMARY KEY, file TEXT NOT NULL, octets INTEGER NOT NULL);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""

MIGRATIONS: Final = (
    # To version 2: recipients have a priority.
    (
        "ALTER TABLE recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 50;"
        "DROP INDEX recipient_due;"
        "CREATE INDEX recipient_due ON recipient (queue, priority, due, id, size);"
    ),
    # To version 3: a row says whether it is what was written.
    "ALTER TABLE recipient ADD COLUMN sum INTEGER;",
    # To version 4: a journal stands before it, which older programs do not know of.
    "",
)
"""The k-th makes a spool of version k one of version k + 1."""
VERSION: Final = len(MIGRATIONS) + 1

SHARED_TABLES: Final = """
CREATE TABLE IF NOT EXISTS staged (
    recipient INTEGER PRIMARY KEY, parcel INTEGER NOT NULL, owner INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS staged_owner ON staged (owner, parcel);
CREATE TABLE IF NOT EXISTS receipt (
    parcel INTEGER PRIMARY KEY, owner INTEGER NOT NULL, body TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS taken (parcel INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS written (shard INTEGER PRIMARY KEY, upto INTEGER NOT NULL);
"""

PIECE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS piece (
    path TEXT PRIMARY KEY, move_to TEXT NOT NULL, begun REAL NOT NULL
);
"""

REPORT_TABLE: Final = """
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, content BLOB NOT NULL
);
"""

ASKS_OF_DELAY: Final = "instr(notify, 'DELAY') > 0"
DELAY_INDEX: Final = (
    f"CREATE INDEX IF NOT EXISTS recipient_delay ON recipient (id) WHERE {ASKS_OF_DELAY};"
)

COLD_TABLE: Final = """
CREATE TABLE IF NOT EXISTS cold (
    warm TEXT NOT NULL, cold TEXT NOT NULL, domain TEXT NOT NULL,
    day INTEGER NOT NULL, position INTEGER NOT NULL, messages INTEGER NOT NULL,
    PRIMARY KEY (warm, cold, domain)
) WITHOUT ROWID;
"""

RECIPIENT_COLUMNS: Final = (
    "recipient.id, address, due, pool, orcpt, notify, attempts, last_reply, priority,"
    " recipient.sum, recipient.size, envelope, domain, vmta"
)
_SUMS: Final = '{"sums":"'
"""How a stored envelope begins, where it has checksums: eight digits for the rest of it, and
eight for the content."""
_SUMS_OCTETS: Final = len(_SUMS) + 16 + len('",')

_DEFAULTS: Final[dict[str, Any]] = {
    field.name: field.default if field.default is not MISSING else {}
    for field in fields(Envelope)
    if field.default is not MISSING or field.default_factory is not MISSING
}
_REQUIRED: Final = tuple(f.name for f in fields(Envelope) if f.name not in _DEFAULTS)
_OWN: Final = ("env_id", "job_id", "added_fields", "refusals", "acct_headers")
"""What messages of one sender may each have another of; the rest is made into text once."""
_COMMON: Final = tuple(name for name in _DEFAULTS if name not in (*_OWN, "from_domains"))
_COMMON_DEFAULTS: Final = tuple(_DEFAULTS[name] for name in _COMMON)
_COMMON_MAX: Final = 1000
_required_of: Final = attrgetter(*_REQUIRED)
_own_of: Final = attrgetter(*_OWN)
_common_of: Final = attrgetter(*_COMMON)
_common_texts: Final[dict[tuple[Any, ...], str]] = {}
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_IS_SORTED, _SKIPS_KEYS, _ALLOWS_NAN = False, False, True
_chunks: Final = json.encoder.c_make_encoder(  # type: ignore[attr-defined]  # typeshed lacks it
    None, _ENCODER.default, json.encoder.encode_basestring, None, ":", ",",
    _IS_SORTED, _SKIPS_KEYS, _ALLOWS_NAN,
)  # fmt: skip
"""What `_ENCODER` makes anew for each text, which takes longer than most texts."""


def connect(path: str) -> sqlite3.Connection:
    """An open connection, the tables made if there are none; SpoolError if it is no spool."""
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_MAX
    )
    try:
        connection.execute(f"PRAGMA page_size={PAGE_OCTETS}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version:
            connection.executescript(f"BEGIN;{TABLES}PRAGMA user_version={VERSION};COMMIT;")
        elif version <= VERSION:
            for step in range(version, VERSION):
                script = f"BEGIN;{MIGRATIONS[step - 1]}PRAGMA user_version={step + 1};COMMIT;"
                connection.executescript(script)
        else:
            raise SpoolError(f"{path} was written by another version ({version}) of the program")
        connection.executescript(
            f"BEGIN;{SHARED_TABLES}{COLD_TABLE}{PIECE_TABLE}{REPORT_TABLE}{DELAY_INDEX}"
            f"{tries.TABLE}COMMIT;"
        )
        tries.forget_strays(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise SpoolError(f"{path} cannot be opened: {error}") from error
    return connection


def table_names(connection: sqlite3.Connection) -> list[str]:
    """The tables of an open database, those that others refer to first."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    return [name for (name,) in rows if not name.startswith("sqlite_")]


def envelope_text(envelope: Envelope) -> str:
    """An envelope as text."""
    values = dict(zip(_REQUIRED, _required_of(envelope), strict=True))
    own = _own_of(envelope)
    if any(own):
        values |= {name: value for name, value in zip(_OWN, own, strict=True) if value}
    common = _common_of(envelope)
    key = (common, *envelope.from_domains.items())
    text = _common_texts.get(key)
    if text is None:
        text = _common_text(common, envelope.from_domains)
        if len(_common_texts) >= _COMMON_MAX:
            _common_texts.clear()
        _common_texts[key] = text
    return json_text(values)[:-1] + text


def _common_text(common: tuple[Any, ...], from_domains: dict[str, str]) -> str:
    """What ends the text of an envelope."""
    named = zip(_COMMON, common, _COMMON_DEFAULTS, strict=True)
    values = {name: value for name, value, usual in named if value != usual}
    if from_domains:
        values["from_domains"] = from_domains
    return f",{json_text(values)[1:]}" if values else "}"


def stored_text(envelope: Envelope, content: Content) -> str:
    """An envelope as stored, with checksums of itself and of content."""
    rest = envelope_text(envelope)[1:]
    sum_of_content = content.crc or 0 if isinstance(content, FileContent) else crc32(content)
    return f'{_SUMS}{crc32(rest.encode()):08x}{sum_of_content:08x}",{rest}'


def envelope_of(text: str) -> Envelope:
    """The envelope of a text, stored or not; SpoolDamagedError if it is not what was written."""
    if text.startswith(_SUMS):
        rest = text[_SUMS_OCTETS:]
        if text[len(_SUMS) : len(_SUMS) + 8] != f"{crc32(_octets(rest)):08x}":
            raise SpoolDamagedError("the envelope is not what was written")
        text = f"{{{rest}"
    values = json.loads(text)
    if "remove_fields" in values:
        values["remove_fields"] = tuple(values["remove_fields"])
    if "windows" in values:
        values["windows"] = tuple((start, end) for start, end in values["windows"])
    return Envelope(**values)


def content_sum(text: str) -> int | None:
    """The checksum of the content of a stored envelope; None if it has none.

    SpoolDamagedError if what stands there is no number. A file without one has 0.
    """
    if not text.startswith(_SUMS):
        return None
    at = len(_SUMS) + 8
    try:
        return int(text[at : at + 8], 16)
    except ValueError:
        raise SpoolDamagedError("the envelope is not what was written") from None


def recipient_sum(number: int, address: str, orcpt: str, notify: str) -> int:
    """The checksum of what never changes in the row of a recipient."""
    return crc32(_octets(f"{number} {address} {orcpt} {notify}"))


def json_text(values: object) -> str:
    """Values as JSON. ValueError or TypeError if there is no JSON for one of them."""
    return "".join(_chunks(values, 0))


class Rows(NamedTuple):
    """Recipients read, and those whose row or message is not what was written."""

    recipients: list[Recipient]
    damaged: list[Recipient]
    """With an empty envelope, and whatever stands in their row for an address."""


def recipients_of(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """The recipients of rows of RECIPIENT_COLUMNS; those of one message share its envelope."""
    found = Rows([], [])
    envelopes: dict[int, Envelope] = {}
    for row in rows:
        try:
            found.recipients.append(recipient_of(row, envelopes))
        except (SpoolDamagedError, ValueError, TypeError):
            found.damaged.append(_damaged(row))
    return found


def recipient_of(row: tuple[Any, ...], envelopes: dict[int, Envelope]) -> Recipient:
    """The recipient of a row of RECIPIENT_COLUMNS; envelopes shares those of one message.

    SpoolDamagedError if row or envelope is not what was written.
    """
    number, address, due, pool, orcpt, notify, attempts, last_reply, priority, *rest = row
    stored_sum, _, text, domain, vmta = rest
    if stored_sum is not None and stored_sum != recipient_sum(number, address, orcpt, notify):
        raise SpoolDamagedError("the recipient is not what was written")
    envelope = envelopes.get(number >> 16)
    if envelope is None:
        envelope = envelopes[number >> 16] = envelope_of(text)
    return Recipient(
        recipient_id=number,
        envelope=envelope,
        address=address,
        queue=QueueKey(domain, vmta),
        due=due,
        pool=pool,
        orcpt=orcpt,
        notify=notify,
        priority=priority,
        attempts=attempts,
        last_reply=last_reply,
    )


def _damaged(row: tuple[Any, ...]) -> Recipient:
    number, address = int(row[0]), str(row[1])
    shown = "".join(c if c.isprintable() and c.isascii() else "?" for c in address)
    envelope = Envelope(
        message_id=ids.message_of(number), mail_from="", time_queued=0.0, size=row[10], head_size=0
    )
    return Recipient(number, envelope, shown, QueueKey(row[-2], row[-1]), 0.0)


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def records_text(records: list[Record]) -> str:
    """Records of one commit as stored."""
    return json_text(records)


def records_of(text: str) -> list[Record]:
    """The records stored as text."""
    return [Record(kind, values) for kind, values in json.loads(text)]
