"""Pieces of accounting files: none is kept back, lost, written over or written twice."""

import os
import shutil
import time

import pytest

from mta.spool.store import Spool
from tests.e2e.test_accounting_once import DAY, Place, Record, Settings, rows, until

HOUR = 3600
T0 = time.mktime((2026, 3, 4, 20, 0, 0, 0, 0, -1))
DATE = "2026-03-04"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("mta.accounting.writer.WAKE_S", 0.05)
    monkeypatch.setattr("mta.accounting.writer.WAKE_MIN_S", 0.05)


class Clock:
    def __init__(self):
        self.time = T0

    def __call__(self):
        return self.time


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="done")
def _done(tmp_path):
    return tmp_path / "done"


async def recorded(place, directory, *names):
    await place.record(*names)
    await until(lambda: rows(directory)[-len(names) :] == list(names))
    await place.round_over()


def names(directory):
    return sorted(path.name for path in directory.glob("acct-*"))


@pytest.mark.parametrize(
    ("settings", "later"), [({}, 4 * HOUR), ({"move_interval": 300}, 300), ({"max_size": 12}, 0)]
)
async def test_a_complete_piece_is_moved_though_no_row_comes(
    tmp_path, done, clock, settings, later
):
    async with Place(tmp_path, now=clock, move_to=str(done), **settings) as place:
        await recorded(place, tmp_path if later else done, "a")
        assert rows(done) == ([] if later else ["a"])
        clock.time += later
        await until(lambda: rows(done) == ["a"])
        await until(lambda: not place.writer._departures.waiting)
        assert names(tmp_path) == []
        clock.time += 3 * DAY
        await recorded(place, tmp_path if later else done, "b")
    assert rows(done) + rows(tmp_path) == ["a", "b"]


async def test_a_rotation_moves_the_piece_at_once_and_never_an_empty_one(tmp_path, done, clock):
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        place.writer.rotate()
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await until(lambda: rows(done) == ["a"])
        place.writer.rotate()
        clock.time += DAY
        await place.record("b")
        await until(lambda: rows(tmp_path) == ["b"])
    assert names(done) == [f"acct-{DATE}-0000.csv"]
    assert names(tmp_path) == ["acct-2026-03-05-0000.csv"]


async def test_an_empty_piece_goes_when_its_day_ends(tmp_path, done, clock):
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        csv = place.writer._files[0].csv
        csv.begin_piece(clock())
        clock.time += DAY
        await place.record("a")
        await until(lambda: rows(tmp_path) == ["a"])
    assert names(tmp_path) == ["acct-2026-03-05-0000.csv"]
    assert not done.exists()


async def test_a_rotation_is_not_forgotten_by_a_restart(tmp_path, clock):
    async with Place(tmp_path, now=clock) as place:
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await until(lambda: place.writer._files[0].csv.piece is None)
    async with Place(tmp_path, now=clock) as place:
        await place.record("b")
    assert names(tmp_path) == [f"acct-{DATE}-0000.csv", f"acct-{DATE}-0001.csv"]
    assert rows(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("how", ["reload", "start", "crash"])
async def test_the_piece_of_a_file_that_is_configured_no_more_is_ended_and_moved(
    tmp_path, done, clock, how
):
    async with Place(tmp_path, "other", now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
        if how == "reload":
            place.writer.reload(place.settings[1:])
            await until(lambda: rows(done) == ["a"])
    if how == "crash":
        (piece,) = tmp_path.glob("acct-*")
        with piece.open("ab") as file:
            file.write(b"d,half of a ro")
    again = Place(tmp_path, "other", now=clock, move_to=str(done))
    del again.settings[0]
    async with again:
        await until(lambda: rows(done) == ["a"])
        await again.record("b")
    assert names(tmp_path) == []
    assert rows(tmp_path, "other") == ["a", "b"]
    async with Place(tmp_path, "other", now=clock, move_to=str(done)) as place:
        await place.record("c")
    assert rows(done) == ["a"]
    assert names(tmp_path) == [f"acct-{DATE}-0001.csv"]
    assert rows(tmp_path) == ["c"]


@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "emptied"])
async def test_a_piece_that_somebody_takes_away_is_written_on_no_more(tmp_path, clock, how):
    async with Place(tmp_path, now=clock) as place:
        await recorded(place, tmp_path, "a")
        (piece,) = tmp_path.glob("acct-*")
        kept = tmp_path / "kept"
        if how == "removed":
            piece.unlink()
        elif how == "emptied":
            shutil.copy(piece, kept)
            os.truncate(piece, 0)
        else:
            piece.rename(kept)
        if how == "replaced":
            piece.touch()
        await place.record("b")
        await until(lambda: "b" in rows(tmp_path))
    assert rows(tmp_path) == ["b"]
    assert names(tmp_path)[-1] == f"acct-{DATE}-0001.csv"
    if how != "removed":
        assert kept.read_text() == "type,rcpt\nd,a\n"
    assert any("taken away" in line for line in place.log)


