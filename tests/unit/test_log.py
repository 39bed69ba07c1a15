"""A line is in the log, in a numbered older file, or counted in a later line; never waited for."""

import asyncio
import re
import threading
import time

import pytest

from mta.daemon import log as log_module
from mta.daemon.log import Log, startup_error

NOON = time.mktime((2024, 3, 5, 12, 0, 0, 0, 0, -1))
DAY = 86400


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(log_module, "FLUSH_INTERVAL_S", 0.0)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


def test_a_line_has_the_local_time_and_the_text(path):
    log = Log(path, now=Clock())
    log.write("Petrel started")
    log.connection(20, "starting example.net")
    log.connection(12345, ">>> 220 ready")
    log.close()
    assert path.read_text() == (
        "2024-03-05 12:00:00 Petrel started\n"
        "2024-03-05 12:00:00 ( 20)starting example.net\n"
        "2024-03-05 12:00:00 (12345)>>> 220 ready\n"
    )


def test_a_line_cannot_forge_another(path):
    log = Log(path, now=Clock())
    log.write("evil\r\n2024-03-05 12:00:00 forged\x1b[31m\u2028x")
    log.close()
    (line,) = path.read_text().splitlines()
    assert line == "2024-03-05 12:00:00 evil  2024-03-05 12:00:00 forged [31m x"


def test_a_long_line_is_cut_and_odd_characters_are_written(path):
    log = Log(path, now=Clock())
    log.write("ü" * 100_000)
    log.write("\udcff")
    log.close()
    first, second = path.read_text().splitlines()
    assert len(first) == 20 + log_module.LINE_CHARACTERS_MAX
    assert second.endswith("?")


def test_lines_before_the_event_loop_are_written_at_once(path):
    log = Log(path, now=Clock())
    log.write("early")
    assert path.read_text().endswith("early\n")
    log.close()


async def test_lines_are_gathered_and_written_by_another_thread(path, monkeypatch, quick):
    log = Log(path, now=Clock())
    threads = []
    append = log._file.append
    monkeypatch.setattr(
        log._file, "append", lambda *a: (threads.append(threading.current_thread()), append(*a))
    )
    for number in range(100):
        log.write(str(number))
    assert not path.exists()
    await until(path.exists)
    await until(lambda: log._job is None)
    log.close()
    assert len(path.read_text().splitlines()) == 100
    assert threads[0] is not threading.current_thread()
    assert len(threads) == 2  # the batch, and what close had left: nothing


async def test_lines_written_during_a_slow_write_follow_it(path, monkeypatch, quick):
    log = Log(path, now=Clock())
    disk = threading.Event()
    append = log._file.append
    monkeypatch.setattr(log._file, "append", lambda *a: (disk.wait(20), append(*a)))
    log.write("first")
    await until(lambda: log._job is not None)
    log.write("second")
    disk.set()
    await until(lambda: path.exists() and "second" in path.read_text())
    log.close()
    assert [line[20:] for line in path.read_text().splitlines()] == ["first", "second"]


async def test_what_does_not_fit_the_buffer_is_dropped_and_counted(path, monkeypatch):
    monkeypatch.setattr(log_module, "BUFFER_CHARACTERS_MAX", 1000)
    log = Log(path, now=Clock())
    for _ in range(100):
        log.write("x" * 79)
    log.close()
    lines = path.read_text().splitlines()
    assert lines[0] == "2024-03-05 12:00:00 90 lines could not be logged"
    assert len(lines) == 11


def test_rotation_keeps_as_many_files_as_asked_for(path):
    log = Log(path, keep=3, now=Clock())
    for number in range(5):
        log.write(f"{number}")
        log.rotate()
    log.write("5")
    log.close()
    names = {p.name: p.read_text()[20:].strip() for p in path.parent.iterdir()}
    assert names == {"log": "5", "log.1": "4", "log.2": "3"}


def test_files_beyond_a_smaller_keep_go_at_the_next_rotation(path):
    for number in range(1, 8):
        path.with_name(f"log.{number}").write_text("old")
    log = Log(path, keep=3, now=Clock())
    log.write("new")
    log.rotate()
    log.close()
    assert {p.name for p in path.parent.iterdir()} == {"log.1", "log.2"}


