"""Accounting: each record is in the files exactly once, whatever happens in between."""

import asyncio
import os
from dataclasses import dataclass, field

import pytest

from mta.accounting.writer import AccountingWriter
from mta.model.record import Record
from mta.spool.store import Spool
from mta.units import UNLIMITED

DAY = 86400


@dataclass
class Settings:
    path: str
    records: tuple = ("d",)
    record_fields: tuple = (("d", ("rcpt",)),)
    map_header_to_field: tuple = ()
    iso_times: bool = True
    user_string: str = ""
    move_to: str = ""
    move_interval: int = DAY
    max_size: int = UNLIMITED
    delete_after: int | None = 8 * DAY
    world_readable: bool = False
    sync: bool = False
    log: list = field(default_factory=list)


def rows(directory):
    found = []
    for path in sorted(directory.glob("acct-*.csv")):
        lines = path.read_text().splitlines()
        if not lines:
            continue  # A piece is there a moment before its header is.
        assert lines[0] == "type,rcpt"
        found += [line.split(",")[1] for line in lines[1:]]
    return found


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.02)


class Place:
    """A spool and its accounting, that can be broken off and begun again."""

    def __init__(self, directory, now=lambda: 1_000_000.0, **settings):
        self.directory = directory
        self.settings = Settings(str(directory / "acct.csv"), **settings)
        self.now = now
        self.log = []

    async def __aenter__(self):
        self.spool = Spool.open(self.directory / "spool")
        self.writer = AccountingWriter(
            self.spool.outbox, [self.settings], log=self.log.append, now=self.now
        )
        await self.writer.start()
        return self

    async def __aexit__(self, *_):
        await self.writer.stop()
        await self.spool.close()

    async def record(self, *names):
        await self.spool.settle((), (), [Record("d", {"rcpt": name}) for name in names])

    async def round_over(self):
        async with asyncio.timeout(10):
            while await self.spool.outbox.pending() or self.writer._tidy_at == 0:
                await asyncio.sleep(0.02)


async def test_records_are_written_and_leave_the_outbox(tmp_path):
    async with Place(tmp_path) as place:
        await place.record("a", "b")
        await place.record("c")
        await until(lambda: rows(tmp_path) == ["a", "b", "c"])
    async with Place(tmp_path) as place:
        assert await place.spool.outbox.pending() == []
        await place.record("d")
    assert rows(tmp_path) == ["a", "b", "c", "d"]
    assert len(list(tmp_path.glob("acct-*"))) == 1


async def test_rows_beyond_the_noted_position_are_cut_off_and_written_again(tmp_path):
    async with Place(tmp_path) as place:
        await place.record("a")
    # What a crash after the append and before the note leaves: rows, and their records.
    (path,) = tmp_path.glob("acct-*.csv")
    with path.open("ab") as file:
        file.write(b"d,b\r\nd,half of a ro")
    spool = Spool.open(tmp_path / "spool")
    await spool.settle((), (), [Record("d", {"rcpt": "b"})])
    await spool.close()
    async with Place(tmp_path):
        pass
    assert rows(tmp_path) == ["a", "b"]


async def test_a_new_piece_begins_when_told_and_by_size(tmp_path):
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        place.writer.rotate()
        await place.record("b")
    assert sorted(path.name[-8:] for path in tmp_path.glob("acct-*")) == ["0000.csv", "0001.csv"]
    assert rows(tmp_path) == ["a", "b"]


async def test_a_new_day_begins_a_new_piece_and_old_ones_are_deleted(tmp_path):
    now = [1_000_000.0]
    async with Place(tmp_path, now=lambda: now[0]) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        await place.round_over()
        (first,) = tmp_path.glob("acct-*.csv")
        os.utime(first, (now[0], now[0]))
        now[0] += 9 * DAY
        await place.record("b")
        await until(lambda: rows(tmp_path) == ["b"])
    assert not first.exists()
    assert any("delete-after" in line for line in place.log)


async def test_complete_pieces_are_moved(tmp_path):
    done = tmp_path / "done"
    async with Place(tmp_path, move_to=str(done)) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        place.writer.rotate()
        await place.record("b")
    assert rows(done) == ["a"]
    assert rows(tmp_path) == ["b"]


async def test_records_wait_in_the_spool_while_the_file_cannot_be_written(tmp_path):
    blocked = tmp_path / "here"
    blocked.write_text("not a directory")
    spool = Spool.open(tmp_path / "spool")
    log = []
    writer = AccountingWriter(spool.outbox, [Settings(str(blocked / "acct.csv"))], log=log.append)
    await writer.start()
    await spool.settle((), (), [Record("d", {"rcpt": "a"})])
    await until(lambda: bool(log))
    assert "wait in the spool" in log[0]
    await writer.stop()
    blocked.unlink()
    writer = AccountingWriter(spool.outbox, [Settings(str(blocked / "acct.csv"))], log=log.append)
    await writer.start()
    await until(lambda: blocked.is_dir() and rows(blocked) == ["a"])
    await writer.stop()
    await spool.close()


@pytest.mark.parametrize("readable", [True, False])
async def test_files_are_readable_by_others_only_if_asked(tmp_path, readable):
    async with Place(tmp_path, world_readable=readable) as place:
        await place.record("a")
    (path,) = tmp_path.glob("acct-*.csv")
    assert bool(path.stat().st_mode & 0o004) == readable
