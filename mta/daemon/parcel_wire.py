"""What crosses the socket between two shards: frames one way, acknowledgements the other.

Both ends are the same program, started by one supervisor. A frame is a fixed head, then a
JSON text, then content as it is. An acknowledgement says what became of a number.

    HELLO     the sender's shard and how many there are     first, once
    PARCEL    a message with recipients of the receiver's   number: the parcel
    FORGET    nothing numbered below comes again            number: the bound
    RECORDS   a row of the sender's accounting outbox       number: the row
"""

import asyncio
import enum
import json
import struct
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from mta.errors import SpoolError, SpoolFullError
from mta.model.message import Content, Envelope, FileContent, Recipient
from mta.model.queue_key import QueueKey
from mta.model.record import Record
from mta.spool import schema

HEAD: Final = struct.Struct(">BQII")
"""Kind, number, octets of the text, octets of the content."""
ACK: Final = struct.Struct(">BQ")
FRAME_OCTETS_MAX: Final = 64 << 20
"""A message has 65,536 recipients at most, of a few hundred octets each."""

_FIELDS: Final = tuple(f.name for f in fields(Recipient) if f.name != "envelope")
_values: Final = attrgetter(*_FIELDS)


class Kind(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    PARCEL = 2
    FORGET = 3
    RECORDS = 4


class Fate(enum.IntEnum):
    """What became of a number."""

    TAKEN = 0
    FULL = 1
    """The receiver's disk has no room; the parcel is not there."""
    BROKEN = 2
    """The receiver could not store it; the parcel is not there."""
    WRITTEN = 3
    """Outbox rows up to this one are in the accounting files."""


def fate_of(done: "asyncio.Future[None]") -> Fate:
    """What became of a parcel that the receiver's spool was given."""
    if done.cancelled():
        return Fate.BROKEN
    error = done.exception()
    if error is None:
        return Fate.TAKEN
    return Fate.FULL if isinstance(error, SpoolFullError) else Fate.BROKEN


def raise_refusal(fate: Fate) -> None:
    """A fate that is a refusal, as the spool would have raised it."""
    if fate is Fate.FULL:
        raise SpoolFullError("the disk of the worker that owns the queue is full")
    if fate is not Fate.TAKEN:
        raise SpoolError("the worker that owns the queue could not store the message")


class Frame(NamedTuple):
    """One frame as it was read."""

    kind: int
    number: int
    text: bytes
    content: bytes


class Delivered(NamedTuple):
    """What a PARCEL holds."""

    envelope: Envelope
    content: Content
    recipients: list[Recipient]
    records: list[Record]


def frame(kind: Kind, number: int, text: bytes = b"", content: bytes = b"") -> bytes:
    """The octets of a frame."""
    return b"".join((HEAD.pack(kind, number, len(text), len(content)), text, content))


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame; IncompleteReadError at the end, ValueError if it is none."""
    kind, number, text_octets, content_octets = HEAD.unpack(await reader.readexactly(HEAD.size))
    if text_octets + content_octets > FRAME_OCTETS_MAX:
        raise ValueError("a frame is longer than any can be")
    body = await reader.readexactly(text_octets + content_octets)
    return Frame(kind, number, body[:text_octets], body[text_octets:])


def parcel_frame(
    number: int,
    envelope: Envelope,
    content: Content,
    recipients: list[Recipient],
    records: list[Record],
) -> bytes:
    """A PARCEL. Content that is a file stays where it is; its path goes, and its checksum."""
    document: dict[str, Any] = {
        "envelope": schema.envelope_text(envelope),
        "recipients": [_values(recipient) for recipient in recipients],
    }
    if records:
        document["records"] = records
    octets = b""
    if isinstance(content, FileContent):
        document["file"] = str(content.path)
        document["crc"] = content.crc
    else:
        octets = content
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return frame(Kind.PARCEL, number, text.encode("utf-8", "surrogateescape"), octets)


def parcel_of(one: Frame) -> Delivered:
    """What a PARCEL holds. A file is the sender's, and is to be linked, not moved."""
    document = json.loads(one.text.decode("utf-8", "surrogateescape"))
    envelope = schema.envelope_of(document["envelope"])
    recipients = [_recipient(values, envelope) for values in document["recipients"]]
    content: Content = one.content
    if "file" in document:
        content = FileContent(Path(document["file"]), envelope.size, document["crc"])
    records = [Record(kind, values) for kind, values in document.get("records", ())]
    return Delivered(envelope, content, recipients, records)


def _recipient(values: list[Any], envelope: Envelope) -> Recipient:
    named = dict(zip(_FIELDS, values, strict=True))
    named["queue"] = QueueKey(*named["queue"])
    return Recipient(envelope=envelope, **named)