@pytest.mark.parametrize(("keep", "left"), [(1, ["b"]), (0, ["a", "b"])])
def test_keep_1_keeps_only_the_current_and_0_never_rotates(path, keep, left):
    log = Log(path, keep=keep, now=Clock())
    log.write("a")
    log.rotate()
    log.write("b")
    log.close()
    assert [line[20:] for line in path.read_text().splitlines()] == left
    assert list(path.parent.iterdir()) == [path]


def test_the_first_line_of_a_day_begins_a_new_file(path):
    now = Clock()
    log = Log(path, now=now)
    log.write("monday")
    now.now += DAY
    log.write("tuesday")
    log.close()
    assert path.with_name("log.1").read_text().endswith("monday\n")
    assert path.read_text().endswith("tuesday\n")


async def test_midnight_rotates_a_log_nobody_writes_to(path, quick):
    now = Clock()
    log = Log(path, now=now)
    log.write("monday")
    await until(path.exists)
    midnight = log._midnight_timer
    assert midnight is not None
    loop = asyncio.get_running_loop()
    assert midnight.when() - loop.time() == pytest.approx(12 * 3600, abs=3700)
    now.now += DAY
    midnight.cancel()
    log._midnight()
    await until(lambda: not path.exists())
    log.close()
    assert path.with_name("log.1").read_text().endswith("monday\n")


def test_a_start_on_another_day_begins_a_new_file(path):
    path.write_text("yesterday\n")
    log = Log(path, now=Clock(time.time() + 2 * DAY))
    log.write("today")
    log.close()
    assert path.with_name("log.1").read_text() == "yesterday\n"


def test_a_start_on_the_same_day_goes_on_in_the_same_file(path):
    path.write_text("earlier\n")
    log = Log(path, now=Clock(path.stat().st_mtime))
    log.write("later")
    log.close()
    assert len(path.read_text().splitlines()) == 2


def test_without_daily_rotation_days_share_a_file(path):
    now = Clock()
    log = Log(path, now=now, rotates_daily=False)
    log.write("monday")
    now.now += DAY
    log.write("tuesday")
    log.rotate()
    log.close()
    assert len(path.with_name("log.1").read_text().splitlines()) == 2


def test_a_file_another_program_moved_away_is_made_again(path):
    log = Log(path, now=Clock())
    log.write("a")
    path.rename(path.with_name("moved"))
    log.write("b")
    log.close()
    assert path.read_text().endswith("b\n")


def test_a_missing_directory_is_made(tmp_path):
    log = Log(tmp_path / "var" / "log" / "petrel.log", now=Clock())
    log.write("a")
    log.close()
    assert (tmp_path / "var" / "log" / "petrel.log").exists()


@pytest.mark.parametrize(("is_world_readable", "mode"), [(False, 0o640), (True, 0o644)])
def test_others_may_read_it_only_if_asked_for(path, is_world_readable, mode):
    log = Log(path, now=Clock(), is_world_readable=is_world_readable)
    log.write("a")
    log.close()
    assert path.stat().st_mode & 0o777 == mode


def test_errors_of_the_file_are_told_once_and_the_lost_lines_counted(path, capsys):
    path.mkdir()
    log = Log(path, now=Clock(path.stat().st_mtime))
    log.write("a")
    log.write("b")
    path.rmdir()
    log.write("c")
    log.close()
    lines = path.read_text().splitlines()
    assert [line[20:] for line in lines] == ["2 lines could not be logged", "c"]
    assert len(re.findall("cannot write the log", capsys.readouterr().err)) == 1


def test_a_startup_error_goes_to_standard_error_and_the_log(path, capsys):
    log = Log(path, now=Clock())
    startup_error("no spool", log)
    startup_error("no log")
    log.close()
    assert path.read_text() == "2024-03-05 12:00:00 Startup error: no spool\n"
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d Startup error: no spool", first)
    assert second.endswith("Startup error: no log")


async def test_closing_amid_a_write_loses_nothing(path, quick):
    log = Log(path, now=Clock())
    log.write("a")
    await until(lambda: log._job is not None or path.exists())
    log.write("b")
    log.close()
    log.write("c")
    assert [line[20:] for line in path.read_text().splitlines()] == ["a", "b", "c"]
