"""The owner's side of a handover: other shards bring mail for the queues of this one.

What is acknowledged is on this shard's disk. A parcel that comes again, because its sender
could not know whether it arrived, is acknowledged again and not taken twice.
"""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mta import clock, failpoints, ids
from mta.admin.socket_path import reachable
from mta.daemon.parcel_wire import (
    ACK,
    Delivered,
    Fate,
    Frame,
    Kind,
    fate_of,
    parcel_of,
    read_frame,
)
from mta.model.message import FileContent
from mta.spool import schema

if TYPE_CHECKING:
    from mta.model.message import Recipient
    from mta.model.record import Record
    from mta.spool.store import Spool

SOCKET_NAME: Final = "handover"
"""Of the socket in a shard's spool directory."""
READ_OCTETS: Final = 1 << 20


class RecordsInbox(Protocol):
    """Who writes the accounting rows of other shards; calls back when they are in the files."""

    def __call__(
        self, shard: int, row: int, records: "Sequence[Record]", written: Callable[[int], None]
    ) -> None: ...


class Takeover:
    """Listens in the spool directory of one shard while the context is open."""

    def __init__(
        self,
        spool: "Spool",
        *,
        inbox: "Callable[[Sequence[Recipient], float], None]",
        records_inbox: RecordsInbox | None,
        shards: int,
        log: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._inbox = inbox
        self._records_inbox = records_inbox
        self._shards = shards
        self._log = log
        self._taken: set[int] = set()
        self._coming: dict[int, asyncio.Future[None]] = {}
        """Parcels on their way to this disk."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Takeover":
        self._taken = await self._spool.parcels.taken()
        path = self._spool.directory / SOCKET_NAME
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            with reachable(path) as address:
                self._server = await asyncio.start_unix_server(
                    self._connected, address, limit=READ_OCTETS
                )
        finally:
            os.umask(mask)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        (self._spool.directory / SOCKET_NAME).unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = await read_frame(reader)
            greeting = json.loads(hello.text)
            if hello.kind != Kind.HELLO or greeting["shards"] != self._shards:
                raise ValueError("the greeting of another daemon")
            sender = int(greeting["shard"])
            while True:
                self._take(await read_frame(reader), sender, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender stopped or died; what it lacks it hands over again
        except (ValueError, KeyError, TypeError) as error:
            self._log(f"a worker handed over what cannot be read: {error!r}")
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _take(self, one: Frame, sender: int, writer: asyncio.StreamWriter) -> None:
        match one.kind:
            case Kind.PARCEL:
                self._take_parcel(one, writer)
            case Kind.FORGET:
                self._forget(sender, one.number)
            case Kind.RECORDS if self._records_inbox is not None:
                records = schema.records_of(one.text.decode("utf-8", "surrogateescape"))
                self._records_inbox(
                    sender, one.number, records, partial(_acknowledge, writer, Fate.WRITTEN)
                )
            case _:
                raise ValueError(f"a frame of kind {one.kind}")

    def _take_parcel(self, one: Frame, writer: asyncio.StreamWriter) -> None:
        number = one.number
        if number in self._taken:
            _acknowledge(writer, Fate.TAKEN, number)
            return
        if number in self._coming:
            # It came before, over a connection that broke or that waited too long.
            self._coming[number].add_done_callback(
                lambda done: _acknowledge(writer, fate_of(done), number)
            )
            return
        parcel = parcel_of(one)
        linked: Path | None = None
        if isinstance(parcel.content, FileContent):
            try:
                linked = _link(parcel.content.path, self._spool.spill_directory)
            except OSError as error:
                self._log(f"cannot take {parcel.content.path}: {error.strerror}")
                _acknowledge(writer, Fate.BROKEN, number)
                return
            parcel = parcel._replace(content=replace(parcel.content, path=linked))
        future = self._coming[number] = self._spool.begin_accept(
            parcel.envelope, parcel.content, parcel.recipients, parcel.records, parcel=number
        )
        future.add_done_callback(partial(self._committed, number, parcel, linked, writer))

    def _committed(
        self,
        number: int,
        parcel: Delivered,
        linked: Path | None,
        writer: asyncio.StreamWriter,
        done: "asyncio.Future[None]",
    ) -> None:
        del self._coming[number]
        fate = fate_of(done)
        if fate is Fate.TAKEN:
            self._taken.add(number)
            if isinstance(parcel.content, bytes):
                self._spool.keep(parcel.envelope.message_id, parcel.content, len(parcel.recipients))
            self._inbox(parcel.recipients, clock.now())
        if linked is not None:
            linked.unlink(missing_ok=True)
        failpoints.reach("handover.before-acknowledge")
        _acknowledge(writer, fate, number)

    def _forget(self, sender: int, below: int) -> None:
        mask = ids.SHARDS_MAX - 1
        self._taken = {n for n in self._taken if n >= below or n & mask != sender}
        forgotten = self._spool.parcels.forget(sender, below)
        # A disk in trouble is complained of by those who wait for it.
        forgotten.add_done_callback(lambda done: done.exception())


def _acknowledge(writer: asyncio.StreamWriter, fate: Fate, number: int) -> None:
    if not writer.is_closing():
        writer.write(ACK.pack(fate, number))


def _link(path: Path, directory: Path) -> Path:
    """A second name of a file, in a directory on the same disk."""
    descriptor, name = tempfile.mkstemp(dir=directory)
    os.close(descriptor)
    linked = Path(name)
    linked.unlink()
    linked.hardlink_to(path)
    return linked
