"""The log file: `YYYY-MM-DD HH:MM:SS TEXT`, rotated at midnight or on command.

Lines are gathered and appended by a thread of the log's own, several times a second, so
neither a slow disk nor a full one holds up mail: what does not fit the buffer, or cannot
be written, is dropped and counted in a later line. The file is opened for each batch, so
other programs may move or remove it at any time. Guide: log-file, log-rotate.
"""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from mta import clock

FLUSH_INTERVAL_S: Final = 0.2
BUFFER_CHARACTERS_MAX: Final = 4 << 20
"""About 40,000 lines: a disk may hang for some seconds at the highest rates."""

LINE_CHARACTERS_MAX: Final = 8192

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_Entry = tuple[str, str]
"""A day and a line of it with its end. No line: rotate if that day is new; no day: rotate."""

_ROTATE: Final[_Entry] = ("", "")


class LogLines(Protocol):
    """Where lines of the log go: the file itself, or whoever owns it."""

    def write(self, text: str) -> None: ...

    def rotate(self) -> None: ...


class Log:
    """Appends lines to the file at path; errors of the file go to standard error, once.

    `keep` counts the files kept, the current one included; 0 never rotates. Times are
    local. Where no event loop runs, a line is written at once.
    """

    def __init__(
        self,
        path: Path,
        keep: int = 8,
        now: Callable[[], float] = clock.now,
        *,
        is_world_readable: bool = False,
        rotates_daily: bool = True,
    ) -> None:
        self._now = now
        self._file = _File(path, keep, 0o644 if is_world_readable else 0o640)
        self._rotates_daily = rotates_daily
        self._entries: list[_Entry] = []
        self._characters = 0
        self._dropped = 0
        self._second = -1
        self._stamp = ""
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="log")
        self._job: asyncio.Future[None] | None = None
        self._flush_timer: asyncio.TimerHandle | None = None
        self._midnight_timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def write(self, text: str) -> None:
        """One line; control characters in it become blanks."""
        if not text.isprintable():
            text = _CONTROL.sub(" ", text)
        line = f"{self._time()} {text[:LINE_CHARACTERS_MAX]}\n"
        if self._characters + len(line) > BUFFER_CHARACTERS_MAX:
            self._dropped += 1
            return
        self._enter((line[:10] if self._rotates_daily else "-", line))

    def connection(self, number: int, text: str) -> None:
        """One line of the connection of that number."""
        self.write(f"({number:3d}){text}")

    def rotate(self) -> None:
        """Begin a new file after what was written before."""
        self._enter(_ROTATE)

    def close(self) -> None:
        """Write what is left. Later lines are written at once."""
        self._is_closed = True
        for timer in (self._flush_timer, self._midnight_timer):
            if timer is not None:
                timer.cancel()
        self._executor.shutdown()
        self._file.append(*self._taken())

    def _time(self) -> str:
        now = self._now()
        if int(now) != self._second:
            self._second = int(now)
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
        return self._stamp

    def _enter(self, entry: _Entry) -> None:
        self._entries.append(entry)
        self._characters += len(entry[1])
        if self._is_closed:
            self._file.append(*self._taken())
        elif self._flush_timer is None and self._job is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._file.append(*self._taken())
                return
            self._flush_timer = loop.call_later(FLUSH_INTERVAL_S, self._flush)
            if self._midnight_timer is None and self._rotates_daily:
                self._await_midnight(loop)

    def _await_midnight(self, loop: asyncio.AbstractEventLoop) -> None:
        now = self._now()
        year, month, day = time.localtime(now)[:3]
        midnight = time.mktime((year, month, day + 1, 0, 0, 0, 0, 0, -1))
        self._midnight_timer = loop.call_later(max(1.0, midnight - now), self._midnight)

    def _midnight(self) -> None:
        self._midnight_timer = None
        self._enter((self._time()[:10], ""))

    def _flush(self) -> None:
        self._flush_timer = None
        loop = asyncio.get_running_loop()
        self._job = loop.run_in_executor(self._executor, self._file.append, *self._taken())
        self._job.add_done_callback(self._flushed)

    def _flushed(self, job: asyncio.Future[None]) -> None:
        self._job = None
        if job.cancelled():  # the loop is being torn down
            return
        job.result()
        if self._entries and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._flush_timer = loop.call_later(FLUSH_INTERVAL_S, self._flush)

    def _taken(self) -> tuple[Sequence[_Entry], int]:
        taken = self._entries, self._dropped
        self._entries, self._characters, self._dropped = [], 0, 0
        return taken


def startup_error(text: str, log: Log | None = None) -> None:
    """`Startup error: TEXT` on standard error, and in the log if there is one yet."""
    line = f"Startup error: {_CONTROL.sub(' ', text)}"
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(clock.now()))
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{stamp} {line}\n")
    if log is not None:
        log.write(line)


class _File:
    """The file and its older ones. Used by one thread at a time."""

    def __init__(self, path: Path, keep: int, mode: int) -> None:
        self._path = path
        self._keep = keep
        self._mode = mode
        self._day = self._day_of_file()
        self._is_failing = False
        self._lost = 0

    def append(self, entries: Sequence[_Entry], dropped: int) -> None:
        """Carry entries out in order; `dropped` lines before them are only counted."""
        self._lost += dropped
        batch: list[str] = []
        for day, line in entries:
            if not day or day not in ("-", self._day):
                # A file without a day is new: nothing in it is from another one.
                is_rotation_due = bool(self._day) or not day
                self._day = day or self._day
                if is_rotation_due:
                    self._write(batch)
                    batch = []
                    self._rotate()
            if line:
                batch.append(line)
        self._write(batch)

    def _write(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        text = "".join(lines)
        if self._lost:
            stamp = text[: len("YYYY-MM-DD HH:MM:SS")]
            text = f"{stamp} {self._lost} lines could not be logged\n{text}"
        try:
            with os.fdopen(self._open(), "ab") as file:
                if self._is_failing and file.tell():
                    text = f"\n{text}"  # the write that failed may have left half a line
                file.write(text.encode("utf-8", "replace"))
        except OSError as error:
            self._complain(error)
            self._lost += len(lines)
            return
        self._is_failing = False
        self._lost = 0

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, self._mode)
        except FileNotFoundError:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, flags, self._mode)

    def _rotate(self) -> None:
        if not self._keep:
            return
        try:
            with contextlib.suppress(FileNotFoundError):
                for number in range(self._keep - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number - 1).replace(self._numbered(number))
                if self._keep == 1:
                    self._path.unlink()
                surplus = self._keep
                while True:  # until one is not found: `keep` may have been higher once
                    self._numbered(surplus).unlink()
                    surplus += 1
        except OSError as error:
            self._complain(error)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _day_of_file(self) -> str:
        """When the file was last written, so that a start after midnight rotates it."""
        try:
            changed = self._path.stat().st_mtime
        except OSError:
            return ""
        return time.strftime("%Y-%m-%d", time.localtime(changed))

    def _complain(self, error: OSError) -> None:
        if not self._is_failing:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"cannot write the log: {error}\n")
        self._is_failing = True