async def test_what_stands_in_the_place_of_a_piece_is_not_moved(tmp_path, done, clock):
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
        (piece,) = tmp_path.glob("acct-*")
        piece.rename(tmp_path / "kept")
        piece.write_text("of another")
        place.writer.rotate()
        await until(lambda: place.writer._files[0].csv.piece is None)
    assert piece.read_text() == "of another"
    assert not done.exists()


async def test_restarts_do_not_put_off_the_end_of_an_interval(tmp_path, done, clock):
    for name in "abc":
        async with Place(tmp_path, now=clock, move_to=str(done), move_interval=HOUR) as place:
            await recorded(place, tmp_path, name)
            (piece,) = tmp_path.glob("acct-*")
            os.utime(piece, (clock(), clock()))
        clock.time += HOUR / 3
    async with Place(tmp_path, now=clock, move_to=str(done), move_interval=HOUR):
        await until(lambda: rows(done) == ["a", "b", "c"])


async def test_the_piece_after_the_ten_thousandth_has_five_digits_and_none_is_written_over(
    tmp_path, clock
):
    for number in ("9999", "10000"):
        (tmp_path / f"acct-{DATE}-{number}.csv").write_text("type,rcpt\r\nd,old\r\n")
    async with Place(tmp_path, now=clock) as place:
        await place.record("a")
    assert (tmp_path / f"acct-{DATE}-10001.csv").read_text() == "type,rcpt\nd,a\n"
    assert rows(tmp_path).count("old") == 2


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_the_number_of_a_piece_that_was_fetched_is_not_used_again(
    tmp_path, done, clock, is_restarted
):
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await until(lambda: rows(done) == ["a"])
        (done / f"acct-{DATE}-0000.csv").unlink()
        if not is_restarted:
            await place.record("b")
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await place.record("b" if is_restarted else "c")
    assert names(tmp_path) == [f"acct-{DATE}-0001.csv"]


async def test_a_piece_of_the_same_name_is_not_written_over(tmp_path, done, clock):
    """Two accounting files may move to one directory."""
    places = [tmp_path / "x", tmp_path / "y"]
    for directory in places:
        directory.mkdir()
        async with Place(directory, now=clock, move_to=str(done)) as place:
            await recorded(place, directory, directory.name)
    for directory in places:
        async with Place(directory, now=clock, move_to=str(done)) as place:
            place.writer.rotate()
            await until(lambda directory=directory: directory.name in rows(done))
    assert rows(done) == ["x", "y"]
    assert names(done) == [f"acct-{DATE}-0000.csv", f"acct-{DATE}-0001.csv"]


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_a_piece_that_cannot_be_moved_is_tried_again(tmp_path, done, clock, is_restarted):
    done.write_text("no directory")
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await recorded(place, tmp_path, "b")
        await until(lambda: any("tried again" in line for line in place.log))
        for _ in range(3):
            clock.time += 1
            place.writer._arrived.set()
            await until(lambda: not place.writer._arrived.is_set())
        assert sum("cannot move" in line for line in place.log) == 1
        assert rows(tmp_path) == ["a", "b"]
        done.unlink()
        if not is_restarted:
            await until(lambda: _passes(clock) and done.is_dir() and rows(done) == ["a"])
    async with Place(tmp_path, now=clock, move_to=str(done)):
        await until(lambda: _passes(clock) and done.is_dir() and rows(done) == ["a"])
    assert rows(tmp_path) == ["b"]


def _passes(clock):
    clock.time += 1
    return True


async def test_another_move_to_is_followed_by_what_waits_to_be_moved(tmp_path, done, clock):
    done.write_text("no directory")
    path = tmp_path / "acct.csv"
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await until(lambda: place.log)
        place.writer.reload([Settings(str(path), move_to=str(tmp_path / "else"))])
        await until(lambda: (tmp_path / "else").is_dir() and rows(tmp_path / "else") == ["a"])


async def test_a_move_to_its_own_directory_is_none(tmp_path, clock):
    async with Place(tmp_path, now=clock, move_to=str(tmp_path)) as place:
        await recorded(place, tmp_path, "a")
        place.writer.rotate()
        await place.record("b")
    assert rows(tmp_path) == ["a", "b"]
    assert names(tmp_path) == [f"acct-{DATE}-0000.csv", f"acct-{DATE}-0001.csv"]


async def test_the_spool_of_an_older_version_is_gone_on_with(tmp_path, done, clock):
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await recorded(place, tmp_path, "a")
    spool = Spool.open(tmp_path / "spool")
    await spool._change(lambda connection: connection.execute("DROP TABLE piece"))
    await spool.settle((), (), [Record("d", {"rcpt": "b"})])
    await spool.close()
    async with Place(tmp_path, now=clock, move_to=str(done)) as place:
        await place.round_over()
    assert rows(tmp_path) == ["a", "b"]
