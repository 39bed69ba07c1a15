"""Accounting: each record is in the files exactly once, whatever happens in between."""

import asyncio
import errno
import os
from dataclasses import dataclass, field

import pytest

from mta.accounting.csv_file import CsvFile
from mta.accounting.writer import AccountingWriter
from mta.daemon.handover import Handover
from mta.daemon.records import RecordForwarder
from mta.daemon.takeover import Takeover
from mta.errors import SpoolError
from mta.model.record import Record
from mta.spool.shards import shard_directory
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


def rows(directory, name="acct"):
    found = []
    for path in sorted(directory.glob(f"{name}-*.csv")):
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

    def __init__(self, directory, *others, now=lambda: 1_000_000.0, **settings):
        self.directory = directory
        self.settings = [
            Settings(str(directory / f"{name}.csv"), **settings) for name in ("acct", *others)
        ]
        self.now = now
        self.log = []

    async def __aenter__(self):
        self.spool = Spool.open(self.directory / "spool")
        self.writer = AccountingWriter(
            self.spool.outbox, self.settings, log=self.log.append, now=self.now
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


async def test_rows_of_another_worker_with_numbers_missing_are_written_once_and_the_link_stays(
    tmp_path,
):
    """A salvage leaves a gap, and so does a row that cannot be read."""
    connected = []
    async with Place(tmp_path) as place:
        root = place.spool.directory
        takeover = Takeover(
            place.spool,
            inbox=lambda *_: None,
            records_inbox=place.writer.take_from,
            shards=2,
            log=place.log.append,
        )
        other = Spool.open(shard_directory(root, 1), shard=1)
        for name in "abc":
            await other.settle((), (), [Record("d", {"rcpt": name})])
        await other._change(lambda c: c.execute("DELETE FROM record WHERE id = 2"))
        handover = Handover(other, root, shard=1, shards=2, log=place.log.append)
        forwarder = RecordForwarder(other.outbox, handover.links[0])
        await forwarder.start()
        begin = handover.links[0].on_connected
        handover.links[0].on_connected = lambda: connected.append(begin())
        async with takeover, handover:
            await until(lambda: rows(tmp_path) == ["a", "c"])
            other._writer._writer._record_id += 100_000
            await other.settle((), (), [Record("d", {"rcpt": "d"})])
            await until(lambda: rows(tmp_path) == ["a", "c", "d"])
            while await other.outbox.pending():
                await asyncio.sleep(0.02)
            await forwarder.stop()
        await other.close()
    assert len(connected) == 1
    assert rows(tmp_path) == ["a", "c", "d"]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


async def killed(*_):
    """The next start finds the spool as it was before this would have been noted."""
    raise SpoolError("killed")


async def test_rows_of_a_round_that_failed_are_not_left_in_a_piece_that_is_closed(
    tmp_path, monkeypatch
):
    """One file took them, the other has no room; meanwhile the day ends."""
    monkeypatch.setattr("mta.accounting.writer.RETRY_S", 0.05)
    now = [1_000_000.0]
    async with Place(tmp_path, "other", now=lambda: now[0]) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == rows(tmp_path, "other") == ["a"])
        await place.round_over()
        append = place.writer._files[1].csv.append
        monkeypatch.setattr(place.writer._files[1].csv, "append", full)
        await place.record("b")
        await until(lambda: place.log)
        now[0] += DAY
        monkeypatch.setattr(place.writer._files[1].csv, "append", append)
        await until(lambda: rows(tmp_path, "other") == ["a", "b"])
    assert rows(tmp_path) == rows(tmp_path, "other") == ["a", "b"]
    assert len(list(tmp_path.glob("acct-*"))) == 2


@pytest.mark.parametrize("step", ["append", "sync"])
async def test_a_piece_that_could_not_be_begun_gets_no_rows(tmp_path, monkeypatch, step):
    """It is not noted, so after a kill nobody would cut it off."""
    monkeypatch.setattr("mta.accounting.writer.RETRY_S", 0.05)
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        await place.round_over()
        place.writer.rotate()
        with monkeypatch.context() as patch:
            patch.setattr(CsvFile, step, full)
            await place.record("b")
            await until(lambda: len(place.log) > 1)
        save, saved = place.spool.outbox.save_positions, []

        def save_pieces(upto, *more):
            saved.append(upto)
            return save(upto, *more) if upto < 0 else killed()

        place.spool.outbox.save_positions = save_pieces
        await until(lambda: rows(tmp_path) == ["a", "b"] and 2 in saved)
    async with Place(tmp_path):
        pass
    assert rows(tmp_path) == ["a", "b"]
    assert len(list(tmp_path.glob("acct-*"))) == 2


async def test_a_rotation_that_was_told_is_not_forgotten_by_a_reload(tmp_path):
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        place.writer.rotate()
        place.writer.reload(place.settings)
        await until(lambda: place.writer._next_files is None)
        await place.record("b")
    assert rows(tmp_path) == ["a", "b"]
    assert len(list(tmp_path.glob("acct-*"))) == 2


@pytest.mark.parametrize("is_removed", [True, False])
async def test_a_reload_goes_on_with_the_piece_there_is(tmp_path, is_removed):
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        (piece,) = tmp_path.glob("acct-*")
        await place.round_over()
        if is_removed:
            piece.unlink()
        place.writer.reload(place.settings)
        await until(lambda: place.writer._next_files is None)
        await place.record("b")
    assert rows(tmp_path) == (["b"] if is_removed else ["a", "b"])
    assert len(list(tmp_path.glob("acct-*"))) == 1


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_other_columns_begin_a_new_piece(tmp_path, is_restarted):
    more = {"record_fields": (("d", ("rcpt", "orig")),)}
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        await place.round_over()
        if not is_restarted:
            place.writer.reload([Settings(place.settings[0].path, **more)])
            await place.record("b")
    if is_restarted:
        async with Place(tmp_path, **more) as place:
            await place.record("b")
    first, second = sorted(tmp_path.glob("acct-*"))
    assert first.read_text().split() == ["type,rcpt", "d,a"]
    assert second.read_text().split() == ["type,rcpt,orig", "d,b,"]


async def test_of_rows_that_failed_nothing_is_left_behind_shorter_ones(tmp_path, monkeypatch):
    """As after a reload: there are fewer or shorter columns in the same place."""
    monkeypatch.setattr("mta.accounting.writer.RETRY_S", 0.05)
    async with Place(tmp_path) as place:
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
        await place.round_over()
        csv = place.writer._files[0].csv
        with monkeypatch.context() as patch:
            patch.setattr(csv, "sync", full)
            await place.record("b" * 50)
            await until(lambda: place.log)
            place.writer._files[0].layout.lines = lambda records: (b"d,b\r\n", 1)
        await until(lambda: rows(tmp_path) == ["a", "b"])


async def test_where_several_pieces_begin_in_one_round_no_row_counts_before_its_end(
    tmp_path, monkeypatch
):
    async with Place(tmp_path, "other") as place:
        save = place.spool.outbox.save_positions
        place.spool.outbox.save_positions = lambda upto, *more: (
            save(upto, *more) if upto < 0 else killed()
        )
        await place.record("a")
    async with Place(tmp_path, "other"):
        pass
    assert rows(tmp_path) == rows(tmp_path, "other") == ["a"]
